package platformclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// subject is what a signed state must be about. Order, ASN and the rest are only
// compared where they are known.
type subject struct {
	request string // idempotency key of the question
	key     string // of the order
	order   string // the platform's number
	asn     *wallet.ASN
	amount  wallet.Fen
	money   *confirmed
}

// confirmed is what the person agreed to pay.
type confirmed struct {
	fee    wallet.Fen
	source string
}

// Issuer returns the platform as one load sees it. paymentPassword is asked at most
// once per order; its seal is kept while the issuer lives, so that an INITIALIZE
// FOR LOAD repeated after a removed card asks for nothing again.
func (c *Client) Issuer(paymentPassword func(ctx context.Context) (string, error)) wallet.Issuer {
	return &issuer{client: c, password: paymentPassword, seals: map[api.OrderCore][]byte{}}
}

type issuer struct {
	client   *Client
	password func(ctx context.Context) (string, error)

	mu    sync.Mutex
	seals map[api.OrderCore][]byte
}

// RequestLoad sends POST /v1/loads under the order's key, and once more after
// silence. The grant that comes back is signed, belongs to this key and covers its
// script; whether it fits the card and the confirmed amount is the guard's matter.
func (i *issuer) RequestLoad(ctx context.Context, ask wallet.LoadAsk) (wallet.Verdict, error) {
	if err := i.client.needProfile(); err != nil {
		return wallet.Verdict{}, err
	}
	order := ask.Order
	seal, err := i.seal(ctx, api.OrderCore{ASN: order.ASN, Amount: order.Amount, Fee: order.Fee, Source: order.Source, Key: order.Key})
	if err != nil {
		return wallet.Verdict{}, localError(err)
	}
	_, mark, err := i.client.journalMark(ctx)
	if err != nil {
		return wallet.Verdict{}, localError(err)
	}
	result, err := i.client.do(ctx, call{
		method: http.MethodPost, route: api.PathLoads, path: api.PathLoads, key: order.Key,
		access: accessToken, mark: mark, retry: true,
		body: api.LoadRequest{Amount: order.Amount, Fee: order.Fee, Source: order.Source,
			Card:    api.LoadCard{ASN: order.ASN, KeyIndex: ask.KeyIndex, Profile: ask.Profile},
			Open:    api.Open{TID: ask.TID, Amount: order.Amount, Steps: ask.Steps},
			PaySeal: seal, CompanionSN: i.client.companion(ctx)},
	})
	if err != nil {
		return wallet.Verdict{}, err
	}
	about := subject{request: order.Key, key: order.Key, asn: &order.ASN, amount: order.Amount,
		money: &confirmed{fee: order.Fee, source: order.Source}}
	return i.client.verdict(ctx, result, about)
}

func (i *issuer) seal(ctx context.Context, core api.OrderCore) ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if seal := i.seals[core]; seal != nil {
		return seal, nil
	}
	if i.password == nil {
		return nil, errors.New("there is nobody to ask for the payment password")
	}
	pin, err := i.password(ctx)
	if err != nil {
		return nil, err
	}
	seal, err := api.SealPayment(i.client.config.Profile.HPKE, core, pin)
	if err == nil {
		i.seals[core] = seal
	}
	return seal, err
}

// Settle sends the card's evidence to POST /v1/loads/{id}/attempts, and once more
// after silence.
func (i *issuer) Settle(ctx context.Context, evidence wallet.Evidence) (wallet.Verdict, error) {
	return i.client.settle(ctx, evidence, api.PathAttempts, accessToken)
}

func (c *Client) settle(ctx context.Context, evidence wallet.Evidence, route string, wanted access) (wallet.Verdict, error) {
	order := evidence.Order
	request := api.AttemptRequest{Attempt: order.Attempt, Intent: evidence.Intent, Prove: evidence.Prove, Grant: evidence.Grant}
	if evidence.Intent == wallet.IntentComplete {
		request.CompanionSN = c.companion(ctx)
	}
	if len(evidence.Steps) > 0 {
		request.Open = &api.Open{TID: order.ProbeTID, Amount: order.Amount, Steps: evidence.Steps}
	}
	result, err := c.do(ctx, call{
		method: http.MethodPost, route: route, path: fill(route, order.Order),
		access: wanted, retry: true, body: request,
	})
	if err != nil {
		return wallet.Verdict{}, err
	}
	about := subject{request: result.key, order: order.Order, asn: &order.ASN, amount: order.Amount}
	if evidence.Grant != nil {
		about.money = c.moneyOf(*evidence.Grant)
	}
	return c.verdict(ctx, result, about)
}

