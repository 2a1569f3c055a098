package mockplatform

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

// profiles of banks that every flow is run against.
var bankProfiles = map[string]func(*mockbank.Config){
	"debit now":   func(*mockbank.Config) {},
	"freeze":      func(c *mockbank.Config) { c.Freeze = true },
	"refund once": func(c *mockbank.Config) { c.RefundOnce = true },
}

// TestBank_QuickPay binds a card, pays, and unbinds it.
func TestBank_QuickPay(t *testing.T) {
	for name, profile := range bankProfiles {
		t.Run(name, func(t *testing.T) {
			b := newBankWorld(t, profile)
			c := b.teller(testPhone)
			before := b.balance(mainAccount(c.session.User))
			id := c.bind(b)

			key := b.newKey()
			refused := c.told(c.post(api.PathFundings, key, c.fundingRequest(key, id, 50_00, nil)))
			require.Equal(t, api.CodeBankCodeNeeded, refused.Code, "the first payment needs a code of the bank")
			require.Equal(t, wallet.FundingDeclined, refused.State)

			state := c.payBank(b, id, 50_00)
			require.Equal(t, wallet.FundingDone, state.State)
			require.NotEmpty(t, state.ReceiptBody.Reference)
			var codes int
			require.NoError(t, b.p.store.View(context.Background(), func(tx *Tx) error {
				_, err := tx.row(`SELECT COUNT(*) FROM bank_asks WHERE code <> x''`, nil, &codes)
				return err
			}))
			require.Zero(t, codes, "the code is gone once the bank has decided")
			require.Equal(t, before+50_00, b.balance(mainAccount(c.session.User)))
			require.Equal(t, wallet.Fen(1950_00), b.atBank())

			// Small payments need none from now on, up to the day's sum.
			free := func(amount wallet.Fen) wallet.FundingStatement {
				key := b.newKey()
				return c.told(c.post(api.PathFundings, key, c.fundingRequest(key, id, amount, nil)))
			}
			require.Equal(t, wallet.FundingDone, free(200_00).State)
			require.Equal(t, api.CodeBankCodeNeeded, free(200_01).Code)
			require.Equal(t, wallet.FundingDone, free(200_00).State)
			require.Equal(t, api.CodeBankCodeNeeded, free(50_01).Code, "450.00 were paid today")
			require.Equal(t, wallet.FundingDone, free(50_00).State)
			require.Equal(t, api.CodeBankFunds, c.payBank(b, id, 1900_00).Code)

			var unbound api.BankBinding
			c.must(http.StatusOK, c.post("/v1/banks/"+id+"/unbind", b.newKey(), struct{}{}), &unbound)
			require.Equal(t, api.BankUnbound, unbound.State)
			require.Equal(t, api.CodeBankBinding, free(1_00).Code)
			b.checkBoth()
		})
	}
}

// TestBank_QuickPay_Faults: whatever happens to an answer, a payment is made once, and
// ends DONE or REVERSED when answers flow again.
func TestBank_QuickPay_Faults(t *testing.T) {
	for profile, edit := range bankProfiles {
		for _, fault := range []mockbank.Fault{mockbank.FaultLostBefore, mockbank.FaultLostAfter, mockbank.FaultDown, mockbank.FaultSlow} {
			t.Run(profile+" "+string(fault), func(t *testing.T) {
				b := newBankWorld(t, edit)
				b.faults.Slow = time.Millisecond
				c := b.teller(testPhone)
				id := c.bind(b)
				before := b.balance(mainAccount(c.session.User))
				code, key := c.bankCode(b, id, 60_00), b.newKey()
				request := c.fundingRequest(key, id, 60_00, code)
				require.NoError(t, b.faults.Arm(fault, 1))
				state := c.told(c.post(api.PathFundings, key, request))
				if fault == mockbank.FaultSlow {
					require.Equal(t, wallet.FundingDone, state.State)
				} else {
					require.Equal(t, wallet.FundingPending, state.State)
				}
				b.reopen() // what waits is on the disk, of both
				b.reopenBank()
				b.later(time.Minute)
				b.later(time.Minute)
				state = c.told(c.post(api.PathFundings, key, request))
				require.Equal(t, wallet.FundingDone, state.State)
				require.Equal(t, 1, b.faults.Hits())
				require.Equal(t, before+60_00, b.balance(mainAccount(c.session.User)), "credited once")
				require.Equal(t, wallet.Fen(1940_00), b.atBank(), "debited once")
				b.checkBoth()
			})
		}
	}
}

