package wallet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

// till is a stage for purchases: one chip, one cashier, one journal, one desk.
type till struct {
	*stage
	cashier *wallettest.Cashier
	payment wallet.Payment
}

const testPurchase = "P20260301-01"

func newTill() *till {
	s := newStage()
	s.chip.Balance = 6000
	t := &till{stage: s, cashier: wallettest.NewCashier(s.issuer.Key), payment: wallet.Payment{
		Key: "key-p", ASN: testASN, Amount: 1250, MerchantOrder: "823365543629", Merchant: "Tea House", Goods: "a cup of tea",
	}}
	s.desk.Cashier = t.cashier
	return t
}

func (t *till) pay() (wallet.Outcome, error) {
	return t.desk.Pay(context.Background(), t.payment, t.profile, wallettest.OpenPurchaseScript(t.profile), leasedTID)
}

func (t *till) settle(kept wallet.Entry) (wallet.Outcome, error) {
	return t.desk.SettlePurchase(context.Background(), t.cashier.Open(testPurchase), kept, t.profile, wallettest.OpenScript(t.profile))
}

func (t *till) entry() wallet.Entry { return t.journal.Entry("key-p") }

func (t *till) debits() int { return countINS(t.chip.Sent, "54") }

const (
	selectPurse   = "00A4040009A0000000038698070100"
	readInfo      = "00B095001E"
	initPurchase  = "805001020B01000004E23132333435360F"
	probePurchase = "805000020B010000000160000000010110"
)

func TestPay_Golden(t *testing.T) {
	s := newTill()
	out, err := s.pay()
	require.NoError(t, err)
	require.Equal(t, []string{selectPurse, readInfo, initPurchase}, s.chip.Sent[:3])
	require.True(t, strings.HasPrefix(s.chip.Sent[3], "805401000F00C0FFEE20260315093045"))
	require.True(t, strings.HasSuffix(s.chip.Sent[3], "08"))
	require.Equal(t, []string{"805C000204", "00B201C417"}, s.chip.Sent[4:])

	require.EqualValues(t, 4750, s.chip.Balance)
	require.EqualValues(t, 6000, out.BalanceBefore)
	require.EqualValues(t, 4750, out.BalanceAfter)
	require.True(t, out.OnCardLog)
	require.Equal(t, 6, out.APDUs)
	entry := s.entry()
	require.Equal(t, out.Entry, entry)
	require.Equal(t, wallet.KindPurchase, entry.Kind)
	require.Len(t, entry.TAC, 4)
	require.Len(t, entry.MAC2, 4)
	require.Equal(t, testPurchase, entry.Order)
	require.EqualValues(t, 7, entry.Seq)
	require.EqualValues(t, 0x00C0FFEE, entry.TerminalSerial)
	require.NotNil(t, entry.Grant)
	require.Equal(t, []wallet.Stage{
		wallet.StagePurchaseIntent, wallet.StageAsked, wallet.StageAuthorised, wallet.StageDebiting, wallet.StageDebited,
	}, s.journal.Stages())
	ask := s.cashier.Asks[0]
	require.Equal(t, s.payment, ask.Payment)
	require.Len(t, ask.Steps, 3, "one answer for each step of the script")
	require.Len(t, ask.Steps[2].Data, 15)

	mac1 := s.chip.Sent[3][32:40]
	for _, line := range s.trace {
		require.NotContains(t, line.Command+line.Answer, mac1)
		require.NotContains(t, line.Answer, entry.MAC2.String())
	}
	require.Equal(t, "805401000F00C0FFEE20260315093045********08", s.trace[3].Command)
	require.Equal(t, entry.TAC.String()+"********9000", s.trace[3].Answer)
	stored := must(json.Marshal(entry))
	require.NotContains(t, string(stored), mac1, "MAC1 is never stored")
}

