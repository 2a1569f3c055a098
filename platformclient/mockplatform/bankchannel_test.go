package mockplatform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/bankapi"
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

// bankSubject is a bank as the conformance suite sees it: a channel, a bound card and
// what its account holds.
type bankSubject struct {
	channel bankChannel
	card    bankapi.BindRequest // without serial
	code    func(of string) string
	left    func() wallet.Fen
}

// servedBank is a virtual bank over real TLS on loopback.
func servedBank(t *testing.T) bankSubject {
	bank, err := mockbank.Open(mockbank.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	server, err := bank.Serve(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		report, err := bank.Check(context.Background())
		require.NoError(t, err)
		require.True(t, report.OK(), "%+v", report)
		require.NoError(t, bank.Close())
	})
	number, err := bank.NewCard(t.Context(), cardName, testPhone, 1000_00, false)
	require.NoError(t, err)
	partner, err := bank.Partner()
	require.NoError(t, err)
	channel := newSignedBank(partner, nil, time.Now)
	return bankSubject{
		channel: channel, card: bankapi.BindRequest{Card: number, Name: cardName, Phone: testPhone},
		code: func(of string) string {
			texts, err := channel.demoTexts(t.Context(), testPhone)
			require.NoError(t, err)
			for _, text := range texts {
				if text.Of == of {
					return text.Code
				}
			}
			return ""
		},
		left: func() wallet.Fen {
			left, err := bank.Balance(t.Context(), number)
			require.NoError(t, err)
			return left
		},
	}
}

// paperBank is a bank of one customer, in memory, written from the messages alone: the
// second implementation shows that the suite asks for nothing that only one can do.
type paperBank struct {
	mu      sync.Mutex
	left    wallet.Fen
	partner wallet.Fen
	done    map[string]*bankapi.Outcome
	asked   map[string]string
	lines   []bankapi.Line
	tokens  map[string]bool
}

func newPaperBank(*testing.T) bankSubject {
	b := &paperBank{left: 1000_00, done: map[string]*bankapi.Outcome{}, asked: map[string]string{}, tokens: map[string]bool{}}
	return bankSubject{
		channel: b, card: bankapi.BindRequest{Card: "6230510000000000000", Name: cardName, Phone: testPhone},
		code: func(string) string { return "123456" }, left: func() wallet.Fen { b.mu.Lock(); defer b.mu.Unlock(); return b.left },
	}
}

func (b *paperBank) facts() bankFacts {
	return bankFacts{Bank: "paper", Name: "Paper", MerchantID: "1"}
}

func (b *paperBank) do(_ context.Context, path string, request bankRequest) (bankapi.Outcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	serial := request.CallerSerial()
	if path == bankapi.PathQueries {
		if known := b.done[serial]; known != nil {
			return *known, nil
		}
		return bankapi.Outcome{Serial: serial, State: bankapi.StateUnknown}, nil
	}
	body, err := json.Marshal(request)
	if err != nil {
		return bankapi.Outcome{}, err
	}
	if known := b.done[serial]; known != nil {
		if was := b.asked[serial]; was != "" && was != path+string(body) {
			return bankapi.Outcome{}, errBank
		}
		return *known, nil
	}
	told := &bankapi.Outcome{Serial: serial, State: bankapi.StateRefused, Code: bankapi.CodeState, Time: time.Now()}
	b.decide(told, request)
	b.done[serial], b.asked[serial] = told, path+string(body)
	switch path { // follow-ups share one type
	case bankapi.PathCaptures, bankapi.PathReleases, bankapi.PathReversals, bankapi.PathRefunds:
		b.follow(path, told, request.(bankapi.FollowRequest))
	}
	return *told, nil
}

