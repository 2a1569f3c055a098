package wallet_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
	"walletcompanion/wallet/wallettest"
)

// field holds a virtual card, with power.
type field struct {
	card *virtualcard.Card
	sent []string
}

func (f *field) Transmit(ctx context.Context, c []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.sent = append(f.sent, wallet.Hex(c).String())
	return f.card.Transmit(c)
}

func present(t *testing.T, variant string, records int) *field {
	t.Helper()
	spec := virtualcard.Spec{ASN: testASN, Balance: 1234, Records: records, Variant: variant, PIN: "123456"}
	card := must(virtualcard.New(spec, rand.NewChaCha8([32]byte{7})))
	card.SetDelay(nil)
	_, err := card.PowerOn()
	require.NoError(t, err)
	return &field{card: card}
}

func TestRead_EveryVariant(t *testing.T) {
	for _, v := range virtualcard.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			f := present(t, v.Name, 10)
			before := must(f.card.Image())
			reading := read(t, f)
			require.Len(t, reading.Purses, 1)
			purse := reading.Purses[0]
			require.True(t, purse.Complete, purse.Problems)
			require.Equal(t, testASN, purse.ASN)
			require.Equal(t, f.card.Balance(), purse.Balance)
			require.Equal(t, before, must(f.card.Image()), "reading changes nothing")
			require.Equal(t, 2, reading.APDUsToBalance)
			if v.Name == virtualcard.SharedCounter {
				require.Equal(t, "shanghai", purse.Profile.Name)
				require.GreaterOrEqual(t, len(purse.Records), 10)
				return
			}
			require.Equal(t, "pboc-ep", purse.Profile.Name)
			require.Len(t, purse.Records, 10)
			require.Equal(t, 13, reading.APDUs)
		})
	}
}

func TestRead_BlockedVirtualCard(t *testing.T) {
	blocks := map[string]func(*virtualcard.Card) error{
		"for now": (*virtualcard.Card).Block, "for ever": (*virtualcard.Card).BlockForEver,
	}
	for name, block := range blocks {
		t.Run(name, func(t *testing.T) {
			f := present(t, virtualcard.Standard, 10)
			require.NoError(t, block(f.card))
			reading := read(t, f)
			require.Len(t, reading.Purses, 1)
			purse := reading.Purses[0]
			require.True(t, purse.Blocked)
			require.Contains(t, purse.Problems, wallet.ProblemApplicationBlock)
			require.EqualValues(t, 1234, purse.Balance)
			require.Equal(t, testASN, purse.ASN)
			require.Len(t, purse.Records, 10)
		})
	}
}

// virtualStage is newStage with a virtual card and the real arithmetic.
func virtualStage(t *testing.T, variant string) (*stage, *field) {
	t.Helper()
	s, f := newStage(), present(t, variant, 3)
	s.desk.Card = f
	s.desk.PIN = func(int) ([]byte, error) { return []byte{0x12, 0x34, 0x56}, nil }
	s.order.Amount = 5000
	if variant == virtualcard.SharedCounter {
		s.profile = profile("shanghai")
	}
	keys := f.card.Keys()
	at := epcrypto.CardTime{0x20, 0x26, 0x03, 0x15, 0x09, 0x30, 0x45}
	s.issuer.MAC2 = func(init, data, _ []byte) []byte {
		session := epcrypto.LoadSessionKey(keys.DLK, [4]byte(init[8:12]), binary.BigEndian.Uint16(init[4:]))
		mac := epcrypto.LoadMAC2(session, binary.BigEndian.Uint32(data[1:]), 2, wallet.TerminalNumber(data[5:]), at)
		return mac[:]
	}
	s.issuer.ValidTAC = func(o wallettest.Order, tac []byte) bool {
		want := epcrypto.LoadTAC(keys.DTK, uint32(o.Balance+o.Amount), o.Seq, uint32(o.Amount), 2, o.TID, at)
		return string(tac) == string(want[:])
	}
	return s, f
}

func TestTopUp_EveryVariant(t *testing.T) {
	for _, v := range virtualcard.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			s, f := virtualStage(t, v.Name)
			out, err := s.topUp()
			require.EqualValues(t, 6234, f.card.Balance())
			require.Equal(t, 1, countINS(f.sent, "52"))
			if v.Name == virtualcard.EEPROMButCredited {
				require.True(t, wallet.IsOpen(err), "6581 says nothing about the money")
				return
			}
			require.NoError(t, err)
			order := s.issuer.Orders["20260301-01"]
			require.True(t, s.issuer.ValidTAC(*order, out.TAC))
			require.True(t, out.OnCardLog)
		})
	}
}

