package mockplatform

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// vectors are the published values of one purse, shared with the tests of the
// arithmetic itself.
func vectors(t *testing.T, name string) map[string]string {
	raw, err := os.ReadFile("../../wallet/epcrypto/testdata/purse-vectors.json")
	require.NoError(t, err)
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &all))
	var one map[string]string
	require.NoError(t, json.Unmarshal(all[name], &one))
	return one
}

func vectorKey(t *testing.T, text string) epcrypto.Key16 {
	key, err := epcrypto.ParseKey16(text)
	require.NoError(t, err)
	return key
}

func unhex(t *testing.T, text string) wallet.Hex {
	var raw wallet.Hex
	require.NoError(t, raw.UnmarshalText([]byte(text)))
	return raw
}

// securityModule is a module that holds the keys of one card.
type securityModule struct {
	w   *world
	hsm *hsm
	asn wallet.ASN
}

// view runs in a transaction that reads.
func (m securityModule) view(ask func(tx *Tx) error) {
	require.NoError(m.w.t, m.w.p.store.View(m.w.t.Context(), ask))
}

// TestHSM_Conformance runs one suite over both ways in which a key reaches the
// module: derived from the masters, and imported for one card.
func TestHSM_Conformance(t *testing.T) {
	v := vectors(t, "V1_load_EP")
	asn, err := wallet.ParseASN(v["serial"])
	require.NoError(t, err)
	dpk := vectors(t, "V2_purchase_EP")["DPK"]
	t.Run("derived", func(t *testing.T) {
		w := newWorld(t)
		w.p.hsm.dlk, w.p.hsm.dtk = vectorKey(t, v["master_DLK"]), vectorKey(t, v["master_DTK"])
		w.p.hsm.dpk = vectorKey(t, vectors(t, "V2_purchase_EP")["master_DPK"])
		hsmSuite(t, securityModule{w, w.p.hsm, asn}, v, dpk)
	})
	t.Run("imported", func(t *testing.T) {
		w := newWorld(t)
		require.NoError(t, w.p.store.Update(t.Context(), func(tx *Tx) error {
			return w.p.hsm.importKeys(tx, asn, CardKeys{DLK: v["DLK"], DPK: dpk, DTK: v["DTK"]})
		}))
		hsmSuite(t, securityModule{w, w.p.hsm, asn}, v, dpk)
	})
}

func hsmSuite(t *testing.T, m securityModule, v map[string]string, dpk string) {
	t.Run("keys are those of the vectors", func(t *testing.T) {
		m.view(func(tx *Tx) error {
			keys, err := m.hsm.keysOf(tx, m.asn)
			require.Equal(t, []string{v["DLK"], dpk, v["DTK"]}, []string{keys.dlk.Hex(), keys.dpk.Hex(), keys.dtk.Hex()})
			return err
		})
	})
	answer, ok := parseInitAnswer(wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: unhex(t, v["init_resp"])})
	require.True(t, ok)
	sent := loadCommand{amount: 5000, tid: wallet.TerminalNumber(unhex(t, v["terminal"]))}
	at, err := time.ParseInLocation("20060102150405", v["datetime"], shanghai)
	require.NoError(t, err)
	t.Run("MAC1", func(t *testing.T) { hsmMAC1(t, m, sent, answer) })
	t.Run("MAC2 and TAC", func(t *testing.T) {
		m.view(func(tx *Tx) error {
			mac2, tac, err := m.hsm.credit(tx, m.asn, sent, answer, at)
			require.Equal(t, []string{v["MAC2"], v["TAC"]}, []string{wallet.Hex(mac2[:]).String(), wallet.Hex(tac[:]).String()})
			return err
		})
	})
	t.Run("TAC", func(t *testing.T) { hsmTAC(t, m, sent, answer.seq, at, unhex(t, v["TAC"])) })
	t.Run("purchase", func(t *testing.T) { hsmPurchase(t, m, vectors(t, "V2_purchase_EP")) })
	t.Run("nothing prints a key", func(t *testing.T) {
		for _, holder := range []any{m.hsm.derived(m.asn), m.hsm, m.w.p.secrets, m.w.p} {
			for _, form := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
				require.Regexp(t, `^\[(keys|platform)\]$`, fmt.Sprintf(form, holder), "%T as %s", holder, form)
			}
		}
	})
}

