package wire_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/epcrypto"
	"walletcompanion/wallet/virtualcard"
)

// distantRounds is how often every client tops up at every distance.
const distantRounds = 9

// TestBench_RoundTrips measures a top-up from the confirmation to success while the
// platform is far away, beside two other ways to do it: one that creates the order,
// asks for MAC2 and waits for the result to be acknowledged, and one that is steered
// from the server command by command. These controls do the exchanges and the card
// commands and nothing else: no signatures, no journal, no storage behind their
// server. All connections are warm. Requests are counted on the wire.
func TestBench_RoundTrips(t *testing.T) {
	onlyBench(t)
	var lines []*distance
	program, _, _ := servedBehind(t, func(url string) string {
		line, address := newDistance(t, url)
		lines = append(lines, line)
		return address
	})
	three, line := newControl(t)
	lines = append(lines, line)
	steered, line := newControl(t)
	lines = append(lines, line)

	for _, roundTrip := range []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		for _, line := range lines {
			line.set(roundTrip)
		}
		var ours, exchanged, commanded []time.Duration
		for range distantRounds { // in turns, so that all see the same machine
			loaded, err := topUp(program, 1_00)
			require.NoError(t, err)
			require.Equal(t, []int{2, 1}, []int{loaded.Requests, loaded.RequestsWaited})
			ours = append(ours, loaded.Elapsed)

			took, requests := three.measure(t, three.threeExchanges)
			require.Equal(t, 3, requests)
			exchanged = append(exchanged, took)

			took, requests = steered.measure(t, steered.commandByCommand)
			require.Equal(t, 7, requests)
			commanded = append(commanded, took)
		}
		name := fmt.Sprintf("top-up, %v round trip, 1 request waited for", roundTrip)
		compare(name, slices.Clone(ours), "3 requests: order, MAC2, result", exchanged)
		compare(name, ours, "7 requests: one per card command", commanded)
	}
}

// control is a client and a server of another make, with a card between them.
type control struct {
	server *controlServer
	chip   *virtualcard.Card
	client *http.Client
	url    string
	count  atomic.Int64
}

// RoundTrip counts on the wire.
func (c *control) RoundTrip(request *http.Request) (*http.Response, error) {
	c.count.Add(1)
	return c.server.far.Client().Transport.RoundTrip(request)
}

func newControl(t *testing.T) (*control, *distance) {
	t.Helper()
	chip, err := virtualcard.New(virtualcard.Spec{ASN: wallet.ASN{2: 0x20, 9: 0x78}}, rand.Reader)
	require.NoError(t, err)
	_, err = chip.PowerOn()
	require.NoError(t, err)
	server := &controlServer{keys: chip.Keys()}
	server.far = httptest.NewTLSServer(server)
	t.Cleanup(server.far.Close)
	line, address := newDistance(t, server.far.URL)
	c := &control{server: server, chip: chip, url: address}
	c.client = &http.Client{Transport: c}
	return c, line
}

// measure runs one top-up and checks that the card has taken exactly one.
func (c *control) measure(t *testing.T, run func() error) (took time.Duration, requests int) {
	t.Helper()
	balance, counted := c.chip.Balance(), c.count.Load()
	began := time.Now()
	require.NoError(t, run())
	took = time.Since(began)
	require.Equal(t, balance+1_00, c.chip.Balance())
	return took, int(c.count.Load() - counted)
}

// controlMessage is everything that the controls say to each other.
type controlMessage struct {
	Step   string `json:"step"`
	Amount uint32 `json:"amount,omitempty"`
	TID    string `json:"tid,omitempty"`
	APDU   string `json:"apdu,omitempty"`   // to the card
	Answer string `json:"answer,omitempty"` // of the card, with its status word
	Done   bool   `json:"done,omitempty"`
}

func (c *control) ask(message controlMessage) (answer controlMessage, err error) {
	body, err := json.Marshal(message)
	if err != nil {
		return answer, err
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return answer, err
	}
	if response.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("%s: status %d", message.Step, response.StatusCode)
	}
	return answer, json.Unmarshal(raw, &answer)
}

// say sends one command to the card, in hex, and wants 9000.
func (c *control) say(command string) (string, error) {
	raw, err := hex.DecodeString(command)
	if err != nil {
		return "", err
	}
	answer, err := c.chip.Transmit(raw)
	if err == nil && !bytes.HasSuffix(answer, []byte{0x90, 0x00}) {
		err = fmt.Errorf("the card answers %X to %s", answer, command[:4])
	}
	return hex.EncodeToString(answer), err
}

const (
	controlSelect  = "00A4040009A0000000038698070100"
	controlInfo    = "00B095001E"
	controlBalance = "805C000204"
)