// moneyOf reads fee and source from a grant, if the platform signed it.
func (c *Client) moneyOf(carrier wallet.Signed) *confirmed {
	var grant wallet.Grant
	if c.signers.Open(wallet.DomainGrant, carrier, &grant) != nil {
		return nil
	}
	return &confirmed{fee: grant.Fee, source: grant.Source}
}

// Result tells the platform what CREDIT FOR LOAD answered and returns the signed
// state, with its bytes to be kept. TAC and grant authenticate it: it goes out
// without a login too. It is not repeated here; the caller's outbox does that.
func (c *Client) Result(ctx context.Context, entry wallet.Entry) (wallet.OrderState, wallet.Signed, error) {
	result, err := c.do(ctx, call{
		method: http.MethodPost, route: api.PathResult, path: fill(api.PathResult, entry.Order), access: accessIfAny,
		body: api.ResultRequest{Attempt: entry.Attempt, Steps: entry.Steps, Executed: entry.Executed,
			TAC: entry.TAC, BalanceAfter: entry.BalanceAfter, Grant: entry.Grant},
	})
	if err != nil {
		return wallet.OrderState{}, wallet.Signed{}, err
	}
	key := entry.Key
	if wallet.MetUnder(key, entry.Order) {
		key = "" // another computer's order, whose key this journal never knew
	}
	return c.stateOf(ctx, result, subject{request: result.key, key: key, order: entry.Order, asn: &entry.ASN,
		amount: entry.Amount, money: &confirmed{fee: entry.Fee, source: entry.Source}})
}

// Abandon asks the platform to close a key that was never granted. An unseen key
// becomes DECLINED with ABANDONED for ever; a seen one gives its order's state.
func (c *Client) Abandon(ctx context.Context, key string) (wallet.OrderState, error) {
	result, err := c.do(ctx, call{method: http.MethodPost, route: api.PathAbandon, path: fill(api.PathAbandon, key),
		access: accessToken, body: struct{}{}})
	if err != nil {
		return wallet.OrderState{}, err
	}
	state, _, err := c.stateOf(ctx, result, subject{request: result.key, key: key})
	return state, err
}

// Load asks for the state of one order by the platform's number.
func (c *Client) Load(ctx context.Context, order string) (wallet.OrderState, error) {
	result, err := c.do(ctx, call{method: http.MethodGet, route: api.PathLoad, path: fill(api.PathLoad, order), access: accessToken})
	if err != nil {
		return wallet.OrderState{}, err
	}
	state, _, err := c.stateOf(ctx, result, subject{request: result.key, order: order})
	return state, err
}

func (c *Client) stateOf(ctx context.Context, result answer, about subject) (wallet.OrderState, wallet.Signed, error) {
	told, err := c.loadAnswer(ctx, result)
	if err != nil {
		return wallet.OrderState{}, wallet.Signed{}, err
	}
	if told.State == nil {
		return wallet.OrderState{}, wallet.Signed{}, unsigned(CodeAnswerBroken, "the answer holds no state")
	}
	state, err := c.verifyState(*told.State, about)
	if err != nil {
		return wallet.OrderState{}, wallet.Signed{}, err
	}
	return state, *told.State, nil
}

// verdict turns an answer into a grant or a verified state.
func (c *Client) verdict(ctx context.Context, result answer, about subject) (wallet.Verdict, error) {
	told, err := c.loadAnswer(ctx, result)
	if err != nil {
		return wallet.Verdict{}, err
	}
	switch {
	case told.Grant != nil && told.State == nil:
		if err := c.verifyGrant(ctx, *told.Grant, about); err != nil {
			return wallet.Verdict{}, err
		}
		return wallet.Verdict{Granted: told.Grant}, nil
	case told.State != nil && told.Grant == nil:
		state, err := c.verifyState(*told.State, about)
		if err != nil {
			return wallet.Verdict{}, err
		}
		c.lookForEpoch(ctx, state.Code)
		return wallet.Verdict{State: &state}, nil
	}
	return wallet.Verdict{}, unsigned(CodeAnswerBroken, "the answer holds neither one grant nor one state")
}

