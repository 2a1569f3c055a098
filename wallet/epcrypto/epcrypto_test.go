package epcrypto

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

func raw(t *testing.T, text string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return bytes
}

func block(t *testing.T, text string) [8]byte     { return [8]byte(raw(t, text)) }
func key16(t *testing.T, text string) Key16       { return Key16(raw(t, text)) }
func random(t *testing.T, text string) [4]byte    { return [4]byte(raw(t, text)) }
func cardTime(t *testing.T, text string) CardTime { return CardTime(raw(t, text)) }
func show[T ~[8]byte | ~[16]byte](key T) string {
	return strings.ToUpper(fmt.Sprintf("%x", bytesOf(key)))
}
func word(t *testing.T, text string) (number uint32) {
	for _, b := range raw(t, text) {
		number = number<<8 | uint32(b)
	}
	return number
}

// bytesOf strips the key type, which prints nothing.
func bytesOf[T ~[8]byte | ~[16]byte](key T) (out []byte) {
	for i := range len(key) {
		out = append(out, key[i])
	}
	return out
}

func terminal(t *testing.T, text string) wallet.TerminalNumber {
	number, err := wallet.ParseTerminalNumber(text)
	require.NoError(t, err)
	return number
}

// vectors are the figures of card dossier §2.8.
func vectors(t *testing.T) map[string]map[string]string {
	t.Helper()
	file, err := os.ReadFile("testdata/purse-vectors.json")
	require.NoError(t, err)
	var all map[string]map[string]string
	require.NoError(t, json.Unmarshal(file, &all))
	return all
}

func TestV1Load(t *testing.T) {
	v := vectors(t)["V1_load_EP"]
	factor := block(t, v["serial"])
	dlk, dtk := Diversify(key16(t, v["master_DLK"]), factor), Diversify(key16(t, v["master_DTK"]), factor)
	require.Equal(t, v["DLK"], dlk.Hex())
	require.Equal(t, v["DTK"], dtk.Hex())

	before, amount := word(t, v["balance_before"]), word(t, v["amount"])
	counter, kind := uint16(word(t, v["online_counter"])), raw(t, v["type"])[0]
	tid, at := terminal(t, v["terminal"]), cardTime(t, v["datetime"])

	input := sessionInput(random(t, v["random"]), counter, 0x8000)
	require.Equal(t, v["session_input"], show(input))
	session := LoadSessionKey(dlk, random(t, v["random"]), counter)
	require.Equal(t, v["session_key"], show(session))

	require.Equal(t, v["mac1_input"], wallet.Hex(LoadMAC1Data(before, amount, kind, tid)).String())
	require.Equal(t, v["mac2_input"], wallet.Hex(LoadMAC2Data(amount, kind, tid, at)).String())
	require.Equal(t, v["MAC1"], LoadMAC1(session, before, amount, kind, tid).String())
	require.Equal(t, v["MAC2"], LoadMAC2(session, amount, kind, tid, at).String())

	require.Equal(t, v["tac_key"], show(dtk.Fold()))
	require.Equal(t, v["TAC"], dtk.Fold().MAC([8]byte{}, raw(t, v["tac_input"])).String())
	require.Equal(t, v["TAC"], LoadTAC(dtk, word(t, v["balance_after"]), counter, amount, kind, tid, at).String())
	require.Equal(t, v["prove_resp"], v["MAC2"]+v["TAC"])
}

func TestV2Purchase(t *testing.T) {
	v := vectors(t)["V2_purchase_EP"]
	dpk := Diversify(key16(t, v["master_DPK"]), block(t, v["serial"]))
	require.Equal(t, v["DPK"], dpk.Hex())

	amount, kind, serial := word(t, v["amount"]), raw(t, v["type"])[0], word(t, v["terminal_serial"])
	tid, at, dtk := terminal(t, v["terminal"]), cardTime(t, v["datetime"]), key16(t, v["DTK"])
	counter := uint16(word(t, v["offline_counter"]))

	require.Equal(t, v["session_input"], show(sessionInput(random(t, v["random"]), counter, uint16(serial))))
	session := PurchaseSessionKey(dpk, random(t, v["random"]), counter, serial)
	require.Equal(t, v["session_key"], show(session))
	require.Equal(t, v["mac1_input"], wallet.Hex(LoadMAC2Data(amount, kind, tid, at)).String())
	require.Equal(t, v["MAC1"], PurchaseMAC1(session, amount, kind, tid, at).String())
	require.Equal(t, v["MAC2"], session.MAC([8]byte{}, raw(t, v["mac2_input"])).String())
	require.Equal(t, v["MAC2"], PurchaseMAC2(session, amount).String())
	require.Equal(t, v["tac_key"], show(dtk.Fold()))
	require.Equal(t, v["TAC"], dtk.Fold().MAC([8]byte{}, raw(t, v["tac_input"])).String())
	require.Equal(t, v["TAC"], PurchaseTAC(dtk, amount, kind, tid, serial, at).String())
	require.Equal(t, v["debit_resp"], v["TAC"]+v["MAC2"])
}

