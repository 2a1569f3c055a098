package mockplatform

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

// Bank cards of accounts. The number passes through on its way to the bank, which
// gives a token for it; the token rests sealed. A binding is a version of its own: a
// card that is bound again takes the place of the older one.

const (
	bankWrongsMax  = 5 // wrong facts of cards and wrong codes
	bankWrongsTime = time.Hour
)

// bankRoutes registers the routes of bank cards.
func bankRoutes(handle func(method, path string, auth authFunc, handler handlerFunc)) {
	handle("GET", api.PathBanks, authSession, listBanks)
	handle("POST", api.PathBanks, authSession, bindBank)
	handle("POST", api.PathBankConfirm, authSession, confirmBank)
	handle("POST", api.PathBankUnbind, authSession, unbindBank)
	handle("POST", api.PathBankCodes, authSession, sendBankCode)
	handle("GET", api.PathBankDemo, authSession, showBankDemo)
	handle("POST", api.PathBankReturns, authSession, requestBankReturn)
	handle("GET", api.PathBankReturns, authSession, listBankReturns)
	handle("GET", api.PathBankReturn, authSession, showBankReturn)
}

// binding is a row of bank_bindings.
type binding struct {
	id, user, bank, bankName, last4, cardRef, serial, state string
	token                                                   []byte // sealed
	version                                                 int
	created                                                 time.Time
}

const bindingColumns = `id, "user", bank, bank_name, last4, card_ref, serial, token, state, version, created`

func bindingsWhere(tx *Tx, where string, args ...any) (found []*binding, err error) {
	err = tx.each(`SELECT `+bindingColumns+` FROM bank_bindings WHERE `+where+` ORDER BY created, id`, args, func(rows *sql.Rows) error {
		b := &binding{}
		var created int64
		err := rows.Scan(&b.id, &b.user, &b.bank, &b.bankName, &b.last4, &b.cardRef, &b.serial, &b.token, &b.state, &b.version, &created)
		b.created = time.UnixMilli(created).UTC()
		found = append(found, b)
		return err
	})
	return found, err
}

// findBinding finds a person's binding by its name, or nil.
func findBinding(tx *Tx, user, id string) (*binding, error) {
	found, err := bindingsWhere(tx, `"user" = ? AND id = ?`, user, id)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// bankSerial is our number of an operation that a request asks for: the same for the
// same key, so that a repeated request is the same operation at the bank.
func bankSerial(prefix, user, key string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + key))
	return prefix + hex.EncodeToString(sum[:12])
}

// bankUnreachable is the answer of a request that the bank did not decide. It is not
// stored: the same key asks again.
func bankUnreachable() reply {
	return failure(statusOf(api.CodeBankUnreachable), api.CodeBankUnreachable, refusalText(api.CodeBankUnreachable))
}

// bankRefusal maps what a bank refuses to our own codes.
func bankRefusal(outcome bankapi.Outcome) *refusal {
	code, known := map[string]string{
		bankapi.CodeCardData: api.CodeBankCardData, bankapi.CodeCreditCard: api.CodeBankCreditCard, bankapi.CodeWrongCode: api.CodeBankCodeWrong,
		bankapi.CodeCodeOld: api.CodeBankCodeWrong, bankapi.CodeCodeLocked: api.CodeBankLocked, bankapi.CodeFunds: api.CodeBankFunds,
		bankapi.CodeNoBinding: api.CodeBankBinding,
	}[outcome.Code]
	if !known {
		code = api.CodeBankRefused
	}
	found := refuse(code)
	found.state.WrongsLeft = outcome.TriesLeft
	return found
}

