package mockplatform

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

func (c *teller) returnRequest(key, binding string, amount wallet.Fen) api.BankReturnRequest {
	seal, err := api.SealBankReturn(c.w.p.Profile().HPKE, api.BankReturnCore{Binding: binding, Amount: amount, Key: key},
		c.w.p.Profile().DemoCredentials.PaymentPassword)
	require.NoError(c.w.t, err)
	return api.BankReturnRequest{Binding: binding, Amount: amount, PaySeal: seal}
}

func (c *teller) toldReturn(answer *httptest.ResponseRecorder) (state api.BankReturnState) {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer)
	var carried api.BankReturnAnswer
	require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), &carried))
	require.NotNil(c.w.t, carried.State, answer.Body.String())
	require.NoError(c.w.t, c.w.p.signerKeys().Open(api.DomainBankReturn, *carried.State, &state))
	return state
}

func (c *teller) giveBack(binding string, amount wallet.Fen) api.BankReturnState {
	c.w.t.Helper()
	key := c.w.newKey()
	return c.toldReturn(c.post(api.PathBankReturns, key, c.returnRequest(key, binding, amount)))
}

// TestBank_Refund: in full, in parts, several up to the sum that came from this card;
// the same key is one refund; more is a withdrawal, which needs a real-name account.
func TestBank_Refund(t *testing.T) {
	for name, profile := range bankProfiles {
		t.Run(name, func(t *testing.T) {
			b := newBankWorld(t, profile)
			c := b.teller(testPhone)
			id := c.bind(b)
			before := b.balance(mainAccount(c.session.User))
			require.Equal(t, api.CodeBankReturnOver, c.giveBack(id, 1).Code, "nothing has come from it")
			require.Equal(t, wallet.FundingDone, c.payBank(b, id, 100_00).State)
			require.Equal(t, wallet.FundingDone, c.payBank(b, id, 50_00).State)

			key := b.newKey()
			request := c.returnRequest(key, id, 120_00) // spans two payments
			first := c.post(api.PathBankReturns, key, request)
			state := c.toldReturn(first)
			require.Equal(t, api.BankReturnDone, state.State)
			require.Equal(t, wallet.Fen(120_00), state.Returned)
			require.Equal(t, wallet.Fen(1970_00), b.atBank())
			again := c.post(api.PathBankReturns, key, request)
			require.Equal(t, first.Body.String(), again.Body.String(), "the stored bytes")
			b.reopen()
			require.Equal(t, first.Body.String(), c.post(api.PathBankReturns, key, request).Body.String(), "also after a restart")
			require.Equal(t, wallet.Fen(1970_00), b.atBank(), "and one refund")
			require.Equal(t, api.CodeKeyReused, codeOf(t, c.post(api.PathBankReturns, key, c.returnRequest(key, id, 1_00))))

			over := c.giveBack(id, 30_01)
			require.Equal(t, api.CodeBankReturnOver, over.Code)
			if name == "refund once" {
				require.Zero(t, over.LimitFen, "both payments were refunded")
			} else {
				require.Equal(t, wallet.Fen(30_00), over.LimitFen)
				require.Equal(t, api.BankReturnDone, c.giveBack(id, 10_00).State)
				require.Equal(t, api.BankReturnDone, c.giveBack(id, 20_00).State)
				require.Equal(t, wallet.Fen(2000_00), b.atBank())
				require.Equal(t, before, b.balance(mainAccount(c.session.User)))
			}
			require.Zero(t, b.balance(heldAccount(c.session.User)))

			// A payment password of another return opens nothing.
			moved := c.returnRequest(b.newKey(), id, 1_00)
			require.Equal(t, api.CodeDeclined, c.toldReturn(c.post(api.PathBankReturns, b.newKey(), moved)).Code)
			b.checkBoth()
		})
	}
}