func (b *paperBank) decide(told *bankapi.Outcome, request bankRequest) {
	switch r := request.(type) {
	case bankapi.BindRequest:
		told.State, told.Code, told.Last4 = bankapi.StateSent, "", r.Card[len(r.Card)-4:]
	case bankapi.BindConfirm:
		if r.Code == "123456" {
			told.State, told.Code, told.Token, told.Account = bankapi.StateBound, "", "token", "account"
			b.tokens["token"] = true
		} else {
			told.Code = bankapi.CodeWrongCode
		}
	case bankapi.UnbindRequest:
		told.State, told.Code = bankapi.StateUnbound, ""
		b.tokens[r.Token] = false
	case bankapi.CodeRequest:
		told.State, told.Code = bankapi.StateSent, ""
	case bankapi.DebitRequest:
		told.Amount = r.Amount
		switch {
		case !b.tokens[r.Token]:
			told.Code = bankapi.CodeNoBinding
		case r.Amount > b.left:
			told.Code = bankapi.CodeFunds
		case r.Freeze:
			told.State, told.Code = bankapi.StateFrozen, ""
			b.left -= r.Amount
		default:
			told.State, told.Code = bankapi.StatePaid, ""
			b.left -= r.Amount
			b.write(bankapi.LineDebit, told, "", r.Amount)
		}
	case bankapi.PayoutRequest:
		told.Amount = r.Amount
		if told.Code = bankapi.CodeSettlement; r.Amount <= b.partner {
			told.State, told.Code = bankapi.StateRefunded, ""
			b.left += r.Amount
			b.write(bankapi.LinePayout, told, "", r.Amount)
		}
	case bankapi.OrderRequest:
		told.State, told.Code, told.Page, told.Amount = bankapi.StateOpen, "", "https://paper/"+r.Serial, r.Amount
	}
}

func (b *paperBank) write(kind string, told *bankapi.Outcome, of string, amount wallet.Fen) {
	told.Journal = fmt.Sprintf("P%d", len(b.lines)+1)
	line := bankapi.Line{Kind: kind, Serial: told.Serial, Of: of, Journal: told.Journal, Amount: amount, Time: time.Now().UTC().Truncate(time.Second)}
	b.lines = append(b.lines, line)
	if b.partner -= amount; line.In() {
		b.partner += 2 * amount
	}
}

func (b *paperBank) follow(path string, told *bankapi.Outcome, r bankapi.FollowRequest) {
	target := b.done[r.Of]
	if target == nil {
		if path == bankapi.PathReversals {
			b.done[r.Of] = &bankapi.Outcome{Serial: r.Of, State: bankapi.StateReversed, Code: bankapi.CodeReversed}
			told.State, told.Code = bankapi.StateReversed, ""
		}
		return
	}
	paid := target.State == bankapi.StatePaid || target.State == bankapi.StateCaptured
	switch {
	case path == bankapi.PathCaptures && target.State == bankapi.StateFrozen && r.Amount <= target.Amount:
		b.left += target.Amount - r.Amount
		target.State, target.Amount = bankapi.StateCaptured, r.Amount
		told.State, told.Code, told.Amount = bankapi.StateCaptured, "", r.Amount
		b.write(bankapi.LineDebit, &bankapi.Outcome{Serial: target.Serial}, "", r.Amount)
	case path == bankapi.PathReleases && target.State == bankapi.StateFrozen:
		b.left += target.Amount
		target.State, told.State, told.Code = bankapi.StateReleased, bankapi.StateReleased, ""
	case path == bankapi.PathRefunds && paid && r.Amount > target.Amount-target.Refunded:
		told.Code = bankapi.CodeOver
	case path == bankapi.PathRefunds && paid:
		b.left += r.Amount
		target.Refunded += r.Amount
		told.State, told.Code, told.Amount = bankapi.StateRefunded, "", r.Amount
		b.write(bankapi.LineRefund, told, r.Of, r.Amount)
	case path == bankapi.PathReversals && target.Refunded == 0:
		told.State, told.Code = bankapi.StateReversed, ""
		if paid || target.State == bankapi.StateFrozen {
			b.left += target.Amount
		}
		if paid {
			b.write(bankapi.LineReversal, told, r.Of, target.Amount)
		}
		if paid || target.State == bankapi.StateFrozen || target.State == bankapi.StateOpen {
			target.State, target.Code = bankapi.StateReversed, bankapi.CodeReversed
		}
	}
}

func (b *paperBank) statement(_ context.Context, day string) (bankapi.Day, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content := bankapi.Day{Bank: "paper", Merchant: "1", Day: day, Batch: len(b.lines) + 1}
	for _, line := range b.lines {
		if businessDay(line.Time) == day {
			content.Lines = append(content.Lines, line)
		}
	}
	return bankapi.ParseDay(content.Marshal())
}

func (b *paperBank) demoCards(context.Context, string) ([]bankapi.DemoCard, error) {
	return nil, errBank
}

func (b *paperBank) demoTexts(context.Context, string) ([]bankapi.DemoMessage, error) {
	return nil, errBank
}