// TestSync_EveryTearOfEveryVariant tears the card out at every command of a
// top-up, before, inside and after it, touches once more, and counts the money.
func TestSync_EveryTearOfEveryVariant(t *testing.T) {
	for _, v := range virtualcard.Variants() {
		for _, ins := range []byte{0xA4, 0xB0, 0x50, 0x52, 0x5C, 0xB2} {
			for _, when := range []virtualcard.TearWhen{virtualcard.Before, virtualcard.Inside, virtualcard.After} {
				for _, intent := range []wallet.Intent{wallet.IntentSettle, wallet.IntentComplete, wallet.IntentCancel} {
					t.Run(fmt.Sprintf("%s %02X %v %s", v.Name, ins, when, intent), func(t *testing.T) {
						s, f := virtualStage(t, v.Name)
						f.card.TearAt(virtualcard.Tear{INS: ins, When: when})
						_, err := s.topUp()
						if !wallet.IsOpen(err) {
							require.Equal(t, err == nil, f.card.Balance() == 6234, err)
							return
						}
						_, err = f.card.PowerOn()
						require.NoError(t, err)
						loaded := f.card.Balance() == 6234
						out, err := s.sync(s.journal.Entry("key-1"), intent)
						if v.Name == virtualcard.EEPROMButCredited && !loaded && intent == wallet.IntentComplete {
							require.True(t, wallet.IsOpen(err))
							return
						}
						if wallet.CodeOf(err) == wallet.CodeCardLost {
							// The top-up never came to this command: it was the sync that was torn.
							require.True(t, wallet.IsOpen(err))
							_, err = f.card.PowerOn()
							require.NoError(t, err)
							out, err = s.sync(s.journal.Entry("key-1"), intent)
						}
						if v.Name != virtualcard.EEPROMButCredited { // its top-up and sync read no record
							require.Equal(t, 1, f.card.TearsHit())
						}
						require.NoError(t, err)
						switch {
						case loaded:
							require.Equal(t, wallet.StateLoaded, out.State.State)
							require.EqualValues(t, 6234, f.card.Balance())
						case intent == wallet.IntentComplete:
							require.Len(t, out.TAC, 4)
							require.EqualValues(t, 6234, f.card.Balance())
						default:
							want := map[wallet.Intent]wallet.LoadState{wallet.IntentSettle: wallet.StateGranted, wallet.IntentCancel: wallet.StateVoided}
							require.Equal(t, want[intent], out.State.State)
							require.EqualValues(t, 1234, f.card.Balance())
						}
					})
				}
			}
		}
	}
}

// A card that was blocked after an interrupted top-up is settled by its stored
// proof, where it has one (protocol §2.7 row 31).
func TestSync_BlockedVirtualCard(t *testing.T) {
	tests := []struct {
		variant  string
		credited bool
		loaded   bool
	}{
		{virtualcard.Standard, true, true},
		{virtualcard.Standard, false, false},
		{virtualcard.ProveStub, true, false},
		{virtualcard.ProveNone, true, false},
	}
	for _, tt := range tests {
		s, f := virtualStage(t, tt.variant)
		when := virtualcard.Before
		if tt.credited {
			when = virtualcard.After
		}
		f.card.TearAt(virtualcard.Tear{INS: 0x52, When: when})
		_, err := s.topUp()
		require.True(t, wallet.IsOpen(err))
		must(f.card.PowerOn())
		require.NoError(t, f.card.Block())
		out, err := s.sync(s.journal.Entry("key-1"), wallet.IntentSettle)
		if tt.loaded {
			require.NoError(t, err)
			require.Equal(t, wallet.StateLoaded, out.State.State)
			require.Nil(t, s.issuer.Evidence[0].Steps)
			continue
		}
		require.Equal(t, wallet.CodeCardBlocked, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err), "staff will settle it")
		require.Equal(t, wallet.StageUnknown, s.journal.Entry("key-1").Stage)
	}
}

// On a card whose counter also moves with purchases the proof of the last load is
// fetched before a new INITIALIZE can wipe it.
func TestTopUp_SharedCounterProvesFirst(t *testing.T) {
	s, f := virtualStage(t, virtualcard.SharedCounter)
	_, err := s.topUp()
	require.NoError(t, err)
	f.sent = nil
	s.order.Key = "key-2"
	second := wallet.TerminalNumber{0x31, 0, 0, 0, 0, 2}
	_, err = s.desk.TopUp(context.Background(), s.order, s.profile, wallettest.OpenScript(s.profile), second)
	require.NoError(t, err)
	prove, initialize := -1, -1
	for i, c := range f.sent {
		switch c[2:4] {
		case "5A":
			prove = i
		case "50":
			initialize = i
		}
	}
	require.Positive(t, prove)
	require.Less(t, prove, initialize)
}