func TestV3SixteenByteSession(t *testing.T) {
	v1, v := vectors(t)["V1_load_EP"], vectors(t)["V3_load_16byte_session_variant"]
	session := LoadSessionKey16(key16(t, v1["DLK"]), random(t, v1["random"]), uint16(word(t, v1["online_counter"])))
	require.Equal(t, v["session_key16"], session.Hex())
	require.Equal(t, v["MAC1"], session.MAC([8]byte{}, raw(t, v1["mac1_input"])).String())
	require.Equal(t, v["MAC2"], session.MAC([8]byte{}, raw(t, v1["mac2_input"])).String())
}

func TestV4SecureMessaging(t *testing.T) {
	v := vectors(t)["V4_sm_update_binary"]
	damk := Diversify(key16(t, "77777777777777778888888888888888"), block(t, "6210000112345678"))
	require.Equal(t, v["DAMK"], damk.Hex())
	require.Equal(t, v["challenge"]+"00000000", v["iv"])
	mac := SecureMAC(damk, block(t, v["iv"]), raw(t, v["mac_input"]))
	require.Equal(t, v["MAC"], mac.String())
	require.Equal(t, v["command"], v["mac_input"]+mac.String())
}

func TestV5ReloadPIN(t *testing.T) {
	v := vectors(t)["V5_reload_pin"]
	drpk := key16(t, v["DRPK"])
	require.Equal(t, v["mac_key"], show(drpk.Fold()))
	require.Equal(t, v["MAC"], ReloadPINMAC(drpk, raw(t, v["mac_input"])).String())
	require.Equal(t, v["command"], "805E000007"+v["mac_input"]+v["MAC"])
}

// The loads of card dossier §2.9 whose figures are complete. A is worked on
// paper; B and C come from silicon.
func TestPublishedLoads(t *testing.T) {
	const keyA, keyB = "11223344556677888877665544332211", "00112233445566778899AABBCCDDEEFF"
	const keyC = "3F013F013F013F013F013F013F013F01"
	tests := []struct {
		name, dlk, random string
		counter           uint16
		session           string
		balance, amount   uint32
		kind              byte
		terminal, mac1    string
		at, mac2          string
		dtk, tac          string
	}{
		{"A", keyA, "11223344", 0, "9B1D924E05595603", 0, 0x1000, 1, "001122334455", "2988AE5A", "20111221214822", "3A845BF0", "", ""},
		{"B second INIT", keyB, "C903814D", 0, "11FDF264E8AEEFA3", 0, 0x2000, 2, "001122334455", "03976C22", "20161216105800", "8AFA5718", keyB, "FA00066D"},
		{"B first INIT", keyB, "E0B84748", 0, "", 0, 0x2000, 2, "001122334455", "EA411F90", "", "", "", ""},
		{"C", keyC, "06B825D7", 0x17, "6E76E8541E217D9A", 0x1A, 1, 2, "112233445566", "684C81CE", "20170310110734", "9C8A0625", "34343434343434343434343434343434", "16EAD516"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			session := LoadSessionKey(key16(t, test.dlk), random(t, test.random), test.counter)
			tid := terminal(t, test.terminal)
			if test.session != "" {
				require.Equal(t, test.session, show(session))
			}
			require.Equal(t, test.mac1, LoadMAC1(session, test.balance, test.amount, test.kind, tid).String())
			if test.at != "" {
				require.Equal(t, test.mac2, LoadMAC2(session, test.amount, test.kind, tid, cardTime(t, test.at)).String())
			}
			if test.tac != "" {
				tac := LoadTAC(key16(t, test.dtk), test.balance+test.amount, test.counter, test.amount, test.kind, tid, cardTime(t, test.at))
				require.Equal(t, test.tac, tac.String())
			}
		})
	}
}

