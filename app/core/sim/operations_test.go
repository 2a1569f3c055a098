package sim

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
)

// operation is one thing that a person, the weather or time does. A new function of
// the program joins the simulation by a line in operations.
type operation struct {
	name   string
	weight int
	do     func(w *world, c *computer)
}

func (w *world) operations() []operation {
	all := []operation{
		{"topup", 60, func(w *world, c *computer) { w.someCard(c); w.topUp(c) }},
		{"pay", 34, func(w *world, c *computer) { w.someCard(c); w.pay(c) }},
		{"from bank", 12, func(w *world, c *computer) { w.fundFromBank(c) }},
		{"bank page", 6, func(w *world, c *computer) { w.fundAtGateway(c) }},
		{"back to bank", 4, func(w *world, c *computer) { w.giveBack(c) }},
		{"bank and platform", 6, func(w *world, c *computer) { w.attendBank() }},
		{"freeze or thaw", 5, func(w *world, c *computer) { w.freeze(c) }},
		{"unload", 8, func(w *world, c *computer) { w.someCard(c); w.unload(c) }},
		{"redeem", 8, (*world).redeem},
		{"corner shop", 6, (*world).payOffline},
		{"upload", 2, func(w *world, c *computer) { w.corner.upload() }},
		{"callbacks", 4, func(w *world, c *computer) { w.tellMerchants() }},
		{"settle", 14, func(w *world, c *computer) { w.someCard(c); w.sync(c, wallet.IntentSettle) }},
		{"complete", 9, func(w *world, c *computer) { w.someCard(c); w.sync(c, wallet.IntentComplete) }},
		{"cancel", 9, func(w *world, c *computer) { w.someCard(c); w.sync(c, wallet.IntentCancel) }},
		{"second process", 3, func(w *world, c *computer) { w.someCard(c); c.beside(w.anything) }},
		{"flush outbox", 8, func(w *world, c *computer) { _, err := c.core.FlushOutbox(ctx()); w.note(err) }},
		{"query", 3, (*world).query},
		{"add card", 2, func(w *world, c *computer) { w.someCard(c); _, err := c.core.AddCard(ctx(), c.pin); w.note(err) }},
		{"orders", 2, func(w *world, c *computer) { _, stale := c.core.Orders(ctx(), false); w.note(stale) }},
		{"logout", 1, func(w *world, c *computer) { w.note(c.core.Logout(ctx())) }},
		{"restart", 3, func(w *world, c *computer) { c.restart(false) }},
		{"time passes", 8, (*world).timePasses},
		{"clock jumps", 3, (*world).clockJumps},
		{"late request", 5, func(w *world, c *computer) { w.arrive() }},
		{"block card", 1, (*world).blockCard},
		{"restart platform", 2, func(w *world, c *computer) { w.stopPlatform(); w.openPlatform() }},
		{"backup", 3, (*world).backup},
		{"restore", 2, (*world).restore},
	}
	if w.rogue != nil {
		all = append(all, operation{"rogue", 40, func(w *world, c *computer) { w.rogueMoves() }})
	}
	return all
}

func ctx() context.Context { return context.Background() }

// play does one operation after the other. Each has randomness of its own, so that
// leaving one out changes the others as little as possible.
func (w *world) play() {
	table := w.operations()
	sum := 0
	for _, op := range table {
		sum += op.weight
	}
	for i := range w.plan.Operations {
		w.report.Operations = i
		w.luck = rand.New(w.stream(1<<32 + uint64(i)))
		if w.plan.Skip[i] {
			continue
		}
		w.storm = []int{0, 0, 50, 100, 100, 300}[w.luck.IntN(6)]
		pick := w.luck.IntN(sum)
		for _, op := range table {
			if pick -= op.weight; pick >= 0 {
				continue
			}
			c := w.computers[w.luck.IntN(len(w.computers))]
			w.say("%d %s, computer %d", i, op.name, c.number)
			w.count("op", op.name)
			c.live(func() { w.login(c); op.do(w, c) })
			break
		}
		w.check()
	}
	w.report.Operations = w.plan.Operations
}

// login opens a session where there is none. It may fail like everything else.
func (w *world) login(c *computer) {
	if c.client.Session().LoggedIn || c.client.Connect(ctx()) == nil {
		return
	}
	demo := w.profile.DemoCredentials
	err := c.core.Login(ctx(), c.owner.phone, demo.LoginPassword, func(context.Context, string) (string, error) { return demo.SMSCode, nil })
	w.note(err)
}