// TestBankChannel_Conformance runs one suite against every bank.
func TestBankChannel_Conformance(t *testing.T) {
	for name, open := range map[string]func(*testing.T) bankSubject{"virtual bank": servedBank, "paper": newPaperBank} {
		t.Run(name, func(t *testing.T) { checkBankChannel(t, open(t)) })
	}
}

// checkBankChannel says what a bank owes its partner.
func checkBankChannel(t *testing.T, s bankSubject) {
	number := 0
	serial := func() string { number++; return fmt.Sprintf("s-%03d", number) }
	ask := func(path string, request bankRequest) bankapi.Outcome {
		t.Helper()
		told, err := s.channel.do(t.Context(), path, request)
		require.NoError(t, err)
		require.Equal(t, request.CallerSerial(), told.Serial)
		again, err := s.channel.do(t.Context(), path, request)
		require.NoError(t, err)
		require.Equal(t, told.State, again.State, "the same serial is the same operation")
		require.Equal(t, told.Token, again.Token)
		return told
	}
	state := func(of string) string {
		t.Helper()
		return ask(bankapi.PathQueries, bankapi.QueryRequest{Serial: of}).State
	}
	bind := s.card
	bind.Serial = serial()
	require.Equal(t, bankapi.StateSent, ask(bankapi.PathBindings, bind).State)
	require.Equal(t, bankapi.StateRefused, ask(bankapi.PathBindConfirm, bankapi.BindConfirm{Serial: serial(), Of: bind.Serial, Code: "no"}).State)
	bound := ask(bankapi.PathBindConfirm, bankapi.BindConfirm{Serial: serial(), Of: bind.Serial, Code: s.code(bind.Serial)})
	require.Equal(t, bankapi.StateBound, bound.State)
	require.NotEmpty(t, bound.Token)
	require.NotEmpty(t, bound.Account)

	debit := func(amount wallet.Fen, freeze bool) bankapi.DebitRequest {
		return bankapi.DebitRequest{Serial: serial(), Token: bound.Token, Amount: amount, Freeze: freeze}
	}
	// Debited at once; another request under the same serial is nothing.
	paid := debit(100_00, false)
	require.Equal(t, bankapi.StatePaid, ask(bankapi.PathDebits, paid).State)
	require.Equal(t, wallet.Fen(900_00), s.left())
	other := paid
	other.Amount = 1
	_, err := s.channel.do(t.Context(), bankapi.PathDebits, other)
	require.ErrorIs(t, err, errBank)
	require.Equal(t, bankapi.StatePaid, state(paid.Serial))
	require.Equal(t, bankapi.CodeFunds, ask(bankapi.PathDebits, debit(2000_00, false)).Code)
	require.Equal(t, bankapi.StateUnknown, state("never-seen"))

	// Frozen, then captured in part, or released.
	frozen := debit(50_00, true)
	require.Equal(t, bankapi.StateFrozen, ask(bankapi.PathDebits, frozen).State)
	require.Equal(t, wallet.Fen(850_00), s.left())
	require.Equal(t, bankapi.StateRefused, ask(bankapi.PathCaptures, bankapi.FollowRequest{Serial: serial(), Of: frozen.Serial, Amount: 50_01}).State)
	require.Equal(t, bankapi.StateCaptured, ask(bankapi.PathCaptures, bankapi.FollowRequest{Serial: serial(), Of: frozen.Serial, Amount: 40_00}).State)
	require.Equal(t, bankapi.StateCaptured, state(frozen.Serial))
	require.Equal(t, wallet.Fen(860_00), s.left())
	released := debit(10_00, true)
	ask(bankapi.PathDebits, released)
	require.Equal(t, bankapi.StateReleased, ask(bankapi.PathReleases, bankapi.FollowRequest{Serial: serial(), Of: released.Serial}).State)
	require.Equal(t, bankapi.StateRefused, ask(bankapi.PathCaptures, bankapi.FollowRequest{Serial: serial(), Of: released.Serial, Amount: 1}).State)

	// Refunded in parts, up to what was paid.
	refund := func(amount wallet.Fen) bankapi.Outcome {
		return ask(bankapi.PathRefunds, bankapi.FollowRequest{Serial: serial(), Of: paid.Serial, Amount: amount})
	}
	require.Equal(t, bankapi.StateRefunded, refund(30_00).State)
	require.Equal(t, bankapi.StateRefunded, refund(70_00).State)
	require.Equal(t, bankapi.CodeOver, refund(1).Code)
	require.Equal(t, wallet.Fen(960_00), s.left())
	require.Equal(t, bankapi.StateRefused, ask(bankapi.PathReversals, bankapi.FollowRequest{Serial: serial(), Of: paid.Serial}).State)

	// Reversed, also before it was seen.
	undone := debit(20_00, false)
	ask(bankapi.PathDebits, undone)
	require.Equal(t, bankapi.StateReversed, ask(bankapi.PathReversals, bankapi.FollowRequest{Serial: serial(), Of: undone.Serial}).State)
	require.Equal(t, bankapi.StateReversed, ask(bankapi.PathDebits, undone).State, "whoever repeats it")
	late := debit(20_00, false)
	require.Equal(t, bankapi.StateReversed, ask(bankapi.PathReversals, bankapi.FollowRequest{Serial: serial(), Of: late.Serial}).State)
	require.Equal(t, bankapi.StateReversed, ask(bankapi.PathDebits, late).State, "the reversal overtook it")
	require.Equal(t, wallet.Fen(960_00), s.left())

	// Paid out of what is ours there, and no more.
	require.Equal(t, bankapi.StateRefunded, ask(bankapi.PathPayouts, bankapi.PayoutRequest{Serial: serial(), Token: bound.Token, Amount: 15_00}).State)
	require.Equal(t, bankapi.CodeSettlement, ask(bankapi.PathPayouts, bankapi.PayoutRequest{Serial: serial(), Token: bound.Token, Amount: 25_01}).Code)
	require.Equal(t, wallet.Fen(975_00), s.left())

	// An order has a page until it is undone.
	order := bankapi.OrderRequest{Serial: serial(), Amount: 5_00, Goods: "x", Expires: time.Now().Add(time.Hour).Truncate(time.Second)}
	require.True(t, strings.HasPrefix(ask(bankapi.PathOrders, order).Page, "https://"))
	require.Equal(t, bankapi.StateReversed, ask(bankapi.PathReversals, bankapi.FollowRequest{Serial: serial(), Of: order.Serial}).State)

	// The statement tells paid money and nothing else.
	day, err := s.channel.statement(t.Context(), businessDay(time.Now()))
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(25_00), day.Net())
	kinds := map[string]int{}
	for _, line := range day.Lines {
		kinds[line.Kind]++
	}
	require.Equal(t, map[string]int{bankapi.LineDebit: 3, bankapi.LineRefund: 2, bankapi.LineReversal: 1, bankapi.LinePayout: 1}, kinds)

	require.Equal(t, bankapi.StateUnbound, ask(bankapi.PathUnbind, bankapi.UnbindRequest{Serial: serial(), Token: bound.Token}).State)
	require.Equal(t, bankapi.CodeNoBinding, ask(bankapi.PathDebits, debit(1, false)).Code)
}