// TestBank_QuickPay_GivenUp: a bank that is silent for longer than 30 minutes is told
// to undo the payment until it acknowledges that, and a debit that the advice overtook
// is refused when it comes.
func TestBank_QuickPay_GivenUp(t *testing.T) {
	for name, paid := range map[string]bool{"paid": true, "never seen": false} {
		t.Run(name, func(t *testing.T) {
			b := newBankWorld(t)
			c := b.teller(testPhone)
			id := c.bind(b)
			before := b.balance(mainAccount(c.session.User))
			code, key := c.bankCode(b, id, 60_00), b.newKey()
			first := mockbank.FaultLostBefore
			if paid {
				first = mockbank.FaultLostAfter
			}
			require.NoError(t, b.faults.Arm(first, 1))
			funding := c.told(c.post(api.PathFundings, key, c.fundingRequest(key, id, 60_00, code))).Funding
			require.NoError(t, b.faults.Arm(mockbank.FaultDown, -1))
			for range 8 {
				b.later(5 * time.Minute)
			}
			show := func() wallet.FundingStatement {
				c.login() // the hour is over
				return c.told(c.get("/v1/fundings/" + funding))
			}
			require.Equal(t, wallet.FundingReversing, show().State)
			require.Equal(t, http.StatusConflict, c.post("/v1/banks/"+id+"/unbind", b.newKey(), struct{}{}).Code, "an open payment keeps its card")

			// The advice is lost once more, and then heard.
			require.NoError(t, b.faults.Arm(mockbank.FaultDown, 0))
			require.NoError(t, b.faults.Arm(mockbank.FaultLostAfter, 1))
			b.later(20 * time.Minute)
			require.Equal(t, wallet.FundingReversing, show().State)
			b.later(20 * time.Minute)
			require.Equal(t, wallet.FundingReversed, show().State)
			require.Equal(t, before, b.balance(mainAccount(c.session.User)))
			require.Equal(t, wallet.Fen(2000_00), b.atBank())

			// The debit that was on its way all the time arrives now.
			channel, err := b.p.bank(context.Background())
			require.NoError(t, err)
			var token string
			require.NoError(t, b.p.store.View(context.Background(), func(tx *Tx) error {
				bound, err := findBinding(tx, c.session.User, id)
				if err == nil {
					token, err = b.p.bankToken(bound)
				}
				return err
			}))
			late, err := channel.do(context.Background(), bankapi.PathDebits, bankapi.DebitRequest{Serial: funding, Token: token, Amount: 60_00, CodeOf: code.CodeID, Code: code.Code})
			require.NoError(t, err)
			require.Equal(t, bankapi.StateReversed, late.State)
			require.Equal(t, wallet.Fen(2000_00), b.atBank())
			b.checkBoth()
		})
	}
}

// TestBank_Bind: three wrong codes lock a binding, wrong facts are refused without
// saying which, credit cards are refused, and the number stands nowhere.
func TestBank_Bind(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)

	key := b.newKey()
	wrongName := api.BankBindRequest{CardSeal: c.cardSeal(key, b.card, "李四", testPhone)}
	require.Equal(t, api.CodeBankCardData, codeOf(t, c.post(api.PathBanks, key, wrongName)))
	credit, err := b.bank.NewCard(context.Background(), cardName, testPhone, 0, true)
	require.NoError(t, err)
	require.Equal(t, api.CodeBankCreditCard, codeOf(t, c.beginBind(credit)))

	var begun api.BankBinding
	c.must(http.StatusOK, c.beginBind(b.card), &begun)
	require.Equal(t, b.card[len(b.card)-4:], begun.Last4)
	confirm := func(code string) *httptest.ResponseRecorder {
		return c.post("/v1/banks/"+begun.ID+"/confirm", b.newKey(), api.BankConfirmRequest{Code: code})
	}
	right := b.latestCode()
	require.Equal(t, api.CodeBankCodeWrong, codeOf(t, confirm("wrong")))
	require.Equal(t, api.CodeBankCodeWrong, codeOf(t, confirm("wrong")))
	require.Equal(t, api.CodeBankLocked, codeOf(t, confirm("wrong")))
	require.Equal(t, api.CodeBankLocked, codeOf(t, confirm(right)), "the right one comes too late")

	// Five wrong entries in an hour end the trying, also with another card.
	require.Equal(t, api.CodeBankLocked, codeOf(t, c.beginBind(b.card)))
	b.clock = b.clock.Add(2 * time.Hour)
	c.login()
	first := c.bind(b)
	second := c.bind(b)
	var listed api.Banks
	c.must(http.StatusOK, c.get(api.PathBanks), &listed)
	require.Len(t, listed.Bindings, 1, "the same card bound again takes the older one's place")
	require.NotEqual(t, first, second)
	require.Equal(t, second, listed.Bindings[0].ID)
	require.Equal(t, 2, listed.Bindings[0].Version)
	require.Equal(t, "演示银行", listed.Banks[0].Name)

	// A seal that was made for another key or device opens nothing.
	stolen := api.BankBindRequest{CardSeal: c.cardSeal("0195f000-0000-7000-8000-00000000ffff", b.card, cardName, testPhone)}
	require.Equal(t, api.CodeBadRequest, codeOf(t, c.post(api.PathBanks, b.newKey(), stolen)))
	b.checkBoth()
}

// TestBank_Down: without its bank a platform does everything but what needs one.
func TestBank_Down(t *testing.T) {
	b := newBankWorld(t)
	c := b.teller(testPhone)
	require.NoError(t, b.faults.Arm(mockbank.FaultDown, -1))
	require.Equal(t, api.CodeBankUnreachable, codeOf(t, c.beginBind(b.card)))
	require.Equal(t, http.StatusOK, c.get(api.PathAccount).Code)
	require.Equal(t, http.StatusOK, c.get(api.PathBanks).Code)
	require.NoError(t, b.faults.Arm(mockbank.FaultDown, 0))
	c.bind(b)

	lonely := newWorld(t) // and one that has none
	d := lonely.teller(testPhone)
	var listed api.Banks
	d.must(http.StatusOK, d.get(api.PathBanks), &listed)
	require.Empty(t, listed.Banks)
	require.Equal(t, api.CodeBankUnreachable, codeOf(t, d.get(api.PathBankDemo)))
}