// TestBank_Withdrawal: only a real-name account takes out more than came from the card.
func TestBank_Withdrawal(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	id := c.bind(b)
	require.Equal(t, wallet.FundingDone, c.payBank(b, id, 100_00).State)
	require.Equal(t, api.CodeBankReturnOver, c.giveBack(id, 101_00).Code)
	b.exec(`UPDATE users SET tier = ? WHERE phone = ?`, api.TierRealName, testPhone)
	before := b.balance(mainAccount(c.session.User))

	// The refund goes through; the bank refuses the withdrawal, because nothing of ours
	// is left there: that part comes back.
	state := c.giveBack(id, 101_00)
	require.Equal(t, api.BankReturnDone, state.State)
	require.Equal(t, wallet.Fen(100_00), state.Returned)
	require.Equal(t, api.CodeBankRefused, state.Code)
	require.Equal(t, before-100_00, b.balance(mainAccount(c.session.User)))
	require.Equal(t, api.CodeBankRefused, c.giveBack(id, 1_00).Code)
	require.Zero(t, b.balance(heldAccount(c.session.User)))
	b.checkBoth()

	// With money of others at the bank it works.
	order := c.gatewayOrder(50_00)
	require.Contains(t, b.browser(order.Page), "Paid")
	b.later(time.Second)
	require.Equal(t, api.BankReturnDone, c.giveBack(id, 40_00).State)
	require.Equal(t, api.CodeBalanceShort, c.giveBack(id, 9999_00).Code)
	b.checkBoth()
}

// TestBank_RefundFaults: a lost answer is found by asking under the same serial.
func TestBank_RefundFaults(t *testing.T) {
	for _, fault := range []mockbank.Fault{mockbank.FaultLostBefore, mockbank.FaultLostAfter, mockbank.FaultDown} {
		t.Run(string(fault), func(t *testing.T) {
			b := newBankWorld(t)
			c := b.teller(testPhone)
			id := c.bind(b)
			require.Equal(t, wallet.FundingDone, c.payBank(b, id, 100_00).State)
			main := b.balance(mainAccount(c.session.User))
			require.NoError(t, b.faults.Arm(fault, 1))
			key := b.newKey()
			request := c.returnRequest(key, id, 60_00)
			state := c.toldReturn(c.post(api.PathBankReturns, key, request))
			require.Equal(t, api.BankReturnPending, state.State)
			require.Equal(t, wallet.Fen(60_00), b.balance(heldAccount(c.session.User)))
			require.Equal(t, main-60_00, b.balance(mainAccount(c.session.User)))
			require.Equal(t, api.CodeBankInUse, codeOf(t, c.post("/v1/banks/"+id+"/unbind", b.newKey(), struct{}{})))
			b.check()
			second := c.giveBack(id, 41_00)
			require.Equal(t, api.CodeBankReturnOver, second.Code, "what is on its way is given back already")
			require.Equal(t, wallet.Fen(40_00), second.LimitFen)

			b.reopen()
			b.reopenBank()
			b.later(time.Minute)
			state = c.toldReturn(c.post(api.PathBankReturns, key, request))
			require.Equal(t, api.BankReturnDone, state.State)
			require.Equal(t, wallet.Fen(1960_00), b.atBank(), "once")
			// Two askers hear the same answer: the second one books nothing.
			require.NoError(t, b.p.store.Update(t.Context(), func(tx *Tx) error {
				return b.p.bookLeg(tx, state.Return, state.Return+"-001", bankapi.Outcome{State: bankapi.StateRefunded})
			}))
			var listed api.BankReturns
			c.must(http.StatusOK, c.get(api.PathBankReturns), &listed)
			require.Len(t, listed.Returns, 1)
			require.Equal(t, api.BankReturnDone, listed.Returns[0].State)
			b.checkBoth()
		})
	}
}