// TestBankChannel_BelievesNothingElse: what another key signed, what was signed for
// another question, and what is not signed at all, says nothing.
func TestBankChannel_BelievesNothingElse(t *testing.T) {
	s := servedBank(t)
	genuine := s.channel.(*signedBank)
	stranger := genuine.partner
	stranger.AnswerKey = randomBytes(32)
	_, err := newSignedBank(stranger, nil, time.Now).do(t.Context(), bankapi.PathQueries, bankapi.QueryRequest{Serial: "x"})
	require.ErrorIs(t, err, errBank)
	outsider := genuine.partner
	outsider.Key = randomBytes(32)
	_, err = newSignedBank(outsider, nil, time.Now).do(t.Context(), bankapi.PathQueries, bankapi.QueryRequest{Serial: "x"})
	require.ErrorIs(t, err, errBank, "the bank answers its partners only")

	// An answer that was recorded is served again for another question.
	network := bankTransport(genuine.partner)
	var recorded *http.Response
	var body []byte
	replay := func(bankapi.Partner) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			if recorded == nil {
				answer, err := network.RoundTrip(req)
				if err != nil {
					return nil, err
				}
				recorded = answer
				if body, err = io.ReadAll(answer.Body); err != nil {
					return nil, err
				}
			}
			again := *recorded
			again.Body = io.NopCloser(bytes.NewReader(body))
			return &again, nil
		})
	}
	channel := newSignedBank(genuine.partner, replay, time.Now)
	_, err = channel.do(t.Context(), bankapi.PathQueries, bankapi.QueryRequest{Serial: "x"})
	require.NoError(t, err)
	_, err = channel.do(t.Context(), bankapi.PathQueries, bankapi.QueryRequest{Serial: "x"})
	require.ErrorIs(t, err, errBank)
}
