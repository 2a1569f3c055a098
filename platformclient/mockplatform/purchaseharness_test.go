package mockplatform

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// payment is one confirmed purchase on its way.
type payment struct {
	c       *teller
	k       *chip
	key     string
	request api.PurchaseRequest
}

// shopOrder makes an order at the demo's merchant.
func (w *world) shopOrder(amount wallet.Fen) string {
	w.t.Helper()
	code, err := w.p.ShopOrder(w.t.Context(), "", "two cups of tea", amount, "")
	require.NoError(w.t, err)
	return code
}

// offer looks an order up and verifies it.
func (c *teller) offer(code string) wallet.MerchantOrder {
	c.w.t.Helper()
	key := c.w.newKey()
	request := c.request(http.MethodGet, strings.Replace(api.PathMerchantOrder, "{code}", code, 1), key, nil)
	offer := c.offerOf(c.do(request))
	require.Equal(c.w.t, key, offer.Request)
	return offer
}

func (c *teller) offerOf(answer *httptest.ResponseRecorder) wallet.MerchantOrder {
	c.w.t.Helper()
	var carried api.Offer
	c.must(http.StatusOK, answer, &carried)
	var offer wallet.MerchantOrder
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainOffer, carried.Offer, &offer))
	return offer
}

// pay confirms the order and asks the card, with a new lease.
func (c *teller) pay(k *chip, code string, amount wallet.Fen) *payment {
	pay := &payment{c: c, k: k, key: c.w.newKey(), request: api.PurchaseRequest{
		MerchantOrder: code, Amount: amount, Card: api.LoadCard{ASN: k.ASN(), KeyIndex: 1, Profile: profilePBOC},
	}}
	return pay.init()
}

func (y *payment) init() *payment {
	y.request.Open = *y.k.open(y.c.payScripts[profilePBOC], y.request.Amount, y.c.lease())
	return y
}

func (y *payment) send() *httptest.ResponseRecorder {
	return y.c.post(api.PathPurchases, y.key, y.request)
}

func (y *payment) authorised() (*wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	y.c.w.t.Helper()
	return y.c.purchaseGrantOf(y.send())
}

func (c *teller) purchaseGrantOf(answer *httptest.ResponseRecorder) (*wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	c.w.t.Helper()
	var told api.PurchaseAnswer
	c.must(http.StatusOK, answer, &told)
	require.NotNil(c.w.t, told.Grant, answer.Body.String())
	var grant wallet.PurchaseGrant
	require.NoError(c.w.t, c.w.p.signerKeys().Open(wallet.DomainPurchaseGrant, told.Grant.Grant, &grant))
	c.addLeases(told.Leases)
	return told.Grant, grant
}

func (y *payment) refusedWith(code string) wallet.PurchaseStatement {
	y.c.w.t.Helper()
	answer := y.send()
	told := y.c.statementOf(answer)
	require.Equal(y.c.w.t, wallet.PurchaseDeclined, told.State)
	require.Equal(y.c.w.t, code, told.Code)
	require.Equal(y.c.w.t, y.key, told.Key)
	require.Equal(y.c.w.t, y.key, told.Request)
	require.NotEmpty(y.c.w.t, told.Text)
	require.GreaterOrEqual(y.c.w.t, answer.Code, 400)
	return told
}

// statementOf verifies and reads a signed statement; a receipt has its own domain.
func (c *teller) statementOf(answer *httptest.ResponseRecorder) wallet.PurchaseStatement {
	c.w.t.Helper()
	require.NotNil(c.w.t, answer, "no answer")
	var told api.PurchaseAnswer
	require.NoError(c.w.t, json.Unmarshal(answer.Body.Bytes(), &told), answer.Body.String())
	require.NotNil(c.w.t, told.State, answer.Body.String())
	var statement wallet.PurchaseStatement
	keys := c.w.p.signerKeys()
	if err := keys.Open(wallet.DomainPurchaseReceipt, *told.State, &statement); err != nil {
		require.NoError(c.w.t, keys.Open(wallet.DomainPurchaseState, *told.State, &statement))
		require.Nil(c.w.t, statement.ReceiptBody)
	} else {
		require.NotNil(c.w.t, statement.ReceiptBody)
	}
	return statement
}

// debit runs a grant's script to its end, as far as the card answers.
func (k *chip) debit(granted *wallet.PurchaseGrantedScript) []wallet.StepResult {
	var steps []wallet.Step
	require.NoError(k.t, json.Unmarshal(granted.Script, &steps))
	var results []wallet.StepResult
	for _, step := range steps {
		result, err := k.send(step.APDU)
		if err != nil {
			break
		}
		results = append(results, result)
		if step.OnError != "continue" && !accepted(result) {
			break
		}
	}
	return results
}