func TestPay_ReturnOfBalanceEndsWithTheProbe(t *testing.T) {
	for _, pin := range [][]byte{nil, {0x12, 0x34, 0x56}} {
		s := newTill()
		s.payment.Unload = true
		s.chip.PIN = pin
		s.desk.PIN = func(int) ([]byte, error) { return []byte{0x12, 0x34, 0x56}, nil }
		out, err := s.pay()
		require.NoError(t, err)
		require.Equal(t, probePurchase, s.chip.Sent[len(s.chip.Sent)-1])
		entry := s.entry()
		require.Equal(t, out.Entry, entry)
		require.Equal(t, 4, entry.Executed)
		require.Len(t, entry.Steps, 4)
		require.Len(t, entry.Steps[3].Data, 16, "the answer whose MAC1 proves the lower balance is on disk")
		require.Equal(t, wallet.StageDebited, entry.Stage)
	}
	t.Run("the card leaves before the probe", func(t *testing.T) {
		s := newTill()
		s.payment.Unload = true
		s.chip.TearAfter = 0x5C
		_, err := s.pay()
		require.NoError(t, err, "the card is debited, the proof is on disk")
		require.Equal(t, 1, s.entry().Executed)
		s.chip.Present()
		s.chip.Sent = nil
		_, err = s.settle(s.entry())
		require.NoError(t, err)
		require.Contains(t, s.chip.Sent, probePurchase)
	})
}

