package loadtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// outboxPatience is how long a result is repeated before the run counts it as lost.
const outboxPatience = 60 * time.Second

// trip is one top-up with its times.
type trip struct {
	intended time.Time     // when it was to begin, whoever was late
	started  time.Time     // when it did begin
	grant    time.Duration // intended begin → verified grant in hand
	result   time.Duration // CREDIT taken → verified receipt in hand
	done     time.Time
	repeats  int  // results that had to be sent again
	refused  bool // the platform said that it is busy
	silent   bool // no answer came in time: only settling tells what became of it
	// loggedOut: the answer to a renewal of the login was lost, and with it the login.
	loggedOut bool
	err       error // anything else, which no load may cause
}

// topUp runs one complete order on one card: the same function that the program
// runs, guard and signatures included, and then the result until its receipt is there.
func (k *card) topUp(ctx context.Context, intended time.Time) trip {
	made := trip{intended: intended, started: time.Now()}
	made.err = k.settleUnsure(ctx)
	if made.err == nil {
		made.err = k.load(ctx, &made)
	}
	switch {
	case busy(made.err):
		made.refused, made.err = true, nil
	case platformclient.KindOf(made.err) == platformclient.KindNetwork, wallet.CodeOf(made.err) == wallet.CodeGrantExpired:
		made.silent, made.err = true, nil
	case platformclient.KindOf(made.err) == platformclient.KindNotLoggedIn:
		made.loggedOut, made.err = true, k.owner.login(ctx)
		if busy(made.err) || platformclient.KindOf(made.err) == platformclient.KindNetwork {
			made.err = nil // the next one tries again
		}
	}
	made.done = time.Now()
	return made
}