// TestBank_Statement: the statement is the last judge.
func TestBank_Statement(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	id := c.bind(b)
	user := mainAccount(c.session.User)
	before := b.balance(user)
	day := businessDay(b.clock)

	fine := c.payBank(b, id, 10_00)
	require.Equal(t, wallet.FundingDone, fine.State)
	code, key := c.bankCode(b, id, 20_00), b.newKey()
	require.NoError(t, b.faults.Arm(mockbank.FaultLostAfter, 1))
	open := c.told(c.post(api.PathFundings, key, c.fundingRequest(key, id, 20_00, code)))
	require.Equal(t, wallet.FundingPending, open.State)

	report, err := b.p.ImportBankDay(t.Context(), day)
	require.NoError(t, err)
	require.Equal(t, BankDayReport{Day: day, Lines: 2, NetFen: 30_00, Settled: 1}, report)
	require.Equal(t, before+30_00, b.balance(user), "the bank was paid, ours was open: credited")
	require.Equal(t, wallet.FundingDone, c.told(c.get("/v1/fundings/"+open.Funding)).State)
	report, err = b.p.ImportBankDay(t.Context(), day)
	require.NoError(t, err)
	require.True(t, report.Again)
	b.checkBoth()

	// Paid, and we know nothing of it: to suspense.
	channel, err := b.p.bank(t.Context())
	require.NoError(t, err)
	_, err = channel.do(t.Context(), bankapi.PathOrders, bankapi.OrderRequest{Serial: "lost-order", Amount: 5_00, Goods: "x", Expires: b.clock.Add(time.Hour)})
	require.NoError(t, err)
	_, err = b.bank.PayOrder(t.Context(), "lost-order", b.card)
	require.NoError(t, err)
	report, err = b.p.ImportBankDay(t.Context(), day)
	require.NoError(t, err)
	require.Equal(t, 1, report.Differences)
	require.Equal(t, wallet.Fen(5_00), b.balance(accountSuspense))
	b.checkBoth()

	// We credited, and the bank has nothing: a receivable on the day after, and nobody
	// pays for it silently.
	b.exec(`DELETE FROM bank_lines WHERE serial = ?`, fine.Funding)
	bank := &forgetful{bankChannel: channel, serial: fine.Funding}
	b.p.banks.channel = bank
	b.clock = b.clock.Add(24 * time.Hour)
	report, err = b.p.ImportBankDay(t.Context(), businessDay(b.clock))
	require.NoError(t, err)
	require.Equal(t, 1, bank.asked, "the bank is asked first")
	require.Equal(t, 1, report.Differences)
	require.Equal(t, before+30_00, b.balance(user))
	require.Equal(t, wallet.Fen(-10_00), b.balance(accountBankReceivable))
	report, err = b.p.ImportBankDay(t.Context(), businessDay(b.clock))
	require.NoError(t, err)
	require.Zero(t, report.Differences, "once")
	b.check()
}

// TestBank_StatementKept: the bank has the money of a payment that we reversed. It is
// told again to undo it, until it acknowledges that; the days that were missed are
// caught up, each once.
func TestBank_StatementKept(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	id := c.bind(b)
	before := b.balance(mainAccount(c.session.User))
	code, key := c.bankCode(b, id, 20_00), b.newKey()
	require.NoError(t, b.faults.Arm(mockbank.FaultLostAfter, 1))
	open := c.told(c.post(api.PathFundings, key, c.fundingRequest(key, id, 20_00, code)))
	require.Equal(t, wallet.FundingPending, open.State)
	b.exec(`UPDATE fundings SET state = 'REVERSED' WHERE id = ?`, open.Funding) // as after a lost advice that was believed heard
	require.Equal(t, wallet.Fen(1980_00), b.atBank())

	b.clock = b.clock.Add(48 * time.Hour)
	require.NoError(t, b.faults.Arm(mockbank.FaultDown, 1))
	require.Error(t, b.p.ImportBankDays(t.Context()), "the bank is down")
	require.NoError(t, b.faults.Arm(mockbank.FaultLostAfter, 1)) // and its first acknowledgement is lost
	require.NoError(t, b.p.ImportBankDays(t.Context()))
	b.p.attendBanks(t.Context())
	require.Equal(t, wallet.Fen(2000_00), b.atBank())
	require.Equal(t, before, b.balance(mainAccount(c.session.User)))
	var days, differences int
	var done string
	require.NoError(t, b.p.store.View(t.Context(), func(tx *Tx) error {
		if _, err := tx.row(`SELECT COUNT(*) FROM bank_days`, nil, &days); err != nil {
			return err
		}
		_, err := tx.row(`SELECT COUNT(*), MAX(done) FROM bank_differences WHERE kind = 'KEPT'`, nil, &differences, &done)
		return err
	}))
	require.Equal(t, 2, days)
	require.Equal(t, 1, differences)
	require.Equal(t, "undone at the bank", done)
	b.checkBoth()
}

