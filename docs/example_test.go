package docs

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// The worked example of card-interface.md: a virtual card with published test keys
// and seeded randoms is read, loaded and asked for its proof, and pays once.

// exampleKeys belong to no card but this one.
var exampleKeys = virtualcard.Keys{DLK: testKey(0x10), DPK: testKey(0x20), DTK: testKey(0x30)}

func testKey(first byte) (key epcrypto.Key16) {
	for i := range key {
		key[i] = first + byte(i)
	}
	return key
}

var exampleTime = epcrypto.CardTime{0x20, 0x26, 0x03, 0x15, 0x09, 0x30, 0x45}

// story collects the lines of the example.
type story struct {
	t    testing.TB
	card *virtualcard.Card
	rows [][]string
}

// send sends a command and notes what its answer means.
func (s *story) send(apdu string, means func(data []byte) string) []byte {
	answer, err := s.card.Transmit(unhex(s.t, apdu))
	require.NoError(s.t, err)
	response, err := wallet.ParseResponse(answer)
	require.NoError(s.t, err)
	require.Equal(s.t, wallet.SWOK, response.SW, apdu)
	command, err := wallet.ParseCommand(unhex(s.t, apdu))
	require.NoError(s.t, err)
	s.rows = append(s.rows, []string{command.Name(), code(apdu), code(strings.TrimSpace(wallet.Hex(response.Data).String() + " " + response.SW.String())), means(response.Data)})
	return response.Data
}

func cardExample(t testing.TB, _ *source) string {
	var zero [32]byte
	card, err := virtualcard.New(virtualcard.Spec{ASN: cardASN, Balance: 1234, Records: 1, Keys: &exampleKeys, PIN: "123456"}, rand.NewChaCha8(zero))
	require.NoError(t, err)
	card.SetDelay(nil)
	_, err = card.PowerOn()
	require.NoError(t, err)
	s := &story{t: t, card: card}
	s.read()
	s.load()
	s.pay()
	keys := [][]string{
		{"DLK (load)", code(exampleKeys.DLK.Hex())}, {"DPK (purchase)", code(exampleKeys.DPK.Hex())}, {"DTK (TAC)", code(exampleKeys.DTK.Hex())},
	}
	return table([]string{"测试密钥 Test key", "值 Value"}, keys) + "\n" +
		table([]string{"命令 Command", "发送 Sent", "应答 Answer", "含义 Meaning"}, s.rows)
}

func (s *story) read() {
	s.send("00A4040009A0000000038698070100", func(data []byte) string {
		fci, err := wallet.ParseFCI(data)
		require.NoError(s.t, err)
		return fmt.Sprintf("application %X, copy of SFI 15 in 9F0C: %d bytes", []byte(fci.AID), len(fci.IssuerData))
	})
	s.send("00B095001E", func(data []byte) string {
		info, err := wallet.ParseInfo(data)
		require.NoError(s.t, err)
		return fmt.Sprintf("serial %s, valid %s to %s", info.ASN, info.ValidFrom.Format("2006-01-02"), info.ValidUntil.Format("2006-01-02"))
	})
	s.balance()
	s.record()
}

func (s *story) balance() {
	s.send("805C000204", func(data []byte) string { return wallet.Fen(binary.BigEndian.Uint32(data)).Yuan() + " yuan" })
}

func (s *story) record() {
	s.send("00B201C417", func(data []byte) string {
		r := wallet.ParseRecord(data, 0x18, 1, wallet.OverdraftIsLimit)
		require.Empty(s.t, r.Problem)
		return fmt.Sprintf("counter %d, %s yuan, type %02X, terminal %s, %s", r.Counter, r.Amount.Yuan(), r.Type, r.Terminal, r.Time.Format("2006-01-02 15:04:05"))
	})
}

func (s *story) load() {
	init := s.send(fmt.Sprintf("805000020B01%08X%s10", int64(cardAmount), cardTID), func(data []byte) string {
		parsed, err := wallet.ParseLoadInit(data)
		require.NoError(s.t, err)
		session := epcrypto.LoadSessionKey(exampleKeys.DLK, [4]byte(data[8:12]), parsed.Seq)
		mac1 := epcrypto.LoadMAC1(session, uint32(parsed.Balance), uint32(cardAmount), wallet.TypeLoadEP, cardTID)
		require.Equal(s.t, data[12:16], mac1[:])
		return fmt.Sprintf("balance %s, online counter %d, random %X; session key %X; MAC1 over `%X`", parsed.Balance.Yuan(), parsed.Seq, data[8:12], [8]byte(session),
			epcrypto.LoadMAC1Data(uint32(parsed.Balance), uint32(cardAmount), wallet.TypeLoadEP, cardTID))
	})
	seq := binary.BigEndian.Uint16(init[4:])
	session := epcrypto.LoadSessionKey(exampleKeys.DLK, [4]byte(init[8:12]), seq)
	mac2 := epcrypto.LoadMAC2(session, uint32(cardAmount), wallet.TypeLoadEP, cardTID, exampleTime)
	tac := epcrypto.LoadTAC(exampleKeys.DTK, uint32(1234+cardAmount), seq, uint32(cardAmount), wallet.TypeLoadEP, cardTID, exampleTime)
	s.send(fmt.Sprintf("805200000B%X%s04", exampleTime[:], mac2), func(data []byte) string {
		require.Equal(s.t, tac[:], data)
		return fmt.Sprintf("MAC2 over `%X`; the answer is the TAC", epcrypto.LoadMAC2Data(uint32(cardAmount), wallet.TypeLoadEP, cardTID, exampleTime))
	})
	s.balance()
	s.record()
	s.send(fmt.Sprintf("805A000202%04X08", seq+1), func(data []byte) string {
		require.Equal(s.t, tac[:], data[4:])
		return "MAC ‖ the same TAC: the load with counter " + fmt.Sprint(seq) + " is on the card"
	})
}

func (s *story) pay() {
	const amount, serial = 150, 7
	terminal := wallet.TerminalNumber{0, 0, 0, 0, 0x09, 0x01}
	init := s.send(fmt.Sprintf("805001020B01%08X%s0F", amount, terminal), func(data []byte) string {
		return fmt.Sprintf("balance %s, offline counter %d, random %X; nothing here is authenticated",
			wallet.Fen(binary.BigEndian.Uint32(data)).Yuan(), binary.BigEndian.Uint16(data[4:]), data[11:15])
	})
	session := epcrypto.PurchaseSessionKey(exampleKeys.DPK, [4]byte(init[11:15]), binary.BigEndian.Uint16(init[4:]), serial)
	mac1 := epcrypto.PurchaseMAC1(session, amount, wallet.TypePurchaseEP, terminal, exampleTime)
	s.send(fmt.Sprintf("805401000F%08X%X%s08", serial, exampleTime[:], mac1), func(data []byte) string {
		tac := epcrypto.PurchaseTAC(exampleKeys.DTK, amount, wallet.TypePurchaseEP, terminal, serial, exampleTime)
		mac2 := epcrypto.PurchaseMAC2(session, amount)
		require.Equal(s.t, append(tac[:], mac2[:]...), data)
		return fmt.Sprintf("session key %X; TAC %s ‖ MAC2 %s", [8]byte(session), tac, mac2)
	})
	s.balance()
}
