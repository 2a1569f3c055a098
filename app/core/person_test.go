package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
)

// noticeKinds are the values of the Notice constants of package api.
func noticeKinds(t *testing.T) (kinds []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "../../platformclient/api/notices.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(parsed, func(node ast.Node) bool {
		if spec, is := node.(*ast.ValueSpec); is && strings.HasPrefix(spec.Names[0].Name, "Notice") {
			kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			kinds = append(kinds, kind)
		}
		return true
	})
	return kinds
}

// Every kind of message has words in both languages, with all of its facts.
func TestTellMessage(t *testing.T) {
	until := time.Date(2026, 3, 15, 16, 0, 0, 0, time.UTC)
	facts := api.MessageFacts{Posting: "load-hold", Amount: -5000, Balance: 45000, Order: "260315-1", Device: "desk", Until: &until, Purpose: "device", Code: "370482"}
	kinds := noticeKinds(t)
	require.Greater(t, len(kinds), 10)
	for _, name := range []string{lang.Chinese, lang.English} {
		texts, seen := lang.Texts(name), map[string]bool{}
		for _, kind := range kinds {
			told := TellMessage(texts, api.Message{Kind: kind, Facts: facts})
			require.NotContains(t, told, "message.", kind)
			require.NotContains(t, told, "<no value>", kind)
			require.NotEqual(t, texts.T("message.other", map[string]any{"Kind": kind}), told, "%s has no words in %s", kind, name)
			require.False(t, seen[told], told)
			seen[told] = true
			require.Equal(t, kind == api.NoticeSMSCode, strings.Contains(told, "370482"), "a code stands in no notice: %s", told)
		}
		for _, purpose := range api.SMSPurposes {
			require.True(t, texts.Has("message.purpose."+purpose), purpose)
		}
	}
	english := lang.Texts("en")
	require.Equal(t, "50.00 yuan left the main account (paid for a load); balance 450.00 yuan.", TellMessage(english, api.Message{Kind: api.NoticeBalance, Facts: facts}))
	facts.Amount, facts.Posting = 5000, "load-void"
	require.Equal(t, "50.00 yuan came to the main account (load returned); balance 450.00 yuan.", TellMessage(english, api.Message{Kind: api.NoticeBalance, Facts: facts}))
	require.Contains(t, TellMessage(english, api.Message{Kind: api.NoticeLoginLocked, Facts: facts}), "2026-03-16 00:00", "business time")
	facts.Code = ""
	require.Contains(t, TellMessage(english, api.Message{Kind: api.NoticeSMSCode, Facts: facts}), "no longer valid")
	require.Contains(t, TellMessage(english, api.Message{Kind: "of-tomorrow"}), "of-tomorrow")
	facts.Posting = "of-tomorrow"
	require.Contains(t, TellMessage(english, api.Message{Kind: api.NoticeBalance, Facts: facts}), "(of-tomorrow)")
}

// Every reason for which a password is refused has words, which stand in the error.
func TestWeakPasswordsAreExplained(t *testing.T) {
	for _, weak := range []api.Weakness{api.WeakShort, api.WeakLong, api.WeakCharacters, api.WeakCommon, api.WeakRepeated, api.WeakRun,
		api.WeakPhone, api.WeakDigits, api.WeakUnchanged} {
		key := "password.weak." + string(weak)
		for _, name := range []string{lang.Chinese, lang.English} {
			texts := lang.Texts(name)
			require.True(t, texts.Has(key), key)
			require.Contains(t, Tell(texts, "PASSWORD_WEAK", false, map[string]any{"reasonKey": key}).Text, texts.T(key, nil))
		}
	}
	require.NotContains(t, Tell(lang.Texts("en"), "PASSWORD_WEAK", false, map[string]any{"reasonKey": "no.such"}).Text, "no.such")
}
