package virtualcard

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	mrand "math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
)

// Keys of the worked vectors V1 and V2.
var vectorKeys = Keys{
	DLK: mustKey("DC014A215F5DE5E6F701A592FEB27552"),
	DPK: mustKey("3C074A66328CFE91CDDF00DB78BE00F5"),
	DTK: mustKey("03BE207D5DEC55469B66AF52E0FDB0D1"),
}

func mustKey(text string) epcrypto.Key16 {
	key, err := epcrypto.ParseKey16(text)
	if err != nil {
		panic(err)
	}
	return key
}

var (
	testASN      = wallet.ASN{0x00, 0x00, 0x62, 0x10, 0x00, 0x01, 0x12, 0x34, 0x56, 0x78}
	testTerminal = wallet.TerminalNumber{0x31, 0x32, 0x33, 0x34, 0x35, 0x36}
	testTime     = epcrypto.CardTime{0x20, 0x26, 0x03, 0x15, 0x09, 0x30, 0x45}
)

// seeded is a reproducible source of randomness.
func seeded() *mrand.ChaCha8 { return mrand.NewChaCha8([32]byte{1}) }

func testSpec(variant string) Spec {
	return Spec{ASN: testASN, Balance: 1234, Variant: variant, Keys: &vectorKeys, PIN: "123456", OnlineCounter: 0x21, OfflineCounter: 0x107}
}

// bench is a card in a slot with a host that knows its keys.
type bench struct {
	t    require.TestingT
	card *Card
}

// powered makes a card of the variant, powers it and selects its purse.
func powered(t *testing.T, variant string) *bench {
	t.Helper()
	return newBench(t, testSpec(variant))
}

func newBench(t *testing.T, spec Spec) *bench {
	t.Helper()
	card, err := New(spec, seeded())
	require.NoError(t, err)
	card.SetDelay(nil)
	b := &bench{t, card}
	b.selectPurse()
	return b
}

func (b *bench) selectPurse() {
	_, err := b.card.PowerOn()
	require.NoError(b.t, err)
	b.send(selectPurseAPDU)
}

const selectPurseAPDU = "00A4040009A00000000386980701"

// send transmits hex and returns data and status word; T=0 answers are fetched.
func (b *bench) send(apdu string) (data []byte, sw string) {
	return b.sendRaw(unhex(b.t, apdu))
}

func (b *bench) sendRaw(apdu []byte) (data []byte, sw string) {
	answer, err := b.card.Transmit(apdu)
	require.NoError(b.t, err)
	if answer[0] == 0x61 && len(answer) == 2 {
		answer, err = b.card.Transmit([]byte{0x00, 0xC0, 0x00, 0x00, answer[1]})
		require.NoError(b.t, err)
	}
	end := len(answer) - 2
	return answer[:end], wallet.Hex(answer[end:]).String()
}

func (b *bench) sw(apdu string) string {
	_, sw := b.send(apdu)
	return sw
}

func unhex(t require.TestingT, text string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return raw
}

func initAPDU(p1, keyIndex byte, amount uint32) []byte {
	apdu := []byte{0x80, 0x50, p1, 0x02, 0x0B, keyIndex}
	apdu = binary.BigEndian.AppendUint32(apdu, amount)
	apdu = append(apdu, testTerminal[:]...)
	return append(apdu, 0x10-p1)
}

// creditAPDU is the CREDIT FOR LOAD that answers an INITIALIZE answer.
func (b *bench) creditAPDU(answer []byte, amount uint32) []byte {
	require.Len(b.t, answer, 16)
	session := epcrypto.LoadSessionKey(b.card.Keys().DLK, [4]byte(answer[8:12]), binary.BigEndian.Uint16(answer[4:6]))
	mac1 := epcrypto.LoadMAC1(session, binary.BigEndian.Uint32(answer), amount, 2, testTerminal)
	require.Equal(b.t, mac1[:], answer[12:], "MAC1 is made over what was asked and answered")
	mac2 := epcrypto.LoadMAC2(session, amount, 2, testTerminal, testTime)
	return bytes.Join([][]byte{{0x80, 0x52, 0x00, 0x00, 0x0B}, testTime[:], mac2[:], {0x04}}, nil)
}

// debitAPDU is the DEBIT FOR PURCHASE that answers an INITIALIZE answer.
func (b *bench) debitAPDU(answer []byte, amount uint32) []byte {
	require.Len(b.t, answer, 15)
	const serial = 0x00012345
	session := epcrypto.PurchaseSessionKey(b.card.Keys().DPK, [4]byte(answer[11:15]), binary.BigEndian.Uint16(answer[4:6]), serial)
	mac1 := epcrypto.PurchaseMAC1(session, amount, 6, testTerminal, testTime)
	return bytes.Join([][]byte{{0x80, 0x54, 0x01, 0x00, 0x0F, 0x00, 0x01, 0x23, 0x45}, testTime[:], mac1[:], {0x08}}, nil)
}

// openLoad sends INITIALIZE FOR LOAD and returns the CREDIT that fits.
func (b *bench) openLoad(amount uint32) []byte {
	answer, sw := b.sendRaw(initAPDU(0, 1, amount))
	require.Equal(b.t, "9000", sw)
	return b.creditAPDU(answer, amount)
}

func (b *bench) openPurchase(amount uint32) []byte {
	answer, sw := b.sendRaw(initAPDU(1, 1, amount))
	require.Equal(b.t, "9000", sw)
	return b.debitAPDU(answer, amount)
}

func (b *bench) prove(kind byte, number uint16) (data []byte, sw string) {
	return b.sendRaw([]byte{0x80, 0x5A, 0x00, kind, 0x02, byte(number >> 8), byte(number), 0x08})
}