func TestPublishedPurchases(t *testing.T) {
	tests := []struct {
		name, dpk, random string
		serial            uint32
		session           string
		amount            uint32
		at                string
		mac1, mac2, tac   string
	}{
		{"A", "11223344556677888877665544332211", "11223344", 1, "003238ABC57659DD", 0x1000, "20120229135100", "F15CAB75", "56988A13", ""},
		{"B", "00112233445566778899AABBCCDDEEFF", "584633C9", 0, "C08346DF9F1D457A", 1, "20161216134600", "D45737C5", "66B54A6B", "8AF270DC"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tid, at := terminal(t, "001122334455"), cardTime(t, test.at)
			session := PurchaseSessionKey(key16(t, test.dpk), random(t, test.random), 0, test.serial)
			require.Equal(t, test.session, show(session))
			require.Equal(t, test.mac1, PurchaseMAC1(session, test.amount, 6, tid, at).String())
			require.Equal(t, test.mac2, PurchaseMAC2(session, test.amount).String())
			if test.tac != "" {
				require.Equal(t, test.tac, PurchaseTAC(key16(t, test.dpk), test.amount, 6, tid, test.serial, at).String())
			}
		})
	}
}

func TestPublishedKeysAndBlocks(t *testing.T) {
	d := Diversify(key16(t, "00112233445566778899AABBCCDDEEFF"), block(t, "1122334455667788"))
	require.Equal(t, "496BD7A3513644533100B54E71196528", d.Hex(), "D")

	fold := key16(t, "00112233445566778899AABBCCDDEEFF").Fold()
	require.Equal(t, "8888888888888888", show(fold), "B")
	require.Equal(t, "0000000000000000", show(key16(t, "34343434343434343434343434343434").Fold()), "C")

	for _, g := range []struct{ key, in, out string }{
		{"0102030405060708", "BB83BFF300000000", "74B0047DD681D96C"},
		{"1122334455667788", "0102030405060708", "178F59F8578E0D3F"},
	} {
		key := Key8(block(t, g.key))
		require.Equal(t, g.out, show(key.Encrypt(block(t, g.in))), "G")
		require.Equal(t, g.in, show(key.Decrypt(block(t, g.out))), "G")
	}
}

func TestDecryptUndoesEncrypt(t *testing.T) {
	key := key16(t, "DC014A215F5DE5E6F701A592FEB27552")
	in := block(t, "0123456789ABCDEF")
	require.NotEqual(t, in, key.Encrypt(in))
	require.Equal(t, in, key.Decrypt(key.Encrypt(in)))
}

// Data of exactly one block gets a block of padding, and every byte counts.
func TestMACPadding(t *testing.T) {
	key := Key8(block(t, "61FFBB806EC2AE2A"))
	data := raw(t, "0001020304050607")
	whole := key.MAC([8]byte{}, data)
	require.NotEqual(t, whole, key.MAC([8]byte{}, append(data, 0x80)))
	require.NotEqual(t, whole, key.MAC([8]byte{}, append(data, 0)))
	require.NotEqual(t, whole, key.MAC([8]byte{1}, data))
	require.NotEqual(t, key.MAC([8]byte{}, nil), key.MAC([8]byte{}, []byte{0}))
}

func TestKeysNeverPrint(t *testing.T) {
	key := key16(t, "DC014A215F5DE5E6F701A592FEB27552")
	holder := struct {
		K Key16
		S Key8
		P *Key16
	}{key, Key8(key[:8]), &key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		text := strings.ToUpper(fmt.Sprintf(verb, holder) + fmt.Sprintf(verb, key) + fmt.Sprintf(verb, key.Fold()))
		require.NotContains(t, text, "DC01", verb)
		require.NotContains(t, text, "220", verb)
		require.Contains(t, text, "[KEY]", verb)
	}
	encoded, err := json.Marshal(holder)
	require.NoError(t, err)
	require.JSONEq(t, `{"K":"[key]","S":"[key]","P":"[key]"}`, string(encoded))
	_, err = ParseKey16("DC014A215F5DE5E6F701A592FEB2755")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "DC01")
	parsed, err := ParseKey16(strings.ToLower(key.Hex()))
	require.NoError(t, err)
	require.True(t, parsed == key)
}

func TestCardTimeIsShanghai(t *testing.T) {
	at := CardTimeOf(time.Date(2026, 3, 14, 17, 30, 45, 0, time.UTC))
	require.Equal(t, "20260315013045", wallet.Hex(at[:]).String())
}

func TestMACEqual(t *testing.T) {
	m := MAC4{1, 2, 3, 4}
	require.True(t, m.Equal(MAC4{1, 2, 3, 4}))
	require.False(t, m.Equal(MAC4{1, 2, 3, 5}))
}
