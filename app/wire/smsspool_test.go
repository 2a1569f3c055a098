package wire

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
)

var _ mockplatform.SMSChannel = SMSSpool{}

// A platform with a spool writes each message once, in the words of the language.
func TestSMSSpool(t *testing.T) {
	clock := time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)
	spool := SMSSpool{Dir: filepath.Join(t.TempDir(), "outgoing"), Texts: lang.Texts("zh")}
	p, err := mockplatform.Open(mockplatform.Config{Dir: t.TempDir(), Demo: true, SMS: spool, Now: func() time.Time { return clock }})
	require.NoError(t, err)
	defer p.Close()
	require.NoError(t, p.Seed(t.Context(), demoPhone, 500_00, nil, ""))
	_, err = p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.NoDirExists(t, spool.Dir, "a folder that is missing is not made: nobody would send from it")

	require.NoError(t, os.Mkdir(spool.Dir, 0o700))
	clock = clock.Add(time.Minute)
	delivered, err := p.DeliverMessages(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, delivered)
	files, err := os.ReadDir(spool.Dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "and no half-written file beside it")
	text, err := os.ReadFile(filepath.Join(spool.Dir, files[0].Name()))
	require.NoError(t, err)
	require.Equal(t, "To: 86"+demoPhone+"\nAlphabet: UTF-8\n\n主账户收入 500.00 元（存入），余额 500.00 元。\n", string(text))
	info, err := files[0].Info()
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it may hold a code")
}

func TestSMSSpool_Refuses(t *testing.T) {
	spool := SMSSpool{Dir: t.TempDir(), Texts: lang.Texts("en")}
	good := api.Message{ID: "M1-1", Kind: api.NoticeLoginChanged}
	require.NoError(t, spool.Send(t.Context(), demoPhone, good))
	require.NoError(t, spool.Send(t.Context(), demoPhone, good), "twice is once")
	for _, phone := range []string{"", "13800000000\nTo: 1", "+8613800000000"} {
		require.Error(t, spool.Send(t.Context(), phone, good))
	}
	for _, id := range []string{"", "../M1-1", "a/b", ".."} {
		require.Error(t, spool.Send(t.Context(), demoPhone, api.Message{ID: id}), id)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.True(t, errors.Is(spool.Send(ended, demoPhone, good), context.Canceled))
	files, err := os.ReadDir(spool.Dir)
	require.NoError(t, err)
	require.Len(t, files, 1)

	device := api.Message{ID: "M1-2", Kind: api.NoticeDeviceRevoked, Facts: api.MessageFacts{Device: "x\n\nTo: 8610086"}}
	require.NoError(t, spool.Send(t.Context(), demoPhone, device))
	text, err := os.ReadFile(filepath.Join(spool.Dir, "M1-2"))
	require.NoError(t, err)
	require.Equal(t, 1, countLines(string(text), "To: "), "a name of a computer adds no header")
}

func countLines(text, prefix string) (count int) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			count++
		}
	}
	return count
}