// threeExchanges: order → terminal number; answer to INITIALIZE → CREDIT; TAC → done.
func (c *control) threeExchanges() error {
	order, err := c.ask(controlMessage{Step: "order", Amount: 1_00})
	if err != nil {
		return err
	}
	var initialized string
	for _, command := range []string{controlSelect, controlInfo, order.APDU} {
		if initialized, err = c.say(command); err != nil {
			return err
		}
	}
	granted, err := c.ask(controlMessage{Step: "initialized", Answer: initialized})
	if err != nil {
		return err
	}
	credited, err := c.say(granted.APDU)
	if err != nil {
		return err
	}
	done, err := c.ask(controlMessage{Step: "credited", Answer: credited})
	if err == nil && !done.Done {
		err = fmt.Errorf("the server does not say that it is done")
	}
	return err
}

// commandByCommand: the server names every command and gets every answer.
func (c *control) commandByCommand() error {
	next, err := c.ask(controlMessage{Step: "start", Amount: 1_00})
	for err == nil && !next.Done {
		var answer string
		if answer, err = c.say(next.APDU); err == nil {
			next, err = c.ask(controlMessage{Step: next.Step, Answer: answer})
		}
	}
	return err
}

// controlServer is the other side of both controls: it checks MAC1 and TAC and makes
// MAC2 with the card's keys, and keeps nothing but the order that is under way.
type controlServer struct {
	far  *httptest.Server
	keys virtualcard.Keys

	amount, balance uint32
	counter         uint16
	tid             wallet.TerminalNumber
	at              epcrypto.CardTime
}

// ServeHTTP implements http.Handler for one client, which waits for every answer.
func (s *controlServer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var asked, answer controlMessage
	if json.NewDecoder(request.Body).Decode(&asked) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	raw, _ := hex.DecodeString(asked.Answer) // an answer that is not hex is not the card's
	good := true
	switch asked.Step {
	case "order":
		answer.APDU = s.begin(asked.Amount)
	case "start":
		s.begin(asked.Amount)
		answer = controlMessage{Step: "selected", APDU: controlSelect}
	case "selected":
		answer = controlMessage{Step: "read", APDU: controlInfo}
	case "read":
		answer = controlMessage{Step: "balance", APDU: controlBalance}
	case "balance":
		answer = controlMessage{Step: "initialized", APDU: s.initialize()}
	case "initialized":
		answer.Step = "credited by command"
		answer.APDU, good = s.credit(raw)
	case "credited":
		answer.Done, good = true, s.proven(raw)
	case "credited by command":
		answer, good = controlMessage{Step: "end", APDU: controlBalance}, s.proven(raw)
	case "end":
		answer.Done = true
	default:
		good = false
	}
	if !good {
		w.WriteHeader(http.StatusConflict)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // a client that is gone asks no more
}

func (s *controlServer) begin(amount uint32) (initialize string) {
	s.amount, s.tid = amount, wallet.TerminalNumber{}
	_, _ = rand.Read(s.tid[:]) // never fails
	return s.initialize()
}

func (s *controlServer) initialize() string {
	return fmt.Sprintf("805000020B01%08X%s10", s.amount, s.tid)
}

// credit checks the answer to INITIALIZE FOR LOAD (balance 4 ‖ counter 2 ‖ version 1
// ‖ algorithm 1 ‖ random 4 ‖ MAC1 4, status word) and makes CREDIT FOR LOAD.
func (s *controlServer) credit(answer []byte) (string, bool) {
	if len(answer) != 18 {
		return "", false
	}
	s.balance, s.counter = binary.BigEndian.Uint32(answer), binary.BigEndian.Uint16(answer[4:])
	session := epcrypto.LoadSessionKey(s.keys.DLK, [4]byte(answer[8:12]), s.counter)
	want := epcrypto.LoadMAC1(session, s.balance, s.amount, 0x02, s.tid)
	s.at = epcrypto.CardTimeOf(time.Now())
	mac2 := epcrypto.LoadMAC2(session, s.amount, 0x02, s.tid, s.at)
	return "805200000B" + strings.ToUpper(hex.EncodeToString(s.at[:])) + mac2.String() + "04", subtle.ConstantTimeCompare(want[:], answer[12:16]) == 1
}

func (s *controlServer) proven(answer []byte) bool {
	want := epcrypto.LoadTAC(s.keys.DTK, s.balance+s.amount, s.counter, s.amount, 0x02, s.tid, s.at)
	return len(answer) == 6 && subtle.ConstantTimeCompare(want[:], answer[:4]) == 1
}