// loadAnswer reads an answer about a load. Its status means nothing where a signed
// state comes with it; an answer without one is a refusal that closes nothing.
func (c *Client) loadAnswer(ctx context.Context, result answer) (api.LoadAnswer, error) {
	var told api.LoadAnswer
	err := json.Unmarshal(result.body, &told)
	if result.status/100 != 2 && (err != nil || told.State == nil) {
		failure := statusError(result)
		c.lookForEpoch(ctx, failure.Code)
		return api.LoadAnswer{}, failure
	}
	if err != nil {
		return api.LoadAnswer{}, unsigned(CodeAnswerBroken, "the answer is not the JSON that was expected")
	}
	if len(told.Leases) > 0 {
		// Fewer leases only mean another login later; the answer about money counts.
		if err := c.keepLeases(ctx, told.Leases, c.Session().Device); err != nil {
			c.observe(call{route: "leases"}, 0, answer{}, localError(err), c.now())
		}
	}
	return told, nil
}

// verifyGrant checks signature, subject and script of a grant.
func (c *Client) verifyGrant(ctx context.Context, granted wallet.GrantedScript, about subject) error {
	var grant wallet.Grant
	if err := c.signers.Open(wallet.DomainGrant, granted.Grant, &grant); err != nil {
		return unsigned(CodeAnswerUnsigned, "the grant is not signed by the platform")
	}
	if sum := sha256.Sum256(granted.Script); !bytes.Equal(sum[:], grant.ScriptSHA256) {
		return unsigned(CodeAnswerUnsigned, "the grant is for another script")
	}
	if about.key != "" && grant.Key != about.key || about.order != "" && grant.Order != about.order {
		return unsigned(CodeAnswerForeign, "the grant is for another order")
	}
	if grant.Epoch > c.knownEpoch() {
		return orSent(c.noticeEpoch(ctx, grant.Epoch), true)
	}
	return nil
}

// lookForEpoch greets again after a refusal that a restored platform gives: the
// greeting brings the new epoch, and with it OnEpoch. If the greeting fails too, the
// next one will tell.
func (c *Client) lookForEpoch(ctx context.Context, code string) {
	if code == api.CodeEpochChanged || code == api.CodeLeaseInvalid {
		_ = c.greet(ctx)
	}
}

// verifyState checks signature and domain, that the state answers this very
// question about this very order, and that a receipt says what was confirmed.
func (c *Client) verifyState(carrier wallet.Signed, about subject) (wallet.OrderState, error) {
	var state wallet.OrderState
	final := c.signers.Open(wallet.DomainReceipt, carrier, &state) == nil
	if !final && c.signers.Open(wallet.DomainOrder, carrier, &state) != nil {
		return wallet.OrderState{}, unsigned(CodeAnswerUnsigned, "the state is not signed by the platform")
	}
	if settled := state.State == wallet.StateLoaded || state.State == wallet.StateVoided; settled != final {
		return wallet.OrderState{}, unsigned(CodeAnswerForeign, "the state is signed as something else")
	}
	if state.Request == "" || state.Request != about.request {
		return wallet.OrderState{}, unsigned(CodeAnswerForeign, "the state answers another question")
	}
	if !about.matches(state) {
		return wallet.OrderState{}, unsigned(CodeAnswerForeign, "the state is about another order")
	}
	if final {
		if err := about.checkReceipt(state); err != nil {
			return wallet.OrderState{}, unsigned(CodeAnswerForeign, err.Error())
		}
		if c.config.OnReceipt != nil {
			c.config.OnReceipt(state.Order, carrier)
		}
	}
	return state, nil
}

// matches compares what is known on both sides. A state names its key or its order;
// where the question named only the other one, Request ties them together.
func (s subject) matches(state wallet.OrderState) bool {
	if state.Key == "" && state.Order == "" {
		return false
	}
	if state.Key != "" && s.key != "" && state.Key != s.key {
		return false
	}
	return state.Order == "" || s.order == "" || state.Order == s.order
}

func (s subject) checkReceipt(state wallet.OrderState) error {
	receipt := state.ReceiptBody
	switch {
	case receipt == nil:
		return errors.New("a settled order came without its receipt")
	case receipt.Order != state.Order || receipt.State != state.State:
		return errors.New("the receipt is for another order or state")
	case s.asn != nil && receipt.ASN != *s.asn:
		return errors.New("the receipt is for another card")
	case s.amount != 0 && receipt.Amount != s.amount:
		return fmt.Errorf("the receipt is over another amount")
	case s.money != nil && (receipt.Fee != s.money.fee || receipt.Source != s.money.source):
		return errors.New("the receipt has another fee or source")
	}
	return nil
}

// fill puts an element into the {…} of a path.
func fill(pattern, element string) string {
	before, rest, _ := strings.Cut(pattern, "{")
	_, after, _ := strings.Cut(rest, "}")
	return before + url.PathEscape(element) + after
}

func markText(mark api.JournalMark) string { return fmt.Sprintf("%d:%s", mark.Seq, mark.Hash) }
