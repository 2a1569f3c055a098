package core

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/assets/lang"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Every state that the platform names has its words in both languages: what is possible,
// what to do next, and, where it ends by itself, when.
func TestStanding_EveryStateHasWords(t *testing.T) {
	until := time.Date(2026, 12, 31, 16, 0, 0, 0, time.UTC)
	for ofCard, names := range map[bool][]string{
		false: {"OPENING", "NORMAL", "FROZEN_BY_USER", "FROZEN_BY_STAFF", "LOST_ORAL", "LOST_WRITTEN", "SILENT", "PHONE_SUSPENDED", "CLOSING", "CLOSED"},
		true:  {"ISSUED", "ACTIVE", "SUSPENDED", "LOST_ORAL", "LOST_WRITTEN", "BLACK", "RECOVER", "REPLACED", "RETURNED", "FOREIGN"},
	} {
		code := "ACCOUNT_STATE"
		if ofCard {
			code = "CARD_STATE"
		}
		for _, name := range names {
			for _, language := range []string{lang.Chinese, lang.English} {
				texts := lang.Texts(language)
				text, next := Standing(texts, ofCard, name, time.Time{})
				for _, one := range []string{text, next} {
					require.NotEmpty(t, one)
					require.NotContains(t, one, "standing.", name)
					require.NotContains(t, one, "<no value>", name)
				}
				told := Tell(texts, code, false, map[string]any{"standing": name})
				if name == "NORMAL" || name == "ACTIVE" { // it is not the state that is in the way
					require.NotContains(t, told.Text, text)
					continue
				}
				require.Contains(t, told.Text, text)
				require.Equal(t, next, told.Remedies[0])
				open := Tell(texts, "ORDER_OPEN", true, map[string]any{"order": "1", "refused": code, "standing": name})
				require.Contains(t, open.Text, text)
				require.Contains(t, strings.Join(open.Remedies, " "), "sync --cancel")
			}
		}
	}
	text, _ := Standing(lang.Texts("en"), false, "FROZEN_BY_USER", until)
	require.Contains(t, text, "2027-01-01 00:00")
	text, next := Standing(lang.Texts("en"), false, "ASLEEP", until) // of a newer platform
	require.Equal(t, "ASLEEP", text)
	require.NotEmpty(t, next)
	require.NotEmpty(t, Tell(lang.Texts("en"), "ACCOUNT_STATE", false, map[string]any{"standing": "ASLEEP"}).Remedies)
}

// A card is named by its line or by the end of its number, and never by a guess.
func TestCardNamed(t *testing.T) {
	var cards []api.Card
	for _, serial := range []string{"00001111000000000123", "00001111000000009123", "00001111000000000002"} {
		asn, err := wallet.ParseASN(serial)
		require.NoError(t, err)
		cards = append(cards, api.Card{ASN: asn})
	}
	for text, want := range map[string]int{"1": 0, "3": 2, " 2 ": 1, "002": 1, "0123": 0, "9123": 1, "0002": 2, "00001111000000000123": 0} {
		found, err := CardNamed(cards, text)
		require.NoError(t, err, text)
		require.Equal(t, cards[want].ASN, found.ASN, text)
	}
	for _, text := range []string{"", "0", "4", "-1", "123", "12", "0000", "0001111", "abcd", "１"} {
		_, err := CardNamed(cards, text)
		require.Error(t, err, text)
		require.Equal(t, "USAGE", Explain(err).Code, text)
	}
	_, err := CardNamed(nil, "1")
	require.Error(t, err)
}