// note writes into the trace how something ended.
func (w *world) note(err error) {
	if err == nil {
		w.say("  ok")
		return
	}
	failure := core.Explain(err)
	w.say("  %s, open %v", failure.Code, failure.Open())
	w.count("told", failure.Code)
	if failure.Code == "INTERNAL" { // no person should ever be told that
		w.fail("the person was told INTERNAL: %v", err)
	}
}

// someCard puts a card of the person on the reader, seldom one of somebody else.
func (w *world) someCard(c *computer) {
	k := w.ownCard(c)
	if w.luck.IntN(12) == 0 {
		k = w.chips[w.luck.IntN(len(w.chips))]
	}
	if k.owner.dishonest {
		return
	}
	if k.Snapshot().Blocked && w.luck.IntN(2) == 0 {
		w.must(k.Unblock()) // the issuer has helped
	}
	c.place(k)
}

func (w *world) ownCard(c *computer) *chip {
	var own []*chip
	for _, k := range w.chips {
		if k.owner == c.owner {
			own = append(own, k)
		}
	}
	return own[w.luck.IntN(len(own))]
}

// touch does something with a card that lies on the reader.
func (w *world) touch(c *computer, k *chip) {
	c.live(func() {
		w.login(c)
		if k == nil {
			w.sync(c, wallet.IntentSettle)
			return
		}
		switch w.luck.IntN(6) {
		case 4:
			w.pay(c)
		case 0:
			w.sync(c, wallet.IntentCancel)
		case 1:
			w.sync(c, wallet.IntentComplete)
		case 2:
			w.sync(c, wallet.IntentSettle)
		default:
			w.topUp(c)
		}
	})
}

// anything is what a person may do in another window or command.
func (w *world) anything(c *computer) {
	w.login(c)
	switch w.luck.IntN(6) {
	case 0, 1:
		w.topUp(c)
	case 2:
		w.pay(c)
	case 3:
		w.sync(c, wallet.IntentSettle)
	case 4:
		_, err := c.core.FlushOutbox(ctx())
		w.note(err)
	default:
		_, err := c.core.Query(ctx(), nil)
		w.note(err)
	}
}

// pin types the PIN of the card that lies there, sometimes a wrong one: a person
// who was told of a wrong PIN takes care.
func (c *computer) pin(int) ([]byte, error) {
	if c.card == nil {
		return nil, context.Canceled // nobody knows it
	}
	digits := c.card.PIN()
	if c.card.Snapshot().PINTriesLeft == 3 && c.w.happens("wrong PIN", 250) {
		digits = "000000"
	}
	return wallet.PINBytes(digits)
}

// topUp loads some money and compares what the person is told with what is true.
func (w *world) topUp(c *computer) {
	amounts := []wallet.Fen{1000, 2000, 5000, 5000, 10000, 20000}
	amount := amounts[w.luck.IntN(len(amounts))]
	ask := core.TopUpAsk{
		Amount: amount, Source: "main", From: w.moneyBeside(c.owner), PIN: c.pin,
		Confirm: func(context.Context, core.Confirmation) error {
			if w.happens("person declines", 20) {
				return context.Canceled
			}
			return nil
		},
		Password: func(context.Context) (string, error) {
			if w.happens("wrong password", 20) {
				return "000000", nil
			}
			return w.profile.DemoCredentials.PaymentPassword, nil
		},
	}
	var result core.TopUpResult
	var err error
	w.wishes("topup", func() { result, err = c.core.TopUp(ctx(), ask) })
	w.note(err)
	entry := result.Entry
	w.say("  %s is at %s", entry.Order, entry.Stage)
	switch {
	case err == nil:
		w.count("end", "top-up success")
		w.successIsTrue(entry)
	case entry.Key != "" && !core.Explain(err).Open():
		w.nothingPaid(entry, core.Explain(err))
	}
}

// successIsTrue: what was shown as success is on the card.
func (w *world) successIsTrue(entry wallet.Entry) {
	for _, k := range w.chips {
		if k.ASN() == entry.ASN && k.has(entry.TID) {
			return
		}
	}
	w.fail("success was shown for %s, but the card has nothing", entry.Order)
}

// nothingPaid: who was told of a failure that leaves nothing open has not paid.
func (w *world) nothingPaid(entry wallet.Entry, failure *core.Failure) {
	var state string
	_ = w.books.QueryRow(`SELECT state FROM orders WHERE key = ?`, entry.Key).Scan(&state)
	if state == "GRANTED" || state == "LOADED" || state == "SUSPENSE" {
		w.fail("the person was told %s with nothing open, but the order is %s", failure.Code, state)
	}
}