// virtualTill is newTill with a virtual card and the real arithmetic of purchases.
func virtualTill(t *testing.T, variant string) (*till, *field) {
	t.Helper()
	s, f := newTill(), present(t, variant, 3)
	s.desk.Card = f
	s.desk.PIN = func(int) ([]byte, error) { return []byte{0x12, 0x34, 0x56}, nil }
	s.payment.Amount = 250
	if variant == virtualcard.SharedCounter {
		s.profile = profile("shanghai")
	}
	keys := f.card.Keys()
	s.cashier.MAC1 = func(init, data, at []byte) []byte {
		session := epcrypto.PurchaseSessionKey(keys.DPK, [4]byte(init[11:15]), binary.BigEndian.Uint16(init[4:]), binary.BigEndian.Uint32(at))
		mac := epcrypto.PurchaseMAC1(session, binary.BigEndian.Uint32(data[1:]), 6, wallet.TerminalNumber(data[5:]), epcrypto.CardTime(at[4:]))
		return mac[:]
	}
	s.cashier.ValidProof = func(p wallettest.Purchase, tac, mac2 []byte) bool {
		session := epcrypto.PurchaseSessionKey(keys.DPK, [4]byte(p.Random), p.Number, p.TerminalSerial)
		wantTAC := epcrypto.PurchaseTAC(keys.DTK, uint32(p.Amount), 6, p.Terminal, p.TerminalSerial, epcrypto.CardTime(p.At[4:]))
		wantMAC2 := epcrypto.PurchaseMAC2(session, uint32(p.Amount))
		return string(tac) == string(wantTAC[:]) && string(mac2) == string(wantMAC2[:])
	}
	return s, f
}

func TestPay_EveryVariant(t *testing.T) {
	for _, v := range virtualcard.Variants() {
		for _, unload := range []bool{false, true} {
			t.Run(fmt.Sprint(v.Name, " ", unload), func(t *testing.T) {
				s, f := virtualTill(t, v.Name)
				s.payment.Unload = unload
				out, err := s.pay()
				require.NoError(t, err)
				require.EqualValues(t, 984, f.card.Balance())
				require.Equal(t, 1, countINS(f.sent, "54"))
				require.True(t, s.cashier.ValidProof(*s.cashier.Purchases[testPurchase], out.Entry.TAC, out.Entry.MAC2))
				require.True(t, out.OnCardLog)
				if unload {
					require.Len(t, out.Entry.Steps[3].Data, 16)
				}
			})
		}
	}
}

// TestSettlePurchase_EveryTearOfEveryVariant tears the card out at every command of a
// purchase, before, inside and after it, touches once more, and counts the money.
func TestSettlePurchase_EveryTearOfEveryVariant(t *testing.T) {
	for _, v := range virtualcard.Variants() {
		for _, ins := range []byte{0xA4, 0xB0, 0x50, 0x54, 0x5C, 0xB2} {
			for _, when := range []virtualcard.TearWhen{virtualcard.Before, virtualcard.Inside, virtualcard.After} {
				t.Run(fmt.Sprintf("%s %02X %v", v.Name, ins, when), func(t *testing.T) {
					s, f := virtualTill(t, v.Name)
					f.card.TearAt(virtualcard.Tear{INS: ins, When: when})
					_, err := s.pay()
					require.Equal(t, 1, f.card.TearsHit())
					if !wallet.IsOpen(err) {
						require.Equal(t, err == nil, f.card.Balance() == 984, err)
						return
					}
					require.Equal(t, wallet.StageDebiting, s.entry().Stage)
					must(f.card.PowerOn())
					debited := f.card.Balance() == 984
					out, err := s.settle(s.entry())
					require.NoError(t, err)
					want := wallet.PurchaseNotTaken
					switch {
					case debited && (v.Name == virtualcard.ProveNone || v.Name == virtualcard.ProveStub):
						want = wallet.PurchaseDoubtful
					case debited:
						want = wallet.PurchasePaid
					}
					require.Equal(t, want, out.Purchase.State)
					require.Equal(t, debited, f.card.Balance() == 984, "settling moves nothing")
					require.Zero(t, countINS(f.sent, "52"))
				})
			}
		}
	}
}

// TestSettlePurchase_EndsThePurchaseSession: after the probe the old permission is
// dead, whatever the card's owner does.
func TestSettlePurchase_EndsThePurchaseSession(t *testing.T) {
	s, f := virtualTill(t, virtualcard.Standard)
	f.card.TearAt(virtualcard.Tear{INS: 0x54, When: virtualcard.Before})
	_, err := s.pay()
	require.True(t, wallet.IsOpen(err))
	must(f.card.PowerOn())
	_, err = s.settle(s.entry())
	require.NoError(t, err)
	debit := ""
	for _, sent := range f.sent {
		if sent[2:4] == "54" {
			debit = sent
		}
	}
	require.NotEmpty(t, debit)
	for _, prepare := range [][]string{{}, {selectPurse}, {selectPurse, "805001020B01000000FA3132333435360F"}} {
		for _, raw := range prepare {
			must(f.card.Transmit(mustHex(raw)))
		}
		answer := must(f.card.Transmit(mustHex(debit)))
		require.NotEqual(t, []byte{0x90, 0x00}, answer[len(answer)-2:])
	}
	require.EqualValues(t, 1234, f.card.Balance())
}