// TestPay_Faults cuts a purchase at every place and says what must be true then.
func TestPay_Faults(t *testing.T) {
	answer := func(ins byte, raw string) func(*till) {
		return func(s *till) {
			s.chip.Hook = func(c []byte) ([]byte, error, bool) { return mustHex(raw), nil, c[1] == ins }
		}
	}
	tests := []struct {
		name    string
		arrange func(*till)
		code    wallet.Code
		open    bool
		stage   wallet.Stage
		debits  int
		balance uint32
	}{
		{"card lost at INITIALIZE", func(s *till) { s.chip.TearAfter = 0x50 }, wallet.CodeCardLost, false, wallet.StagePurchaseIntent, 0, 6000},
		{"other card", func(s *till) { s.payment.ASN = otherASN }, wallet.CodeCardOther, false, wallet.StageAbandoned, 0, 6000},
		{"too little money", func(s *till) { s.chip.Balance = 1249 }, wallet.CodePurseShort, false, wallet.StageAbandoned, 0, 1249},
		{"claims less than the amount", answer(0x50, "000004E1000700000001000102030"+"49000"), wallet.CodePurseShort, false, wallet.StageAbandoned, 0, 6000},
		{"old card with too little", answer(0x50, "9301"), wallet.CodePurseShort, false, wallet.StageAbandoned, 0, 6000},
		{"short answer to INITIALIZE", answer(0x50, "000017709000"), wallet.CodeCardProtocol, false, wallet.StageAbandoned, 0, 6000},
		{"blocked application", answer(0xA4, "6A81"), wallet.CodeCardBlocked, false, wallet.StageAbandoned, 0, 6000},
		{"network lost", func(s *till) { s.cashier.Lost = errNet }, wallet.CodeOutcomeUnknown, true, wallet.StageAsked, 0, 6000},
		{"card lost inside DEBIT", func(s *till) { s.chip.TearAfter = 0x54 }, wallet.CodeCardLost, true, wallet.StageDebiting, 1, 4750},
		{"9302", answer(0x54, "9302"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"6901", answer(0x54, "6901"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"6985", answer(0x54, "6985"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"9401", answer(0x54, "9401"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"6581", answer(0x54, "6581"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"6700 is not repeated", answer(0x54, "6700"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"6C08 is not repeated", answer(0x54, "6C08"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"9000 without TAC", answer(0x54, "9000"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"9000 with the TAC alone", answer(0x54, "010203049000"), wallet.CodeOutcomeUnknown, true, wallet.StageDebiting, 1, 6000},
		{"one byte", answer(0x54, "90"), wallet.CodeCardProtocol, true, wallet.StageDebiting, 1, 6000},
		{"wrong balance afterwards", answer(0x5C, "000017709000"), wallet.CodeBalanceWrong, true, wallet.StageDebited, 1, 4750},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTill()
			tt.arrange(s)
			_, err := s.pay()
			require.Error(t, err)
			require.Equal(t, tt.code, wallet.CodeOf(err), err)
			require.Equal(t, tt.open, wallet.IsOpen(err), err)
			require.Equal(t, tt.stage, s.entry().Stage)
			require.Equal(t, tt.debits, s.debits())
			require.Equal(t, tt.balance, s.chip.Balance)
			require.NotContains(t, err.Error(), s.payment.ASN.String())
		})
	}
}

func TestPay_JournalFails(t *testing.T) {
	for _, tt := range []struct {
		stage wallet.Stage
		open  bool
		asks  int
	}{
		{wallet.StagePurchaseIntent, false, 0},
		{wallet.StageAsked, false, 0},
		{wallet.StageAuthorised, true, 1},
		{wallet.StageDebiting, true, 1},
	} {
		t.Run(string(tt.stage), func(t *testing.T) {
			s := newTill()
			s.journal.Fail = failAt(tt.stage)
			_, err := s.pay()
			require.Equal(t, wallet.CodeJournalFailed, wallet.CodeOf(err))
			require.Equal(t, tt.open, wallet.IsOpen(err))
			require.Len(t, s.cashier.Asks, tt.asks)
			require.Zero(t, s.debits(), "no DEBITING on disk, no DEBIT")
			require.EqualValues(t, 6000, s.chip.Balance)
		})
	}
	t.Run("DEBITED", func(t *testing.T) {
		s := newTill()
		s.journal.Fail = failAt(wallet.StageDebited)
		out, err := s.pay()
		require.NoError(t, err, "the card is debited")
		require.Equal(t, wallet.CodeJournalFailed, out.Warning)
		require.Len(t, out.Entry.MAC2, 4)
		require.Equal(t, wallet.StageDebited, out.Entry.Stage)
		require.Equal(t, wallet.StageDebiting, s.entry().Stage)
	})
}

func TestPay_CancelEndsAtDebiting(t *testing.T) {
	for stage, debits := range map[wallet.Stage]int{wallet.StageAuthorised: 0, wallet.StageDebiting: 1} {
		s := newTill()
		ctx, cancel := context.WithCancel(context.Background())
		s.desk.Progress = func(p wallet.Progress) {
			if p.Stage == stage {
				cancel()
			}
		}
		_, err := s.desk.Pay(ctx, s.payment, s.profile, wallettest.OpenPurchaseScript(s.profile), leasedTID)
		require.Equal(t, debits, s.debits())
		require.Equal(t, debits == 1, err == nil)
		require.Equal(t, debits == 0, wallet.IsOpen(err))
	}
}

func TestPay_Refused(t *testing.T) {
	for code, want := range map[string]wallet.Code{
		"PENDING_LOAD": wallet.CodePendingLoad, "PENDING_PURCHASE": wallet.CodePendingPurchase, "MERCHANT_ORDER": wallet.CodeDeclined,
	} {
		s := newTill()
		s.cashier.Refuse = &wallet.PurchaseStatement{State: wallet.PurchaseDeclined, Code: code}
		_, err := s.pay()
		var refused *wallet.Refused
		require.ErrorAs(t, err, &refused)
		require.Equal(t, code, refused.State.Code)
		require.Equal(t, want, wallet.CodeOf(err))
		require.False(t, wallet.IsOpen(err))
		require.Equal(t, wallet.StageDeclined, s.entry().Stage)
		require.Zero(t, s.debits())
	}
}

// statements is a cashier that always says the same.
type statements struct{ wallet.PurchaseStatement }

func (v statements) RequestPurchase(context.Context, wallet.PurchaseAsk) (wallet.PurchaseVerdict, error) {
	return wallet.PurchaseVerdict{State: &v.PurchaseStatement}, nil
}
func (v statements) SettlePurchase(context.Context, wallet.PurchaseEvidence) (wallet.PurchaseStatement, error) {
	return v.PurchaseStatement, nil
}

func TestPay_StatementsThatDecideNothing(t *testing.T) {
	for name, statement := range map[string]wallet.PurchaseStatement{
		"another purchase": {Key: "key-q", State: wallet.PurchaseDeclined, Code: "MERCHANT_ORDER"},
		"no subject":       {State: wallet.PurchaseDeclined, Code: "MERCHANT_ORDER"},
		"no code":          {Key: "key-p", State: wallet.PurchaseDeclined},
		"unknown state":    {Key: "key-p", State: "SOMETHING"},
		"foreign receipt":  {Key: "key-p", State: wallet.PurchasePaid, ReceiptBody: &wallet.PurchaseReceipt{ASN: otherASN, Amount: 1250, MerchantOrder: "823365543629"}},
		"other amount":     {Key: "key-p", State: wallet.PurchasePaid, ReceiptBody: &wallet.PurchaseReceipt{ASN: testASN, Amount: 1251, MerchantOrder: "823365543629"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTill()
			s.desk.Cashier = statements{statement}
			_, err := s.pay()
			require.True(t, wallet.IsOpen(err))
			require.Equal(t, wallet.StageAsked, s.entry().Stage)
			require.Zero(t, s.debits())
		})
	}
}

func TestPay_SlowPlatform(t *testing.T) {
	for seconds, paid := range map[int]bool{14: true, 16: false} {
		synctest.Test(t, func(t *testing.T) {
			s := newTill()
			s.cashier.Slow = time.Duration(seconds) * time.Second
			_, err := s.pay()
			require.Equal(t, paid, err == nil)
			require.Equal(t, !paid, wallet.IsOpen(err))
			require.Equal(t, paid, s.debits() == 1)
		})
	}
}

// tornPurchase runs a purchase that is cut at a command and puts the card back.
func tornPurchase(t *testing.T, ins byte) *till {
	t.Helper()
	s := newTill()
	s.chip.TearAfter = ins
	_, err := s.pay()
	require.True(t, wallet.IsOpen(err))
	s.chip.Present()
	s.chip.Sent = nil
	return s
}

func TestSettlePurchase_DebitedIsShownByTheCard(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := tornPurchase(t, 0x54)
		kept, key := wallet.Entry{}, testPurchase
		if known {
			kept, key = s.entry(), "key-p"
		}
		out, err := s.settle(kept)
		require.NoError(t, err)
		require.Equal(t, wallet.PurchasePaid, out.Purchase.State)
		require.Equal(t, []string{selectPurse, readInfo, "805A000602000808", probePurchase}, s.chip.Sent)
		require.Equal(t, wallet.StageConfirmed, s.journal.Entry(key).Stage)
		require.EqualValues(t, 4750, s.chip.Balance)
	}
}

func TestSettlePurchase_NotTaken(t *testing.T) {
	s := newTill()
	s.cashier.Lost = errNet
	_, err := s.pay()
	require.True(t, wallet.IsOpen(err))
	s.cashier.Lost = nil
	s.chip.Present()
	s.chip.Sent = nil
	out, err := s.settle(s.entry())
	require.NoError(t, err)
	require.Equal(t, wallet.PurchaseNotTaken, out.Purchase.State)
	require.Equal(t, []string{selectPurse, readInfo, "805A000602000808", "805A000602000708", probePurchase}, s.chip.Sent)
	require.Equal(t, wallet.StageNotTaken, s.entry().Stage)
}

func TestSettlePurchase_OtherCard(t *testing.T) {
	s := tornPurchase(t, 0x54)
	copy(s.chip.Info[10:], otherASN[:])
	_, err := s.settle(s.entry())
	require.ErrorIs(t, err, wallet.ErrOtherCard)
	require.True(t, wallet.IsOpen(err))
	require.Empty(t, s.cashier.Evidence)
	require.Zero(t, countINS(s.chip.Sent, "50")+countINS(s.chip.Sent, "5A"))
}

// A card that cannot start a session any more gives its proof alone.
func TestSettlePurchase_BlockedCard(t *testing.T) {
	for _, proof := range []bool{true, false} {
		s := tornPurchase(t, 0x54)
		s.chip.Hook = func(c []byte) ([]byte, error, bool) {
			return mustHex("9303"), nil, c[1] == 0x50 || c[1] == 0x5A && !proof
		}
		out, err := s.settle(s.entry())
		if proof {
			require.NoError(t, err)
			require.Equal(t, wallet.PurchasePaid, out.Purchase.State)
			require.Nil(t, s.cashier.Evidence[0].Steps)
			continue
		}
		require.Equal(t, wallet.CodeCardBlocked, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err))
		require.Equal(t, wallet.StageDebiting, s.entry().Stage)
	}
}

func TestSettlePurchase_StatementOfAnotherKeySettlesNothing(t *testing.T) {
	s := tornPurchase(t, 0x54)
	s.desk.Cashier = statements{wallet.PurchaseStatement{Purchase: testPurchase, Key: "key-q", State: wallet.PurchasePaid}}
	_, err := s.settle(s.entry())
	require.True(t, wallet.IsOpen(err))
	require.Equal(t, wallet.StageDebiting, s.entry().Stage)
}

func TestSettlePurchase_RefusedEvidenceLeavesItOpen(t *testing.T) {
	s := tornPurchase(t, 0x54)
	s.desk.Cashier = statements{wallet.PurchaseStatement{Purchase: testPurchase, State: wallet.PurchaseAuthorised, Code: "PENDING_LOAD"}}
	_, err := s.settle(s.entry())
	require.True(t, wallet.IsOpen(err))
	require.Equal(t, wallet.CodePendingLoad, wallet.CodeOf(err))
	require.Equal(t, wallet.StageDebiting, s.entry().Stage)
}

// purchaseForgeries change the grant or its script before they are signed: each is
// something that the person did not confirm or the card did not answer.
var purchaseForgeries = map[string]func(*wallet.PurchaseGrant, *[]wallet.Step){
	"card":           func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.ASN = otherASN },
	"amount up":      func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Amount++ },
	"amount down":    func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Amount-- },
	"merchant order": func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.MerchantOrder = "000000000001" },
	"merchant":       func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Merchant = "Coffee House" },
	"goods":          func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Goods = "nothing" },
	"terminal":       func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Terminal[0] ^= 1 },
	"serial":         func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.TerminalSerial++ },
	"number":         func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Number++ },
	"random":         func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Random[0] ^= 1 },
	"no random":      func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Random = nil },
	"balance":        func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Balance++ },
	"no purchase":    func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Purchase = "" },
	"key":            func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Key = "key-q" },
	"no key":         func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Key = "" },
	"epoch":          func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Epoch = 2 },
	"no probe":       func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.ProbeTID = wallet.TerminalNumber{} },
	"probe is used":  func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.ProbeTID = g.Terminal },
	"unload":         func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.Unload = true },
	"expired":        func(g *wallet.PurchaseGrant, _ *[]wallet.Step) { g.NotAfterS = 0 },

	"no steps":            func(_ *wallet.PurchaseGrant, s *[]wallet.Step) { *s = nil },
	"two debits":          func(_ *wallet.PurchaseGrant, s *[]wallet.Step) { *s = append(*s, (*s)[0]) },
	"debit second":        func(_ *wallet.PurchaseGrant, s *[]wallet.Step) { (*s)[0], (*s)[1] = (*s)[1], (*s)[0] },
	"too many":            func(_ *wallet.PurchaseGrant, s *[]wallet.Step) { *s = append(*s, slices.Repeat((*s)[1:2], 32)...) },
	"credit":              replacePurchaseStep(0, "805200000B202603150930450102030404"),
	"credit after debit":  replacePurchaseStep(1, "805200000B202603150930450102030404"),
	"probe after debit":   replacePurchaseStep(1, probePurchase),
	"second init":         replacePurchaseStep(1, initPurchase),
	"withdraw":            replacePurchaseStep(0, "805402000F00C0FFEE202603150930450102030408"),
	"other purse's debit": replacePurchaseStep(0, "805401010F00C0FFEE202603150930450102030408"),
	"wrong class":         replacePurchaseStep(0, "845401000F00C0FFEE202603150930450102030408"),
	"no date":             replacePurchaseStep(0, "805401000F00C0FFEE202613150930450102030408"),
	"short debit":         replacePurchaseStep(0, "805401000E00C0FFEE2026031509304501020308"),
	"other serial":        replacePurchaseStep(0, "805401000F00C0FFEF202603150930450102030408"),
	"wrong length asked":  replacePurchaseStep(0, "805401000F00C0FFEE202603150930450102030409"),
	"not hex":             replacePurchaseStep(0, "xyz"),
	"update record":       replacePurchaseStep(1, "00DC01C4020102"),
	"VERIFY":              replacePurchaseStep(1, "0020000003123456"),
	"select":              replacePurchaseStep(1, selectPurse),
	"prove":               replacePurchaseStep(1, "805A000602000808"),
	"other purse":         replacePurchaseStep(1, "805C000104"),
	"capp cache":          replacePurchaseStep(1, "80DC01C8020102"),
}