// TestBank_StatementAfterRestore: what a restore of the platform lost is found in the
// bank's statement: money that came stands in suspense until its owner is found, and
// money that went back is not there twice.
func TestBank_StatementAfterRestore(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	id := c.bind(b)
	user := mainAccount(c.session.User)
	require.Equal(t, wallet.FundingDone, c.payBank(b, id, 100_00).State)
	backup := filepath.Join(t.TempDir(), "backup.db")
	_, err := b.p.Backup(t.Context(), backup)
	require.NoError(t, err)
	before := b.balance(user)
	require.Equal(t, wallet.FundingDone, c.payBank(b, id, 30_00).State)
	require.Equal(t, api.BankReturnDone, c.giveBack(id, 110_00).State)
	require.Equal(t, wallet.Fen(1980_00), b.atBank())

	require.NoError(t, b.p.Close())
	_, err = Restore(b.dir, backup)
	require.NoError(t, err)
	b.open()
	require.Equal(t, before, b.balance(user))
	report, err := b.p.ImportBankDay(t.Context(), businessDay(b.clock))
	require.NoError(t, err)
	require.Equal(t, 3, report.Differences, "a payment and two refunds")
	require.Equal(t, wallet.Fen(30_00), b.balance(accountSuspense))
	require.Equal(t, wallet.Fen(-30_00), b.balance(accountBankReceivable), "of a payment whose person nobody knows any more")
	require.Equal(t, before-80_00, b.balance(user))
	b.checkBoth()
	var lost string
	require.NoError(t, b.p.store.View(t.Context(), func(tx *Tx) error {
		f, err := findFunding(tx, `kind = 'bank' AND user = ''`)
		lost = f.id
		return err
	}))
	require.NoError(t, b.p.AssignTransfer(t.Context(), lost, testPhone, "the bank's receipt was shown"))
	require.Equal(t, before-50_00, b.balance(user))
	b.checkBoth()
}

// TestBank_StatementAmount: where amounts differ, the bank's file is master, and no
// account of a person goes below zero.
func TestBank_StatementAmount(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	id := c.bind(b)
	user := mainAccount(c.session.User)
	done := c.payBank(b, id, 100_00)
	before := b.balance(user)
	line := func(kind, journal, of string, amount wallet.Fen) bankapi.Line {
		l := bankapi.Line{Kind: kind, Serial: done.Funding, Journal: journal, Amount: amount, Time: b.clock, Of: of}
		if of != "" {
			l.Serial += "R"
		}
		return l
	}
	file := func(batch int, lines ...bankapi.Line) bankapi.Day {
		return bankapi.Day{Bank: mockbank.BankID, Merchant: mockbank.PartnerID, Day: businessDay(b.clock), Batch: batch, Lines: lines}
	}
	report, err := b.p.importBankDay(t.Context(), file(2, line(bankapi.LineDebit, "J1", "", 90_00)))
	require.NoError(t, err)
	require.Equal(t, 1, report.Differences)
	require.Equal(t, before-10_00, b.balance(user))
	b.check()

	// The bank undid what we credited: a receivable, not a debit.
	report, err = b.p.importBankDay(t.Context(), file(3, line(bankapi.LineDebit, "J1", "", 90_00), line(bankapi.LineReversal, "J2", done.Funding, 90_00)))
	require.NoError(t, err)
	require.Equal(t, 1, report.Differences)
	require.Equal(t, before-10_00, b.balance(user))
	require.Equal(t, wallet.Fen(-90_00), b.balance(accountBankReceivable))
	b.check()
}