func (k *card) load(ctx context.Context, made *trip) error {
	client := k.owner.client
	lease, err := client.TakeLease(ctx)
	if err != nil {
		return err
	}
	key, err := platformclient.NewKey(time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	session := client.Session()
	order := wallet.Order{
		Key: key, ASN: k.ASN(), Amount: loadFen, Fee: session.Policy.LoadFee("main", loadFen), Source: "main", Cap: session.Policy.Limits.PurseCap,
	}
	profile, _ := wallet.ProfileByName(cardProfile)
	asked := &timedIssuer{Issuer: k.issuer()}
	desk := wallet.Desk{Card: k, Issuer: asked, Journal: &k.journal, Signers: session.Signers, Epoch: session.Epoch}
	loaded, err := desk.TopUp(ctx, order, profile, k.owner.script, lease.TID)
	if err != nil {
		if wallet.IsOpen(err) {
			k.unsure = loaded.Entry
		}
		return err
	}
	made.grant = asked.arrived.Sub(made.intended)
	credited := time.Now()
	k.unsure = loaded.Entry // until its receipt is there
	if err := k.tell(ctx, loaded.Entry, made); err != nil {
		return err
	}
	k.unsure = wallet.Entry{}
	made.result = time.Since(credited)
	return nil
}

func (k *card) issuer() wallet.Issuer {
	return k.owner.client.Issuer(func(context.Context) (string, error) { return k.owner.demo.PaymentPassword, nil })
}

// tell is the outbox: the result goes out until the receipt comes back. Client.Result
// has verified signature, order and amount of what it returns.
func (k *card) tell(ctx context.Context, entry wallet.Entry, made *trip) error {
	grant, err := k.openGrant(entry)
	if err != nil {
		return err
	}
	if want := k.wantTAC(grant, k.Balance()); !bytes.Equal(want, entry.TAC) {
		return errors.New("the TAC is not the one that the chip's key gives")
	}
	for began := time.Now(); ; made.repeats++ {
		state, _, err := k.owner.client.Result(ctx, entry)
		if err == nil {
			return k.checkReceipt(state, entry)
		}
		failure, known := errors.AsType[*platformclient.Error](err)
		if !known || time.Since(began) > outboxPatience || ctx.Err() != nil {
			return err
		}
		time.Sleep(max(failure.RetryAfter, 100*time.Millisecond))
	}
}

func (k *card) openGrant(entry wallet.Entry) (wallet.Grant, error) {
	var grant wallet.Grant
	if entry.Grant == nil {
		return grant, errors.New("the journal holds no grant")
	}
	return grant, k.owner.client.Session().Signers.Open(wallet.DomainGrant, *entry.Grant, &grant)
}

func (k *card) checkReceipt(state wallet.OrderState, entry wallet.Entry) error {
	receipt := state.ReceiptBody
	switch {
	case state.State != wallet.StateLoaded || receipt == nil:
		return fmt.Errorf("the order is %s after its TAC", state.State)
	case !bytes.Equal(receipt.TAC, entry.TAC) || receipt.TID != entry.TID || receipt.Amount != loadFen:
		return errors.New("the receipt is for another load")
	case receipt.BalanceAfter != k.Balance():
		return fmt.Errorf("the receipt says %v, the card %v", receipt.BalanceAfter, k.Balance())
	}
	return nil
}

// settleUnsure closes an order whose answer never came, as the program does before
// it asks for money again: the key is abandoned, and an order that had been granted
// all the same is settled with the card.
func (k *card) settleUnsure(ctx context.Context) error {
	if k.unsure.Key == "" {
		return nil
	}
	client, made := k.owner.client, &trip{}
	if k.unsure.TAC != nil {
		if err := k.tell(ctx, k.unsure, made); err != nil {
			return err
		}
		k.late++
		k.unsure = wallet.Entry{}
		return nil
	}
	state, err := client.Abandon(ctx, k.unsure.Key)
	if err != nil {
		return err
	}
	if state.Pending != nil {
		session := client.Session()
		profile, _ := wallet.ProfileByName(cardProfile)
		desk := wallet.Desk{Card: k, Issuer: k.issuer(), Journal: &k.journal, Signers: session.Signers, Epoch: session.Epoch}
		settled, err := desk.Sync(ctx, *state.Pending, k.unsure, wallet.IntentCancel, profile, k.owner.script)
		if err != nil {
			return err
		}
		if settled.State == nil || settled.State.State != wallet.StateVoided {
			return errors.New("an order without an answer could not be cancelled")
		}
	}
	k.unsure = wallet.Entry{}
	return nil
}

// busy tells that the platform refused to work, and nothing else went wrong.
func busy(err error) bool {
	failure, known := errors.AsType[*platformclient.Error](err)
	return known && failure.Status == http.StatusServiceUnavailable && failure.Code == api.CodeBusy
}

// timedIssuer notes when the grant was in hand.
type timedIssuer struct {
	wallet.Issuer
	arrived time.Time
}

// RequestLoad implements wallet.Issuer.
func (i *timedIssuer) RequestLoad(ctx context.Context, ask wallet.LoadAsk) (wallet.Verdict, error) {
	verdict, err := i.Issuer.RequestLoad(ctx, ask)
	i.arrived = time.Now()
	return verdict, err
}

// openLoop begins perSecond top-ups in every second for as long as told, whether
// the earlier ones have come back or not. Every latency counts from the moment when
// its top-up was to begin: a stall of the platform, of the connections or of this
// generator makes everything behind it late, instead of hiding it.
func openLoop(ctx context.Context, free chan *card, perSecond int, length time.Duration) []trip {
	count := int(length.Seconds() * float64(perSecond))
	trips := make([]trip, count)
	began := time.Now().Add(50 * time.Millisecond)
	var all sync.WaitGroup
	for i := range trips {
		intended := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		time.Sleep(time.Until(intended))
		all.Go(func() {
			k := <-free
			trips[i] = k.topUp(ctx, intended)
			free <- k
		})
	}
	all.Wait()
	return trips
}

// closedLoop keeps a number of top-ups under way for as long as told: each begins
// when the one before it has its receipt.
func (s *stand) closedLoop(ctx context.Context, atOnce int, length time.Duration) []trip {
	var mu sync.Mutex
	var trips []trip
	var all sync.WaitGroup
	end := time.Now().Add(length)
	for range atOnce {
		all.Go(func() {
			for time.Now().Before(end) {
				k := <-s.free
				made := k.topUp(ctx, time.Now())
				s.free <- k
				mu.Lock()
				trips = append(trips, made)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return trips
}

// settleAll closes what the run left unsure.
func (s *stand) settleAll(ctx context.Context) error {
	for _, k := range s.cards {
		for began := time.Now(); ; time.Sleep(time.Second) {
			err := k.settleUnsure(ctx)
			if err == nil {
				break
			}
			if platformclient.KindOf(err) == platformclient.KindNotLoggedIn {
				err = k.owner.login(ctx) // and once more
			}
			if err != nil && !busy(err) && platformclient.KindOf(err) != platformclient.KindNetwork || time.Since(began) > outboxPatience {
				return err
			}
		}
	}
	return nil
}

// tally is what a run came to.
type tally struct {
	complete, refused, silent, loggedOut int
	repeats                              int
	errors                               map[string]int
	grants, results                      []time.Duration // sorted
	perSecond                            float64         // complete top-ups, from the first begin to the last receipt
}

func count(trips []trip) tally {
	sum := tally{errors: map[string]int{}}
	var first, last time.Time
	for _, one := range trips {
		if first.IsZero() || one.intended.Before(first) {
			first = one.intended
		}
		if one.done.After(last) {
			last = one.done
		}
		sum.repeats += one.repeats
		switch {
		case one.refused:
			sum.refused++
		case one.silent:
			sum.silent++
		case one.loggedOut && one.err == nil:
			sum.loggedOut++
		case one.err != nil:
			sum.errors[one.err.Error()]++
		default:
			sum.complete++
			sum.grants, sum.results = append(sum.grants, one.grant), append(sum.results, one.result)
		}
	}
	slices.Sort(sum.grants)
	slices.Sort(sum.results)
	sum.perSecond = float64(sum.complete) / last.Sub(first).Seconds()
	return sum
}

// failures lists every kind of error once, with how often it came.
func (t tally) failures() string {
	var lines []string
	for _, text := range slices.Sorted(maps.Keys(t.errors)) {
		lines = append(lines, fmt.Sprintf("%d × %s", t.errors[text], text))
	}
	return strings.Join(lines, "; ")
}

// percentile of sorted times; 0 of none.
func percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(float64(len(sorted))*percent/100), len(sorted)-1)]
}