// keyed answers a request whose answer is stored under its key; decide asks the bank
// outside of any transaction and tells what to write. core must not hold what could
// be guessed.
func (c *call) keyed(route string, core []byte, ask func() (bankapi.Outcome, *reply, error), write func(*Tx, bankapi.Outcome) (reply, error)) (reply, error) {
	var kept *storedAnswer
	read := func(tx *Tx) (err error) { kept, err = c.p.stored(tx, c.sender.user, route, c.key); return err }
	if err := c.p.store.View(c.ctx, read); err != nil {
		return reply{}, err
	}
	if kept != nil {
		return kept.replay(core), nil
	}
	outcome, refused, err := ask()
	if refused != nil {
		return *refused, nil
	}
	if errors.Is(err, errBank) || errors.Is(err, errNoBank) {
		return bankUnreachable(), nil
	}
	if err != nil {
		return reply{}, err
	}
	var answer reply
	err = c.update(func(tx *Tx) error {
		if err := read(tx); err != nil {
			return err
		}
		if kept != nil {
			answer = kept.replay(core)
			return nil
		}
		if answer, err = write(tx, outcome); err != nil {
			return err
		}
		return c.p.storeAnswer(tx, c.sender.user, route, c.key, core, answer)
	})
	return answer, err
}

// askBank sends one request to the bank.
func (c *call) askBank(path string, request bankRequest) (bankapi.Outcome, *reply, error) {
	channel, err := c.p.bank(c.ctx)
	if err != nil {
		return bankapi.Outcome{}, nil, err
	}
	outcome, err := channel.do(c.ctx, path, request)
	return outcome, nil, err
}