func replacePurchaseStep(n int, apdu string) func(*wallet.PurchaseGrant, *[]wallet.Step) {
	return func(_ *wallet.PurchaseGrant, s *[]wallet.Step) { (*s)[n].APDU = apdu }
}

var purchaseAnswerForgeries = map[string]func(*wallet.PurchaseGrantedScript){
	"no signature":  func(g *wallet.PurchaseGrantedScript) { g.Grant.Sig = nil },
	"signature bit": func(g *wallet.PurchaseGrantedScript) { g.Grant.Sig[0] ^= 1 },
	"script byte":   func(g *wallet.PurchaseGrantedScript) { g.Script[40] ^= 1 },
	"no script":     func(g *wallet.PurchaseGrantedScript) { g.Script = nil },
	"foreign signer": func(g *wallet.PurchaseGrantedScript) {
		g.Grant = resign(g.Grant, wallet.DomainPurchaseGrant, foreignKey)
	},
}

func TestGuard_RejectsForgedPurchases(t *testing.T) {
	check := func(t *testing.T, s *till) {
		_, err := s.pay()
		require.Contains(t, []wallet.Code{wallet.CodeGrantForged, wallet.CodeGrantExpired}, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err), "the platform has authorised")
		require.Equal(t, []string{selectPurse, readInfo, initPurchase}, s.chip.Sent)
		require.EqualValues(t, 6000, s.chip.Balance)
		require.Equal(t, wallet.StageAuthorised, s.entry().Stage)
		require.Nil(t, s.entry().Grant)
		require.NotContains(t, err.Error(), "01020304", "no MAC1 in errors")
	}
	for name, forge := range purchaseForgeries {
		t.Run(name, func(t *testing.T) {
			s := newTill()
			s.cashier.Forge = forge
			check(t, s)
		})
	}
	for name, forge := range purchaseAnswerForgeries {
		t.Run("answer: "+name, func(t *testing.T) {
			s := newTill()
			s.cashier.Answer = forge
			check(t, s)
		})
	}
	t.Run("load grant", func(t *testing.T) {
		s := newTill()
		s.cashier.Answer = func(g *wallet.PurchaseGrantedScript) { g.Grant = resign(g.Grant, wallet.DomainGrant, s.cashier.Key) }
		check(t, s)
	})
	for name, last := range map[string]string{
		"no probe": "", "other probe": "805000020B010000000160000000010210", "more than 1 fen": "805000020B010000000260000000010110",
		"credit": "805200000B202603150930450102030404", "init for purchase": "805001020B01000000016000000001010F",
	} {
		t.Run("unload: "+name, func(t *testing.T) {
			s := newTill()
			s.payment.Unload = true
			s.cashier.Forge = func(_ *wallet.PurchaseGrant, steps *[]wallet.Step) {
				if *steps = (*steps)[:3]; last != "" {
					*steps = append(*steps, wallet.Step{APDU: last})
				}
			}
			check(t, s)
		})
	}
	t.Run("every bit of the signed grant", func(t *testing.T) {
		s := newTill()
		guard, granted := authorised(t, s)
		for bit := range len(granted.Grant.Payload) * 8 {
			forged := granted
			forged.Grant.Payload = slices.Clone(granted.Grant.Payload)
			forged.Grant.Payload[bit/8] ^= 1 << (bit % 8)
			_, err := guard.AcceptPurchase(forged, s.issuer.Signers(), time.Now())
			require.Equal(t, wallet.CodeGrantForged, wallet.CodeOf(err))
		}
		_, err := guard.AcceptPurchase(granted, s.issuer.Signers(), time.Now())
		require.NoError(t, err, "untouched it passes, so that the test can fail")
	})
}