// hsmMAC1 accepts the card's answer and nothing that differs from it in one bit.
func hsmMAC1(t *testing.T, m securityModule, sent loadCommand, answer initAnswer) {
	verify := func(asn wallet.ASN, sent loadCommand, answer initAnswer) (good bool) {
		m.view(func(tx *Tx) (err error) {
			good, err = m.hsm.verifyMAC1(tx, asn, sent, answer)
			return err
		})
		return good
	}
	require.True(t, verify(m.asn, sent, answer))
	for bit := range 32 {
		wrong := answer
		wrong.mac1[bit/8] ^= 1 << (bit % 8)
		require.False(t, verify(m.asn, sent, wrong))
		wrong = answer
		wrong.random[bit/8] ^= 1 << (bit % 8)
		require.False(t, verify(m.asn, sent, wrong))
		wrong = answer
		wrong.balance ^= 1 << bit
		require.False(t, verify(m.asn, sent, wrong))
		require.False(t, verify(m.asn, loadCommand{sent.amount ^ 1<<bit, sent.tid}, answer))
	}
	for bit := range 48 {
		other := sent
		other.tid[bit/8] ^= 1 << (bit % 8)
		require.False(t, verify(m.asn, other, answer))
	}
	for bit := range 16 {
		wrong := answer
		wrong.seq ^= 1 << bit
		require.False(t, verify(m.asn, sent, wrong))
	}
	other := m.asn
	other[9] ^= 1
	require.False(t, verify(other, sent, answer), "another card has other keys")
}

// hsmPurchase computes MAC1 and accepts the card's TAC and MAC2, each for itself.
func hsmPurchase(t *testing.T, m securityModule, v map[string]string) {
	answer, ok := parsePurchaseAnswer(wallet.StepResult{SW: wallet.Hex{0x90, 0}, Data: unhex(t, v["init_resp"])})
	require.True(t, ok)
	at, err := time.ParseInLocation("20060102150405", v["datetime"], shanghai)
	require.NoError(t, err)
	serial := unhex(t, v["terminal_serial"])
	sent := debitCommand{amount: 350, terminal: wallet.TerminalNumber(unhex(t, v["terminal"])), serial: binary.BigEndian.Uint32(serial),
		number: answer.number, random: answer.random, at: at}
	tac, mac2 := unhex(t, v["TAC"]), unhex(t, v["MAC2"])
	m.view(func(tx *Tx) error {
		mac1, err := m.hsm.purchaseMAC1(tx, m.asn, sent)
		require.NoError(t, err)
		require.Equal(t, v["MAC1"], wallet.Hex(mac1[:]).String())
		for bit := -1; bit < 32; bit++ {
			wrongTAC, wrongMAC2 := append(wallet.Hex(nil), tac...), append(wallet.Hex(nil), mac2...)
			if bit >= 0 {
				wrongTAC[bit/8] ^= 1 << (bit % 8)
				wrongMAC2[bit/8] ^= 1 << (bit % 8)
			}
			good, other, err := m.hsm.verifyDebit(tx, m.asn, sent, wrongTAC, mac2)
			require.NoError(t, err)
			require.Equal(t, []bool{bit < 0, true}, []bool{good, other})
			good, other, err = m.hsm.verifyDebit(tx, m.asn, sent, tac, wrongMAC2)
			require.NoError(t, err)
			require.Equal(t, []bool{true, bit < 0}, []bool{good, other})
		}
		good, other, err := m.hsm.verifyDebit(tx, m.asn, sent, nil, mac2[:3])
		require.Equal(t, []bool{false, false}, []bool{good, other})
		return err
	})
}