func (c *teller) purchaseResult(grant wallet.PurchaseGrant, signed *wallet.Signed, steps []wallet.StepResult) *httptest.ResponseRecorder {
	request := api.PurchaseResult{Steps: steps, Executed: len(steps), Grant: signed}
	if len(steps) > 0 && len(steps[0].Data) == 8 {
		request.TAC, request.MAC2 = steps[0].Data[:4], steps[0].Data[4:]
	}
	return c.post(strings.Replace(api.PathPurchaseResult, "{id}", grant.Purchase, 1), c.w.newKey(), request)
}

// touch presents the card over the probe, with GET TRANSACTION PROVE if asked, and as
// clients do over another probe at once where the platform wants that.
func (c *teller) touch(k *chip, grant wallet.PurchaseGrant, prove bool) (*httptest.ResponseRecorder, api.PurchaseAttempt) {
	var attempt api.PurchaseAttempt
	if prove {
		attempt.Prove = k.provePurchase(c.payScripts[profilePBOC], grant.Number+1)
	}
	attempt.Open = k.open(c.scripts[profilePBOC], wallet.Fen(1), grant.ProbeTID)
	answer := c.purchaseAttempt(grant, attempt)
	var told api.PurchaseAnswer
	if json.Unmarshal(answer.Body.Bytes(), &told) != nil || told.State == nil {
		return answer, attempt
	}
	statement := c.statementOf(answer)
	if statement.Code != api.CodeAttemptSuperseded || statement.Authorised == nil || statement.Authorised.ProbeTID == grant.ProbeTID {
		return answer, attempt
	}
	attempt.Open = k.open(c.scripts[profilePBOC], wallet.Fen(1), statement.Authorised.ProbeTID)
	return c.purchaseAttempt(grant, attempt), attempt
}

func (c *teller) purchaseAttempt(grant wallet.PurchaseGrant, attempt api.PurchaseAttempt) *httptest.ResponseRecorder {
	return c.post(strings.Replace(api.PathPurchaseAttempts, "{id}", grant.Purchase, 1), c.w.newKey(), attempt)
}

func (k *chip) provePurchase(script wallet.Script, number uint16) *wallet.StepResult {
	_, err := k.PowerOn()
	require.NoError(k.t, err)
	_, err = k.send(script.Steps[0].APDU)
	require.NoError(k.t, err)
	result, err := k.send("805A000602" + wallet.Hex{byte(number >> 8), byte(number)}.String() + "08")
	require.NoError(k.t, err)
	return &result
}

// known makes the card's balance known to the books by a MAC1 that is refused.
func (c *teller) known(k *chip) {
	c.w.t.Helper()
	c.order(k, 999).init().refusedWith(api.CodeLimitLoadMin)
}

// begin opens a purchase of 1234 fen on a card that the books know.
func (w *world) begin(spec virtualcard.Spec) (*teller, *chip, string, *wallet.PurchaseGrantedScript, wallet.PurchaseGrant) {
	w.t.Helper()
	k := w.card(serial, spec)
	c := w.teller(testPhone)
	c.known(k)
	code := w.shopOrder(1234)
	granted, grant := c.pay(k, code, 1234).authorised()
	return c, k, code, granted, grant
}

// tornDebit lets the card leave the field at DEBIT FOR PURCHASE.
func tornDebit(k *chip, granted *wallet.PurchaseGrantedScript, when virtualcard.TearWhen) {
	k.TearAt(virtualcard.Tear{INS: 0x54, When: when})
	require.Empty(k.t, k.debit(granted))
}

// forgeDebit computes what the card would have answered.
func (k *chip) forgeDebit(grant wallet.PurchaseGrant) (tac, mac2 []byte) {
	at := epcrypto.CardTimeOf(grant.Issued)
	session := epcrypto.PurchaseSessionKey(k.Keys().DPK, [4]byte(grant.Random), grant.Number, grant.TerminalSerial)
	one := epcrypto.PurchaseTAC(k.Keys().DTK, uint32(grant.Amount), typePurchase, grant.Terminal, grant.TerminalSerial, at)
	two := epcrypto.PurchaseMAC2(session, uint32(grant.Amount))
	return one[:], two[:]
}

func (w *world) alarms() (codes []string) {
	require.NoError(w.t, w.p.store.View(w.t.Context(), func(tx *Tx) error {
		return tx.each(`SELECT code FROM alarms ORDER BY id`, nil, func(rows *sql.Rows) error {
			var code string
			err := rows.Scan(&code)
			codes = append(codes, code)
			return err
		})
	}))
	return codes
}