// bindBank is POST /v1/banks.
func bindBank(c *call) (reply, error) {
	var request api.BankBindRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	card, err := api.OpenBankCard(c.p.sealKey, api.BankCardBinding{Thumbprint: c.sender.thumbprint, Key: c.key}, request.CardSeal)
	if err != nil {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the sealed card cannot be read"), nil
	}
	// A hash of a number could be tried out, so that the stored core is keyed.
	core := c.p.peppered("bank-card", []byte(c.key), card.Number+"\n"+card.Phone+"\n"+card.Name)
	serial := bankSerial("B", c.sender.user, c.key)
	return c.keyed(api.PathBanks, core, func() (bankapi.Outcome, *reply, error) {
		refused, err := c.mayBind()
		if err != nil || refused != nil {
			return bankapi.Outcome{}, refused, err
		}
		return c.askBank(bankapi.PathBindings, bankapi.BindRequest{Serial: serial, Card: card.Number, Name: card.Name, Phone: card.Phone})
	}, func(tx *Tx, outcome bankapi.Outcome) (reply, error) {
		if outcome.State == bankapi.StateRefused {
			return c.refuseBank(tx, bankRefusal(outcome))
		}
		channel, err := c.p.bank(c.ctx)
		if err != nil {
			return reply{}, err
		}
		begun := &binding{
			id: c.p.newID("K"), user: c.sender.user, bank: channel.facts().Bank, bankName: channel.facts().Name, last4: outcome.Last4, serial: serial,
			state: api.BankBegun, token: []byte{}, created: c.p.now(),
		}
		err = tx.exec(`INSERT INTO bank_bindings (`+bindingColumns+`, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, begun.id, begun.user, begun.bank,
			begun.bankName, begun.last4, "", begun.serial, begun.token, begun.state, 0, begun.created.UnixMilli(), begun.created.UnixMilli())
		if err != nil {
			return reply{}, err
		}
		return c.shownBinding(tx, begun, "bank-bind")
	})
}

// mayBind judges account, service and how often the person was wrong.
func (c *call) mayBind() (*reply, error) {
	var code string
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		holder, err := findAccount(tx, "user", c.sender.user)
		if err != nil {
			return err
		}
		if !holder.allows(actPay) {
			code = api.CodeAccountState
			return nil
		}
		if code, err = c.p.moneyRefused(tx, holder.phone, "", c.sender.thumbprint); err != nil || code == api.CodeServiceClosed {
			return err
		}
		code = "" // another companion: a binding moves no money
		var wrongs int
		if _, err := tx.row(`SELECT COUNT(*) FROM bank_wrongs WHERE "user" = ? AND time > ?`,
			[]any{c.sender.user, c.p.now().Add(-bankWrongsTime).UnixMilli()}, &wrongs); err != nil {
			return err
		}
		if wrongs >= bankWrongsMax {
			code = api.CodeBankLocked
		}
		return nil
	})
	if err != nil || code == "" {
		return nil, err
	}
	return refused(statusOf(code), code, refusalText(code)), nil
}

// refuseBank tells a refusal of the bank and counts wrong entries.
func (c *call) refuseBank(tx *Tx, found *refusal) (reply, error) {
	switch found.code {
	case api.CodeBankCardData, api.CodeBankCodeWrong, api.CodeBankLocked:
		if err := tx.exec(`INSERT INTO bank_wrongs ("user", time) VALUES (?, ?)`, c.sender.user, c.p.now().UnixMilli()); err != nil {
			return reply{}, err
		}
	}
	err := c.p.audit(tx, c.sender.user, "bank-refused", c.route, found.code)
	return failure(statusOf(found.code), found.code, refusalText(found.code)), err
}

// shownBinding answers with a binding, and notes what was done.
func (c *call) shownBinding(tx *Tx, b *binding, action string) (reply, error) {
	if err := c.p.audit(tx, c.sender.user, action, b.id, b.last4); err != nil {
		return reply{}, err
	}
	told, err := c.p.tellBinding(tx, b)
	if err != nil {
		return reply{}, err
	}
	return success(told)
}

func (p *Platform) tellBinding(tx *Tx, b *binding) (api.BankBinding, error) {
	told := api.BankBinding{
		ID: b.id, Bank: b.bank, Name: b.bankName, Last4: b.last4, State: b.state, Version: b.version, Created: b.created,
	}
	if b.state != api.BankBound {
		return told, nil
	}
	above, err := p.codeAbove(tx, b)
	if err != nil {
		return told, err
	}
	told.CodeAbove = above
	payments, err := returnable(tx, b, false)
	for _, one := range payments {
		told.Returnable += one.left
	}
	return told, err
}

// confirmBank is POST /v1/banks/{id}/confirm.
func confirmBank(c *call) (reply, error) {
	var request api.BankConfirmRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	b, missing, err := c.namedBinding()
	if err != nil || missing != nil {
		return replyOr(missing), err
	}
	core := c.p.peppered("bank-code", []byte(b.id), request.Code)
	return c.keyed(api.PathBankConfirm, core, func() (bankapi.Outcome, *reply, error) {
		return c.askBank(bankapi.PathBindConfirm, bankapi.BindConfirm{Serial: bankSerial("C", c.sender.user, c.key), Of: b.serial, Code: request.Code})
	}, func(tx *Tx, outcome bankapi.Outcome) (reply, error) {
		if outcome.State != bankapi.StateBound {
			found := bankRefusal(outcome)
			if found.code == api.CodeBankLocked {
				if err := tx.exec(`UPDATE bank_bindings SET state = ?, changed = ? WHERE id = ?`, api.BankLocked, c.p.now().UnixMilli(), b.id); err != nil {
					return reply{}, err
				}
			}
			return c.refuseBank(tx, found)
		}
		return c.boundNow(tx, b, outcome)
	})
}

// boundNow keeps the token. An older binding of the same card has nothing more to do.
func (c *call) boundNow(tx *Tx, b *binding, outcome bankapi.Outcome) (reply, error) {
	now := c.p.now().UnixMilli()
	if _, err := tx.row(`SELECT COALESCE(MAX(version), 0) FROM bank_bindings WHERE "user" = ? AND card_ref = ?`, []any{b.user, outcome.Account}, &b.version); err != nil {
		return reply{}, err
	}
	if err := tx.exec(`UPDATE bank_bindings SET state = ?, token = ?, changed = ? WHERE "user" = ? AND card_ref = ? AND state = ?`,
		api.BankUnbound, []byte{}, now, b.user, outcome.Account, api.BankBound); err != nil {
		return reply{}, err
	}
	b.version++
	b.state, b.cardRef, b.last4 = api.BankBound, outcome.Account, outcome.Last4
	b.token = c.p.sealer.seal("bank-token "+b.id, []byte(outcome.Token))
	if err := tx.exec(`UPDATE bank_bindings SET state = ?, token = ?, card_ref = ?, version = ?, changed = ? WHERE id = ?`,
		b.state, b.token, b.cardRef, b.version, now, b.id); err != nil {
		return reply{}, err
	}
	return c.shownBinding(tx, b, "bank-bound")
}

// namedBinding is the person's binding in the path.
func (c *call) namedBinding() (b *binding, missing *reply, err error) {
	err = c.p.store.View(c.ctx, func(tx *Tx) error {
		b, err = findBinding(tx, c.sender.user, c.req.PathValue("id"))
		return err
	})
	if err == nil && b == nil {
		return nil, refused(http.StatusNotFound, api.CodeBankBinding, refusalText(api.CodeBankBinding)), nil
	}
	return b, nil, err
}

func replyOr(missing *reply) reply {
	if missing == nil {
		return reply{}
	}
	return *missing
}

// bankToken opens the token of a binding.
func (p *Platform) bankToken(b *binding) (string, error) {
	if len(b.token) == 0 {
		return "", nil // unbound: the bank refuses an empty token
	}
	raw, err := p.sealer.open("bank-token "+b.id, b.token)
	return string(raw), err
}

// unbindBank is POST /v1/banks/{id}/unbind. A payment or a return that is open keeps
// its card.
func unbindBank(c *call) (reply, error) {
	var request struct{}
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	b, missing, err := c.namedBinding()
	if err != nil || missing != nil {
		return replyOr(missing), err
	}
	return c.keyed(api.PathBankUnbind, []byte(b.id), func() (bankapi.Outcome, *reply, error) {
		var open bool
		err := c.p.store.View(c.ctx, func(tx *Tx) (err error) { open, err = bindingInUse(tx, b.id); return err })
		if err != nil || open {
			return bankapi.Outcome{}, refused(http.StatusConflict, api.CodeBankInUse, refusalText(api.CodeBankInUse)), err
		}
		if b.state != api.BankBound { // nothing at the bank
			return bankapi.Outcome{State: bankapi.StateUnbound}, nil, nil
		}
		token, err := c.p.bankToken(b)
		if err != nil {
			return bankapi.Outcome{}, nil, err
		}
		return c.askBank(bankapi.PathUnbind, bankapi.UnbindRequest{Serial: bankSerial("U", c.sender.user, c.key), Token: token})
	}, func(tx *Tx, outcome bankapi.Outcome) (reply, error) {
		if outcome.State != bankapi.StateUnbound && outcome.Code != bankapi.CodeNoBinding {
			return c.refuseBank(tx, bankRefusal(outcome))
		}
		b.state, b.token = api.BankUnbound, nil
		err := tx.exec(`UPDATE bank_bindings SET state = ?, token = ?, changed = ? WHERE id = ?`, b.state, []byte{}, c.p.now().UnixMilli(), b.id)
		if err != nil {
			return reply{}, err
		}
		return c.shownBinding(tx, b, "bank-unbound")
	})
}

func bindingInUse(tx *Tx, id string) (bool, error) {
	var one int
	return tx.row(`SELECT 1 FROM bank_asks a JOIN fundings f ON f.id = a.funding WHERE a.binding = ? AND f.state IN ('RECEIVED', 'PENDING', 'REVERSING')
		UNION ALL SELECT 1 FROM bank_returns WHERE binding = ? AND state = 'PENDING'`, []any{id, id}, &one)
}

// sendBankCode is POST /v1/banks/{id}/codes.
func sendBankCode(c *call) (reply, error) {
	var request api.BankCodeRequest
	if refusal := firstOf(c.needKey(), c.decode(&request)); refusal != nil {
		return *refusal, nil
	}
	b, missing, err := c.namedBinding()
	if err != nil || missing != nil {
		return replyOr(missing), err
	}
	if request.Amount <= 0 || request.Amount > maxCardFen {
		return failure(http.StatusBadRequest, api.CodeBadRequest, "the amount is not possible"), nil
	}
	serial := bankSerial("S", c.sender.user, c.key)
	return c.keyed(api.PathBankCodes, coreHash([]any{b.id, request}), func() (bankapi.Outcome, *reply, error) {
		token, err := c.p.bankToken(b)
		if err != nil {
			return bankapi.Outcome{}, nil, err
		}
		return c.askBank(bankapi.PathCodes, bankapi.CodeRequest{Serial: serial, Token: token, Amount: request.Amount})
	}, func(tx *Tx, outcome bankapi.Outcome) (reply, error) {
		if outcome.State != bankapi.StateSent && outcome.State != bankapi.StateExpired {
			return c.refuseBank(tx, bankRefusal(outcome))
		}
		if err := c.p.audit(tx, c.sender.user, "bank-code", b.id, request.Amount.Yuan()); err != nil {
			return reply{}, err
		}
		return success(api.SMSSent{CodeID: serial, ResendAfterS: int(smsResendAfter / time.Second)})
	})
}

// bankGlance is for how long a list of banks waits for one that is silent.
const bankGlance = 2 * time.Second

// presentBanks names the bank and tells whether it answers at present.
func (p *Platform) presentBanks(ctx context.Context) []api.Bank {
	channel, err := p.bank(ctx)
	switch {
	case errors.Is(err, errNoBank):
		return []api.Bank{}
	case err != nil:
		return []api.Bank{{}}
	}
	ctx, cancel := context.WithTimeout(ctx, bankGlance)
	defer cancel()
	_, err = channel.do(ctx, bankapi.PathQueries, bankapi.QueryRequest{Serial: "nothing"}) // any answer will do
	return []api.Bank{{Bank: channel.facts().Bank, Name: channel.facts().Name, Reachable: err == nil}}
}

// listBanks is GET /v1/banks.
func listBanks(c *call) (reply, error) {
	told := api.Banks{Banks: c.p.presentBanks(c.ctx), Bindings: []api.BankBinding{}}
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		bindings, err := bindingsWhere(tx, `"user" = ? AND state IN (?, ?)`, c.sender.user, api.BankBegun, api.BankBound)
		if err != nil {
			return err
		}
		for _, b := range bindings {
			if b.state == api.BankBegun && c.p.now().Sub(b.created) > smsLife {
				continue // nobody confirmed it in time
			}
			one, err := c.p.tellBinding(tx, b)
			if err != nil {
				return err
			}
			told.Bindings = append(told.Bindings, one)
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return success(told)
}

// showBankDemo is GET /v1/bank-demo: what a demo bank has for this person's phone.
func showBankDemo(c *call) (reply, error) {
	var phone string
	err := c.p.store.View(c.ctx, func(tx *Tx) error {
		holder, err := findAccount(tx, "user", c.sender.user)
		if err == nil && holder != nil {
			phone = holder.phone
		}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	told, err := c.p.bankDemo(c.ctx, phone)
	switch {
	case errors.Is(err, errNoDemoBank):
		return failure(http.StatusNotFound, api.CodeNotFound, "there is no demo bank"), nil
	case errors.Is(err, errBank) || errors.Is(err, errNoBank):
		return bankUnreachable(), nil
	case err != nil:
		return reply{}, err
	}
	return success(told)
}

var errNoDemoBank = errors.New("there is no demo bank")

func (p *Platform) bankDemo(ctx context.Context, phone string) (told api.BankDemo, err error) {
	channel, err := p.bank(ctx)
	if err != nil {
		return told, err
	}
	if !p.secrets.Demo || !channel.facts().Demo {
		return told, errNoDemoBank
	}
	cards, err := channel.demoCards(ctx, phone)
	if err != nil {
		return told, err
	}
	texts, err := channel.demoTexts(ctx, phone)
	told.Cards, told.Messages = []api.BankDemoCard{}, []api.BankDemoMessage{}
	for _, card := range cards {
		told.Cards = append(told.Cards, api.BankDemoCard{Card: card.Card, Name: card.Name, Phone: card.Phone})
	}
	for _, text := range texts {
		told.Messages = append(told.Messages, api.BankDemoMessage{Time: text.Time, Text: text.Text, Code: text.Code})
	}
	return told, err
}

// bankPayment is a payment of a bound card of which something was not given back.
type bankPayment struct {
	funding string
	left    wallet.Fen
}
