package sim

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"walletcompanion/platformclient"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// rogue is a person who talks to card and platform without our program: messages
// are kept and sent again, late, under other orders, with other intents. He may ruin
// himself, but must never have more than he came with.
type rogue struct {
	w        *world
	c        *computer
	card     *chip
	inits    []rogueInit
	grants   []rogueGrant
	proofs   []wallet.StepResult
	tacs     []wallet.Hex
	recorded []lateRequest // what his computer ever sent
	newest   bool          // he uses what he got last

	second *computer              // he works with two at once
	client *platformclient.Client // of the one that he uses now
	opened []rogueInit            // answers to INITIALIZE FOR PURCHASE
	probes []rogueInit            // answers over probes of purchases
	bought []rogueBuy
	debits []rogueDebit
}

// rogueInit is an answer to INITIALIZE FOR LOAD with what it was asked for.
type rogueInit struct {
	tid    wallet.TerminalNumber
	amount wallet.Fen
	steps  []wallet.StepResult
}

// rogueGrant is a grant in his hands.
type rogueGrant struct {
	wallet.Grant
	signed wallet.Signed
	credit string // the command
}

// addRogue: his card must be sound, for a chip that credits one MAC2 twice, or repeats its
// random, breaks the protocol by itself (protocol §2.5).
func (w *world) addRogue() {
	p := &person{name: "R", phone: "13800000009", paid: 100_000_00, dishonest: true}
	w.addPerson(p)
	sound := []string{virtualcard.Standard, virtualcard.ProveNone, virtualcard.ProveStub, virtualcard.LogBefore, virtualcard.EEPROMButCredited}
	card := w.addChip(p, sound[w.luck.IntN(len(sound))])
	w.rogue = &rogue{w: w, card: card, c: newComputer(w, 8, p), second: newComputer(w, 9, p)}
}

// rogueMoves lets him do some things in a row.
func (w *world) rogueMoves() {
	r := w.rogue
	if r == nil || w.plan.Without["rogue"] {
		return
	}
	w.count("fault", "rogue")
	r.c.live(func() {
		r.newest = false
		w.login(r.c)
		for range 1 + w.luck.IntN(6) {
			if r.w.luck.IntN(2) == 0 {
				r.buys()
			} else {
				r.move()
			}
		}
	})
}

func (r *rogue) move() {
	switch r.w.luck.IntN(16) {
	case 0, 1:
		r.initialize()
	case 2, 3:
		r.ask()
	case 4, 5:
		r.executeGrant()
	case 6:
		r.probe()
		r.settle(true)
	case 7, 8:
		r.settle(false)
	case 9:
		r.prove()
	case 10:
		r.report()
	case 11:
		r.abandon()
	case 12:
		r.replay()
	default: // the honest order of things, so that there is something to abuse
		r.newest = true
		r.probe()
		r.settle(true)
		r.initialize()
		r.ask()
		r.executeGrant()
		r.report()
		r.newest = false
	}
}

// say counts and tells a move.
func (r *rogue) say(what string, err error) {
	r.w.count("rogue", what)
	r.w.say("  rogue: %s: %v", what, err == nil)
}

func (r *rogue) send(command string) (wallet.StepResult, bool) {
	raw, err := hex.DecodeString(command)
	r.w.must(err)
	answer, err := r.card.Transmit(raw)
	if err != nil || len(answer) < 2 {
		return wallet.StepResult{}, false
	}
	end := len(answer) - 2
	return wallet.StepResult{SW: answer[end:], Data: answer[:end]}, true
}

// open runs the open script over any terminal number.
func (r *rogue) open(tid wallet.TerminalNumber, amount wallet.Fen) {
	init := rogueInit{tid: tid, amount: amount}
	init.steps = r.script(r.c.client.Session().Scripts["pboc-ep"], tid, amount)
	if len(init.steps) == 3 {
		r.inits = append(r.inits, init)
		r.say("INIT", nil)
	}
}

// initialize takes a lease, or a number that was used before.
func (r *rogue) initialize() {
	if r.newest {
		r.leased(5000)
		return
	}
	amount := []wallet.Fen{1000, 5000}[r.w.luck.IntN(2)]
	if len(r.inits) > 0 && r.w.luck.IntN(4) == 0 {
		old := r.inits[r.w.luck.IntN(len(r.inits))]
		r.open(old.tid, old.amount)
		return
	}
	r.leased(amount)
}

func (r *rogue) leased(amount wallet.Fen) {
	lease, err := r.c.client.TakeLease(ctx())
	if err == nil {
		r.open(lease.TID, amount)
	}
}

// probe asks the card over the probe number of any grant, mostly the newest.
func (r *rogue) probe() {
	if g, ok := r.anyGrant(); ok {
		r.open(g.ProbeTID, g.Amount)
	}
}

func (r *rogue) anyInit() (rogueInit, bool) { return pick(r, r.inits) }

func (r *rogue) anyGrant() (rogueGrant, bool) { return pick(r, r.grants) }