// authorised runs the open script through a purchase guard and asks for the grant.
func authorised(t *testing.T, s *till) (*wallet.Guard, wallet.PurchaseGrantedScript) {
	t.Helper()
	guard := wallet.NewPurchaseGuard(s.chip, s.profile, s.payment, leasedTID, 1, nil)
	var steps []wallet.StepResult
	for _, raw := range []string{selectPurse, readInfo, initPurchase} {
		steps = append(steps, must(guard.Send(t.Context(), command(raw))).Step())
	}
	verdict := must(s.cashier.RequestPurchase(t.Context(), wallet.PurchaseAsk{Payment: s.payment, KeyIndex: 1, TID: leasedTID, Steps: steps}))
	return guard, *verdict.Granted
}

func debitOf(granted wallet.PurchaseGrantedScript) wallet.Command {
	var steps []wallet.Step
	if err := json.Unmarshal(granted.Script, &steps); err != nil {
		panic(err)
	}
	return command(steps[0].APDU)
}

// tryAll sends what the guard lets pass, and goes on.
func tryAll(guard *wallet.Guard, commands ...string) {
	for _, raw := range commands {
		_, _ = guard.Send(context.Background(), command(raw))
	}
}

func TestGuard_OneDebitPerGrant(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *till, guard *wallet.Guard, granted wallet.PurchaseGrantedScript)
	}{
		{"without accepting", func(s *till, g *wallet.Guard, granted wallet.PurchaseGrantedScript) {
			tryAll(g, wallet.Hex(debitOf(granted).Bytes()).String())
		}},
		{"another debit", func(s *till, g *wallet.Guard, granted wallet.PurchaseGrantedScript) {
			must(g.AcceptPurchase(granted, s.issuer.Signers(), time.Now()))
			c := debitOf(granted)
			c.Data[14] ^= 1
			tryAll(g, wallet.Hex(c.Bytes()).String())
		}},
		{"something in between", func(s *till, g *wallet.Guard, granted wallet.PurchaseGrantedScript) {
			must(g.AcceptPurchase(granted, s.issuer.Signers(), time.Now()))
			tryAll(g, "805C000204", wallet.Hex(debitOf(granted).Bytes()).String())
		}},
		{"after a new INITIALIZE", func(s *till, g *wallet.Guard, granted wallet.PurchaseGrantedScript) {
			must(g.AcceptPurchase(granted, s.issuer.Signers(), time.Now()))
			tryAll(g, initPurchase, selectPurse, readInfo, initPurchase, wallet.Hex(debitOf(granted).Bytes()).String())
		}},
		{"a credit", func(s *till, g *wallet.Guard, granted wallet.PurchaseGrantedScript) {
			must(g.AcceptPurchase(granted, s.issuer.Signers(), time.Now()))
			tryAll(g, "805200000B202603150930450102030404")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTill()
			guard, granted := authorised(t, s)
			tt.do(s, guard, granted)
			require.Zero(t, s.debits())
			require.Zero(t, countINS(s.chip.Sent, "52"))
			require.EqualValues(t, 6000, s.chip.Balance)
		})
	}
	t.Run("the second is refused", func(t *testing.T) {
		s := newTill()
		guard, granted := authorised(t, s)
		must(guard.AcceptPurchase(granted, s.issuer.Signers(), time.Now()))
		raw := wallet.Hex(debitOf(granted).Bytes()).String()
		tryAll(guard, raw, raw)
		_, err := guard.AcceptPurchase(granted, s.issuer.Signers(), time.Now())
		require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
		tryAll(guard, raw)
		require.Equal(t, 1, s.debits())
		require.EqualValues(t, 4750, s.chip.Balance)
	})
	t.Run("the probe of a return of balance comes after it", func(t *testing.T) {
		s := newTill()
		s.payment.Unload = true
		guard, granted := authorised(t, s)
		accepted := must(guard.AcceptPurchase(granted, s.issuer.Signers(), time.Now()))
		_, err := guard.Send(context.Background(), command(probePurchase))
		require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
		must(guard.Send(context.Background(), accepted.Commands[0]))
		must(guard.Send(context.Background(), command(probePurchase)))
		require.Equal(t, 1, s.debits())
	})
	t.Run("another card in between", func(t *testing.T) {
		s := newTill()
		guard, granted := authorised(t, s)
		copy(s.chip.Info[10:], otherASN[:])
		tryAll(guard, selectPurse, readInfo)
		_, err := guard.AcceptPurchase(granted, s.issuer.Signers(), time.Now())
		require.Error(t, err)
		require.Zero(t, s.debits())
	})
	t.Run("a load guard accepts none", func(t *testing.T) {
		s := newTill()
		_, granted := authorised(t, s)
		_, err := wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil).AcceptPurchase(granted, s.issuer.Signers(), time.Now())
		require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
		guard := wallet.NewPurchaseGuard(s.chip, s.profile, s.payment, leasedTID, 1, nil)
		_, err = guard.Accept(wallet.GrantedScript{}, s.issuer.Signers(), time.Now())
		require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
	})
}