// sync settles with the card on the reader.
func (w *world) sync(c *computer, intent wallet.Intent) []core.SyncLine {
	var lines []core.SyncLine
	var err error
	w.wishes(string(intent), func() { lines, err = c.core.Sync(ctx(), core.SyncAsk{Intent: intent, PIN: c.pin}) })
	for _, line := range lines {
		w.say("  %s %s: %s by %s", line.Order, line.From, line.To, line.Evidence)
		w.count("settled", string(line.To)+" by "+line.Evidence)
		w.factsAreTrue(line)
	}
	w.note(err)
	return lines
}

func (w *world) query(c *computer) {
	w.someCard(c)
	_, err := c.core.Query(ctx(), nil)
	w.note(err)
}

// timePasses: leases, tokens and nonces end, and business days.
func (w *world) timePasses(*computer) {
	pauses := []time.Duration{time.Second, time.Minute, 6 * time.Minute, 16 * time.Minute, 5 * time.Hour, 25 * time.Hour, 31 * 24 * time.Hour}
	pause := pauses[w.luck.IntN(len(pauses))]
	w.say("  %v", pause)
	if pause > time.Hour {
		w.corner.upload() // shops do it in good time
	}
	time.Sleep(pause)
	if w.luck.IntN(2) == 0 {
		w.settleDoubtful()
	}
	if w.luck.IntN(20) == 0 {
		w.corner.upload()
		time.Sleep(56 * 24 * time.Hour)
		count, err := w.platform.SuspendOld(ctx())
		w.must(err)
		w.say("  %d old orders", count)
	}
}

// clockJumps sets a clock wrong, forwards or backwards, or right again.
func (w *world) clockJumps(c *computer) {
	if w.plan.Without["clock jumps"] {
		return
	}
	skews := []time.Duration{0, -time.Hour, time.Hour, -400 * 24 * time.Hour, 400 * 24 * time.Hour, 90 * time.Second}
	c.skew = skews[w.luck.IntN(len(skews))]
	if w.luck.IntN(3) == 0 {
		w.corner.upload() // the sum rule bears shops' clocks that are minutes from the platform's, not a day
		w.skew = []time.Duration{0, -2 * time.Minute, 3 * time.Minute, -26 * time.Hour}[w.luck.IntN(4)]
	}
	w.count("fault", "clock jumps")
	w.say("  computer %v, platform %v", c.skew, w.skew)
}

func (w *world) blockCard(c *computer) {
	if w.plan.Without["block card"] {
		return
	}
	w.someCard(c)
	if c.card == nil { // the dishonest person keeps his, or it left the reader
		return
	}
	if c.card.Snapshot().Blocked {
		w.must(c.card.Unblock())
	} else {
		w.must(c.card.Block())
	}
	w.count("fault", "block card")
}

func (w *world) backup(*computer) {
	if !w.mayRestore || w.plan.Without["restore"] {
		return
	}
	file := filepath.Join(w.dir, fmt.Sprintf("backup-%d", len(w.backups)))
	_, err := w.platform.Backup(ctx(), file)
	w.must(err)
	w.backups = append(w.backups, file)
}

// restore loses what the platform committed since a backup.
func (w *world) restore(*computer) {
	if len(w.backups) == 0 || w.restores >= 3 {
		return
	}
	file := w.backups[max(0, len(w.backups)-1-w.luck.IntN(2))]
	before := w.knownOfCards()
	w.stopPlatform()
	report, err := mockplatform.Restore(filepath.Join(w.dir, "platform"), file)
	w.must(err)
	w.openPlatform()
	after := w.knownOfCards()
	for asn := range before {
		if after[asn] != before[asn] {
			w.lost[asn] = true
		}
	}
	w.restores++
	w.corner.uploaded = 0
	w.count("fault", "platform restored")
	w.say("  epoch %d", report.Epoch)
}

// knownOfCards is what the books say of the orders and purchases of each card.
func (w *world) knownOfCards() map[string]string {
	known := map[string]string{}
	w.rows(`SELECT asn, id || ' ' || state || ' ' || attempt FROM orders
		UNION ALL SELECT asn, id || ' ' || state || ' ' || probed FROM purchases ORDER BY 1, 2`, func(rows *sql.Rows) error {
		var asn, line string
		err := rows.Scan(&asn, &line)
		known[asn] += line + "; "
		return err
	})
	return known
}