// pick chooses the newest half of the time.
func pick[T any](r *rogue, all []T) (one T, ok bool) {
	if len(all) == 0 {
		return one, false
	}
	if r.newest || r.w.luck.IntN(2) == 0 {
		return all[len(all)-1], true
	}
	return all[r.w.luck.IntN(len(all))], true
}

// ask asks for a grant with any INITIALIZE answer that he has.
func (r *rogue) ask() {
	init, ok := r.anyInit()
	if !ok {
		return
	}
	key, err := platformclient.NewKey(r.c.now(), r.c.random)
	r.w.must(err)
	if old, ok := r.anyGrant(); ok && !r.newest && r.w.luck.IntN(5) == 0 {
		key = old.Key
	}
	issuer := r.c.client.Issuer(r.password)
	verdict, err := issuer.RequestLoad(ctx(), wallet.LoadAsk{
		Order:   wallet.Order{Key: key, ASN: r.card.ASN(), Amount: init.amount, Fee: r.w.policy.LoadFee("main", init.amount), Source: "main"},
		Profile: "pboc-ep", KeyIndex: 1, TID: init.tid, Steps: init.steps,
	})
	r.keep(verdict)
	r.say("ask", err)
}

func (r *rogue) keep(verdict wallet.Verdict) {
	if verdict.Granted == nil {
		return
	}
	g := rogueGrant{signed: verdict.Granted.Grant}
	var steps []wallet.Step
	r.w.must(json.Unmarshal(verdict.Granted.Grant.Payload, &g.Grant))
	r.w.must(json.Unmarshal(verdict.Granted.Script, &steps))
	g.credit = steps[0].APDU
	r.grants = append(r.grants, g)
}

// executeGrant sends any MAC2 to the card, in whatever session it is.
func (r *rogue) executeGrant() {
	g, ok := r.anyGrant()
	if !ok {
		return
	}
	result, ok := r.send(g.credit)
	if ok && len(result.Data) == 4 {
		r.tacs = append(r.tacs, result.Data)
		r.say("CREDIT", nil)
	}
}

func (r *rogue) prove() {
	if g, ok := r.anyGrant(); ok {
		if result, ok := r.send(fmt.Sprintf("805A000202%04X08", g.Seq+uint16(r.w.luck.IntN(2)))); ok {
			r.proofs = append(r.proofs, result)
			r.say("PROVE", nil)
		}
	}
}

// settle sends evidence about any order: what he just got over its probe, or what
// he has from other times, under any attempt and intent.
func (r *rogue) settle(fresh bool) {
	g, ok := r.anyGrant()
	init, some := r.anyInit()
	if !ok || !some {
		return
	}
	intents := []wallet.Intent{wallet.IntentSettle, wallet.IntentComplete, wallet.IntentCancel, wallet.IntentCancel}
	evidence := wallet.Evidence{
		Order:  wallet.OpenOrder{Order: g.Order, ASN: g.ASN, Attempt: g.Attempt, Seq: g.Seq, Amount: init.amount, ProbeTID: init.tid, Epoch: g.Epoch},
		Intent: intents[r.w.luck.IntN(len(intents))], Steps: init.steps,
	}
	if fresh { // the newest answer, for whichever order it was made
		newest := r.inits[len(r.inits)-1]
		evidence.Order.ProbeTID, evidence.Order.Amount, evidence.Steps = newest.tid, newest.amount, newest.steps
	}
	if r.w.luck.IntN(4) == 0 {
		evidence.Order.Attempt += r.w.luck.IntN(3) - 1
	}
	if proof, ok := pick(r, r.proofs); ok && r.w.luck.IntN(6) == 0 {
		evidence.Prove = &proof
	}
	if r.w.luck.IntN(3) == 0 {
		evidence.Grant = &g.signed
	}
	verdict, err := r.c.client.Issuer(r.password).Settle(ctx(), evidence)
	r.keep(verdict)
	r.say("settle", err)
}

// report sends a TAC as the result of any order. A wrong one costs one of five
// tries, so he seldom sends one.
func (r *rogue) report() {
	g, ok := r.anyGrant()
	tac, some := pick(r, r.tacs)
	if !ok || !some || (g.TID != r.card.lastCredit() && r.w.luck.IntN(8) > 0) {
		return
	}
	_, _, err := r.c.client.Result(ctx(), wallet.Entry{
		Key: g.Key, Order: g.Order, ASN: g.ASN, Amount: g.Amount, Fee: g.Fee, Source: g.Source, Attempt: g.Attempt, TAC: tac,
		Executed: 1, BalanceAfter: r.card.Balance(), Grant: &g.signed,
	})
	r.say("result", err)
}

func (r *rogue) password(context.Context) (string, error) {
	return r.w.profile.DemoCredentials.PaymentPassword, nil
}

// abandon says of an order that it never was.
func (r *rogue) abandon() {
	if g, ok := r.anyGrant(); ok {
		_, err := r.c.client.Abandon(ctx(), g.Key)
		r.say("abandon", err)
	}
}

// replay sends the very bytes of an earlier request again.
func (r *rogue) replay() {
	if late, ok := pick(r, r.recorded); ok {
		_, err := r.w.deliver(late)
		r.say("replay", err)
	}
}