func TestGuard_PurchaseTime(t *testing.T) {
	for _, tt := range []struct {
		name            string
		before, between time.Duration
		accepted, sent  bool
	}{
		{"in time", 10 * time.Second, 4 * time.Second, true, true},
		{"16 s after INITIALIZE", 10 * time.Second, 6 * time.Second, true, false},
		{"grant of 61 s", 61 * time.Second, 0, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTill()
				guard, granted := authorised(t, s)
				arrived := time.Now()
				time.Sleep(tt.before)
				_, err := guard.AcceptPurchase(granted, s.issuer.Signers(), arrived)
				require.Equal(t, tt.accepted, err == nil, err)
				time.Sleep(tt.between)
				tryAll(guard, wallet.Hex(debitOf(granted).Bytes()).String())
				require.Equal(t, tt.sent, s.debits() == 1)
			})
		})
	}
}

// TestGuard_PurchaseSessions: what a purchase and its settling may send, and what
// neither of them may.
func TestGuard_PurchaseSessions(t *testing.T) {
	open := wallet.OpenPurchase{Purchase: testPurchase, ASN: testASN, Amount: 1250, Number: 7, ProbeTID: wallet.TerminalNumber{0x60, 0, 0, 0, 1, 1}}
	settling := func(s *till) *wallet.Guard { return wallet.NewPurchaseSettleGuard(s.chip, s.profile, open, nil) }
	paying := func(s *till) *wallet.Guard {
		return wallet.NewPurchaseGuard(s.chip, s.profile, s.payment, leasedTID, 1, nil)
	}
	tests := []struct {
		name     string
		guard    func(*till) *wallet.Guard
		commands []string
		last     bool // reaches the card
	}{
		{"pay: initialize", paying, []string{initPurchase}, true},
		{"pay: twice", paying, []string{initPurchase, initPurchase}, false},
		{"pay: other amount", paying, []string{"805001020B01000004E33132333435360F"}, false},
		{"pay: other terminal", paying, []string{"805001020B01000004E23132333435370F"}, false},
		{"pay: other key", paying, []string{"805001020B02000004E23132333435360F"}, false},
		{"pay: other purse", paying, []string{"805001010B01000004E23132333435360F"}, false},
		{"pay: cash withdrawal", paying, []string{"805002020B01000004E23132333435360F"}, false},
		{"pay: composite", paying, []string{"805003020B01000004E23132333435360F"}, false},
		{"pay: load", paying, []string{"805000020B01000004E231323334353610"}, false},
		{"pay: probe before DEBIT", paying, []string{initPurchase, probePurchase}, false},
		{"pay: prove", paying, []string{initPurchase, "805A000602000808"}, false},
		{"settle: prove", settling, []string{"805A000602000808"}, true},
		{"settle: prove the number itself first", settling, []string{"805A000602000708"}, false},
		{"settle: both", settling, []string{"805A000602000808", "805A000602000708"}, true},
		{"settle: prove another number", settling, []string{"805A000602000908"}, false},
		{"settle: prove a load", settling, []string{"805A000202000808"}, false},
		{"settle: probe", settling, []string{probePurchase}, true},
		{"settle: probe twice", settling, []string{probePurchase, probePurchase}, false},
		{"settle: prove after the probe", settling, []string{probePurchase, "805A000602000808"}, false},
		{"settle: other probe", settling, []string{"805000020B010000000160000000010210"}, false},
		{"settle: probe over the amount", settling, []string{"805000020B01000004E260000000010110"}, false},
		{"settle: initialize for purchase", settling, []string{"805001020B01000004E26000000001010F"}, false},
		{"settle: credit", settling, []string{probePurchase, "805200000B202603150930450102030404"}, false},
		{"settle: debit", settling, []string{probePurchase, "805401000F00C0FFEE202603150930450102030408"}, false},
		{"settle: read", settling, []string{"00B201C417"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newTill()
			guard := tt.guard(s)
			tryAll(guard, selectPurse, readInfo)
			tryAll(guard, tt.commands...)
			last := tt.commands[len(tt.commands)-1]
			times := len(slices.DeleteFunc(slices.Clone(s.chip.Sent), func(c string) bool { return c != last }))
			before := len(slices.DeleteFunc(slices.Clone(tt.commands[:len(tt.commands)-1]), func(c string) bool { return c != last }))
			require.Equal(t, tt.last, times > before, "%v", s.chip.Sent)
		})
	}
	for _, raw := range commandsRefused {
		if _, err := wallet.ParseCommand(mustHex(raw)); err != nil {
			continue // it never becomes a command
		}
		for name, make := range map[string]func(*till) *wallet.Guard{"pay": paying, "settle": settling} {
			t.Run(fmt.Sprint(name, " ", raw), func(t *testing.T) {
				s := newTill()
				guard := make(s)
				tryAll(guard, selectPurse, readInfo)
				_, err := guard.Send(t.Context(), command(raw))
				require.Error(t, err)
				require.Len(t, s.chip.Sent, 2)
			})
		}
	}
}