// hsmTAC accepts the card's proof and none that differs from it.
func hsmTAC(t *testing.T, m securityModule, sent loadCommand, seq uint16, at time.Time, tac wallet.Hex) {
	verify := func(sent loadCommand, seq uint16, after wallet.Fen, at time.Time, tac []byte) (good bool) {
		m.view(func(tx *Tx) (err error) {
			good, err = m.hsm.verifyTAC(tx, m.asn, sent, seq, after, at, tac)
			return err
		})
		return good
	}
	require.True(t, verify(sent, seq, 6234, at, tac))
	require.False(t, verify(sent, seq+1, 6234, at, tac))
	require.False(t, verify(sent, seq, 6235, at, tac))
	require.False(t, verify(sent, seq, 6234, at.Add(time.Second), tac))
	require.False(t, verify(loadCommand{sent.amount + 1, sent.tid}, seq, 6234, at, tac))
	require.False(t, verify(sent, seq, 6234, at, tac[:3]))
	require.False(t, verify(sent, seq, 6234, at, nil))
	for bit := range 32 {
		wrong := append(wallet.Hex(nil), tac...)
		wrong[bit/8] ^= 1 << (bit % 8)
		require.False(t, verify(sent, seq, 6234, at, wrong))
	}
}

// An imported key is sealed for its card: moved to another card it opens nothing.
func TestHSM_ImportedKeysBelongToTheirCard(t *testing.T) {
	w := newWorld(t)
	keys := CardKeys{DLK: strings.Repeat("A1", 16), DPK: strings.Repeat("B2", 16), DTK: strings.Repeat("C3", 16)}
	asn, other := wallet.ASN{9: 1}, wallet.ASN{9: 2}
	require.NoError(t, w.p.store.Update(t.Context(), func(tx *Tx) error { return w.p.hsm.importKeys(tx, asn, keys) }))
	w.exec(`INSERT INTO card_keys (asn, sealed) SELECT ?, sealed FROM card_keys WHERE asn = ?`, other.String(), asn.String())
	require.NoError(t, w.p.store.View(t.Context(), func(tx *Tx) error {
		found, err := w.p.hsm.keysOf(tx, asn)
		require.NoError(t, err)
		require.Equal(t, keys.DLK, found.dlk.Hex())
		_, err = w.p.hsm.keysOf(tx, other)
		require.ErrorContains(t, err, "cannot be opened")
		return nil
	}))
	for _, bad := range []CardKeys{{}, {DLK: keys.DLK, DPK: keys.DPK}, {DLK: "A1", DPK: keys.DPK, DTK: keys.DTK}} {
		require.Error(t, w.p.store.Update(t.Context(), func(tx *Tx) error { return w.p.hsm.importKeys(tx, asn, bad) }))
	}
}

// Without the key file, or with that of another platform, the module does not open;
// with it, it has the same keys again.
func TestHSM_NeedsItsOwnKeyFile(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	before := w.p.hsm.derived(k.ASN())
	require.NoError(t, w.p.Close())
	file := filepath.Join(w.dir, fileKey)
	right, err := os.ReadFile(file)
	require.NoError(t, err)
	foreign, err := Open(Config{Dir: t.TempDir(), Demo: true})
	require.NoError(t, err)
	other, err := os.ReadFile(filepath.Join(foreign.config.Dir, fileKey))
	require.NoError(t, err)
	require.NotEqual(t, before, foreign.hsm.derived(k.ASN()), "two platforms share a master key")
	require.NoError(t, foreign.Close())

	require.NoError(t, os.Remove(file))
	_, err = Open(Config{Dir: w.dir})
	require.ErrorIs(t, err, ErrNoKeyFile)
	for name, content := range map[string][]byte{"foreign": other, "short": right[:len(right)-2], "empty": {}, "not hex": []byte(strings.Repeat("z", len(right)))} {
		require.NoError(t, os.WriteFile(file, content, 0o600))
		_, err = Open(Config{Dir: w.dir})
		require.Error(t, err, name)
	}
	require.NoError(t, os.WriteFile(file, right, 0o600))
	w.open()
	require.Equal(t, before, w.p.hsm.derived(k.ASN()))

	for _, damaged := range []secrets{{}, {MasterDLK: make([]byte, 16), MasterDPK: make([]byte, 16), MasterDTK: make([]byte, 15)}} {
		_, err := newHSM(&damaged, sealer{})
		require.Error(t, err)
	}
}
