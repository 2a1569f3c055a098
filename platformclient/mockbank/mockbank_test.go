package mockbank

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/bankapi"
	"walletcompanion/wallet"
)

const (
	address = "https://bank.test"
	holder  = "张三"
	phone   = "13800000001"
)

func openBank(t *testing.T, dir string) *Bank {
	bank, err := Open(Config{Dir: dir, URL: address})
	require.NoError(t, err)
	t.Cleanup(func() { _ = bank.Close() })
	return bank
}

// ask sends one request as the partner, and verifies what comes back.
func ask(t *testing.T, b *Bank, path string, request any) (told bankapi.Outcome, status int) {
	t.Helper()
	body, err := json.Marshal(request)
	require.NoError(t, err)
	return askRaw(t, b, path, body)
}

func askRaw(t *testing.T, b *Bank, path string, body []byte) (told bankapi.Outcome, status int) {
	t.Helper()
	partner, err := b.Partner()
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, address+path, bytes.NewReader(body))
	require.NoError(t, api.SignRequest(req, body, partner.PrivateKey(), "nonce-1", time.Now()))
	recorder := httptest.NewRecorder()
	b.Handler().ServeHTTP(recorder, req)
	if recorder.Code != http.StatusOK {
		return told, recorder.Code
	}
	var signed wallet.Signed
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &signed))
	keys := wallet.NewSignerKeys(ed25519.PublicKey(partner.AnswerKey))
	require.NoError(t, keys.Open(bankapi.DomainAnswer, signed, &told))
	require.Equal(t, "nonce-1", told.Request)
	return told, recorder.Code
}

func code(t *testing.T, b *Bank) (latest string) {
	require.NoError(t, b.store.update(context.Background(), func(tx *tx) error {
		var sealed []byte
		if _, err := tx.row(`SELECT sealed FROM messages ORDER BY id DESC LIMIT 1`, nil, &sealed); err != nil {
			return err
		}
		plain, err := b.keys.unseal("message", sealed)
		latest, _, _ = strings.Cut(plain, "\n")
		return err
	}))
	return latest
}

// bound gives a token for a new card.
func bound(t *testing.T, b *Bank, balance wallet.Fen) (token, card string) {
	card, err := b.NewCard(t.Context(), holder, phone, balance, false)
	require.NoError(t, err)
	sent, _ := ask(t, b, bankapi.PathBindings, bankapi.BindRequest{Serial: "bind", Card: card, Name: holder, Phone: phone})
	require.Equal(t, bankapi.StateSent, sent.State)
	told, _ := ask(t, b, bankapi.PathBindConfirm, bankapi.BindConfirm{Serial: "confirm", Of: "bind", Code: code(t, b)})
	require.Equal(t, bankapi.StateBound, told.State)
	return told.Token, card
}

func balanced(t *testing.T, b *Bank) CheckReport {
	report, err := b.Check(t.Context())
	require.NoError(t, err)
	require.True(t, report.OK(), "%+v", report)
	return report
}

func TestCardNumbers(t *testing.T) {
	require.Equal(t, byte('3'), luhnDigit("7992739871"), "the example of ISO/IEC 7812-1")
	b := openBank(t, t.TempDir())
	seen := map[string]bool{}
	for i := range 50 {
		number, err := b.NewCard(t.Context(), holder, phone, 0, i%2 == 0)
		require.NoError(t, err)
		require.True(t, validCard(number), number)
		require.False(t, seen[number])
		seen[number] = true
		wrong := []byte(number)
		wrong[3] = '0' + (wrong[3]-'0'+1)%10
		require.False(t, validCard(string(wrong)), "a slip of a finger is noticed")
	}
	for _, bad := range []string{"", "1", "62305112345678901x", strings.Repeat("0", 20)} {
		require.False(t, validCard(bad), bad)
	}
	_, err := b.NewCard(t.Context(), "", phone, 0, false)
	require.ErrorIs(t, err, ErrNewCard)
}

// TestSecretsRest: no number of a card, no code and no token stands in the bank's
// files in clear, and without the key file they cannot be opened.
func TestSecretsRest(t *testing.T) {
	dir := t.TempDir()
	b := openBank(t, dir)
	token, card := bound(t, b, 1000)
	latest := code(t, b)
	require.NoError(t, b.Close())
	files, err := filepath.Glob(filepath.Join(dir, "bank.db*"))
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, secret := range []string{token, card, latest} {
			require.False(t, bytes.Contains(raw, []byte(secret)), file)
		}
	}
	info, err := os.Stat(filepath.Join(dir, fileKeys))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.Remove(filepath.Join(dir, fileKeys)))
	_, err = Open(Config{Dir: dir})
	require.ErrorIs(t, err, ErrNoKeys)
}

// TestTwoBanksShareNoKey: nothing is compiled in.
func TestTwoBanksShareNoKey(t *testing.T) {
	one, err := openBank(t, t.TempDir()).Partner()
	require.NoError(t, err)
	two, err := openBank(t, t.TempDir()).Partner()
	require.NoError(t, err)
	for name, pair := range map[string][2][]byte{
		"answers": {one.AnswerKey, two.AnswerKey}, "gateway": {one.GatewayKey, two.GatewayKey}, "CA": {one.CA, two.CA}, "partner": {one.Key, two.Key},
	} {
		require.NotEqual(t, pair[0], pair[1], name)
	}
}

// TestStrangersAndForms: who is no partner is told nothing, and neither is a request
// of another form.
func TestStrangersAndForms(t *testing.T) {
	b := openBank(t, t.TempDir())
	token, _ := bound(t, b, 1000)
	unsigned := httptest.NewRecorder()
	b.Handler().ServeHTTP(unsigned, httptest.NewRequest(http.MethodPost, address+bankapi.PathQueries, strings.NewReader(`{"serial":"x"}`)))
	require.Equal(t, http.StatusUnauthorized, unsigned.Code)
	_, stranger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	body := []byte(`{"serial":"x"}`)
	req := httptest.NewRequest(http.MethodPost, address+bankapi.PathQueries, bytes.NewReader(body))
	require.NoError(t, api.SignRequest(req, body, stranger, "n", time.Now()))
	foreign := httptest.NewRecorder()
	b.Handler().ServeHTTP(foreign, req)
	require.Equal(t, http.StatusUnauthorized, foreign.Code)
	for name, raw := range map[string]string{
		"no JSON":          `{`,
		"unknown field":    `{"serial":"x","token":"` + token + `","amount":1,"freeze":false,"extra":1}`,
		"two objects":      `{"serial":"x","token":"` + token + `","amount":1,"freeze":false}{}`,
		"bar in serial":    `{"serial":"x|y","token":"` + token + `","amount":1,"freeze":false}`,
		"no serial":        `{"token":"` + token + `","amount":1,"freeze":false}`,
		"amount zero":      `{"serial":"x","token":"` + token + `","amount":0,"freeze":false}`,
		"amount below":     `{"serial":"x","token":"` + token + `","amount":-5,"freeze":false}`,
		"amount too large": `{"serial":"x","token":"` + token + `","amount":99999999999,"freeze":false}`,
	} {
		_, status := askRaw(t, b, bankapi.PathDebits, []byte(raw))
		require.Equal(t, http.StatusBadRequest, status, name)
	}
	_, status := askRaw(t, b, bankapi.PathDebits, bytes.Repeat([]byte(" "), maxBody+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	_, status = ask(t, b, bankapi.PathReversals, bankapi.FollowRequest{Serial: "r", Of: "r"})
	require.Equal(t, http.StatusBadRequest, status, "nothing reverses itself")
	require.Equal(t, wallet.Fen(1000), balanced(t, b).CustomersFen)
}

// TestOnceFromManySides: many callers and two processes ask for one debit at once.
func TestOnceFromManySides(t *testing.T) {
	dir := t.TempDir()
	b, other := openBank(t, dir), openBank(t, dir)
	token, card := bound(t, b, 1000)
	var work sync.WaitGroup
	for i := range 16 {
		work.Go(func() {
			asked := b
			if i%2 == 0 {
				asked = other
			}
			body, _ := json.Marshal(bankapi.DebitRequest{Serial: "one", Token: token, Amount: 300})
			partner, _ := asked.Partner()
			req := httptest.NewRequest(http.MethodPost, address+bankapi.PathDebits, bytes.NewReader(body))
			_ = api.SignRequest(req, body, partner.PrivateKey(), "n", time.Now())
			asked.Handler().ServeHTTP(httptest.NewRecorder(), req)
		})
	}
	work.Wait()
	left, err := b.Balance(t.Context(), card)
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(700), left)
	balanced(t, b)
}

// TestPaymentCodes: a code is for one payment of one amount; a wrong one refuses the
// debit that brought it, three of them end the code.
func TestPaymentCodes(t *testing.T) {
	b := openBank(t, t.TempDir())
	token, _ := bound(t, b, 1000)
	sent, _ := ask(t, b, bankapi.PathCodes, bankapi.CodeRequest{Serial: "k1", Token: token, Amount: 100})
	require.Equal(t, bankapi.StateSent, sent.State)
	right := code(t, b)
	debit := func(serial, of, text string, amount wallet.Fen) bankapi.Outcome {
		told, _ := ask(t, b, bankapi.PathDebits, bankapi.DebitRequest{Serial: serial, Token: token, Amount: amount, CodeOf: of, Code: text})
		return told
	}
	require.Equal(t, bankapi.CodeCodeOld, debit("d1", "k1", right, 101).Code, "of another amount")
	wrong := debit("d2", "k1", "no", 100)
	require.Equal(t, bankapi.CodeWrongCode, wrong.Code)
	require.Equal(t, 2, *wrong.TriesLeft)
	require.Equal(t, bankapi.StatePaid, debit("d3", "k1", right, 100).State)
	require.Equal(t, bankapi.CodeCodeOld, debit("d4", "k1", right, 100).Code, "used")
	require.Equal(t, bankapi.CodeCodeOld, debit("d5", "", right, 100).Code, "of nothing")
	ask(t, b, bankapi.PathCodes, bankapi.CodeRequest{Serial: "k2", Token: token, Amount: 100})
	debit("e1", "k2", "no", 100)
	debit("e2", "k2", "no", 100)
	require.Equal(t, bankapi.CodeCodeLocked, debit("e3", "k2", "no", 100).Code)
	require.Equal(t, bankapi.CodeCodeOld, debit("e4", "k2", code(t, b), 100).Code, "the right one comes too late")
	require.Equal(t, wallet.Fen(900), balanced(t, b).CustomersFen)
}

// TestPage: wrong facts, a credit card, three wrong codes and a second payment are
// refused at the gateway's page.
func TestPage(t *testing.T) {
	b := openBank(t, t.TempDir())
	_, card := bound(t, b, 100_00)
	credit, err := b.NewCard(t.Context(), holder, phone, 0, true)
	require.NoError(t, err)
	order, _ := ask(t, b, bankapi.PathOrders, bankapi.OrderRequest{Serial: "o1", Amount: 60_00, Goods: "<b>x</b>", Expires: time.Now().Add(time.Hour)})
	open := func(method, target string, form url.Values) (int, string) {
		req := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		b.Handler().ServeHTTP(recorder, req)
		return recorder.Code, recorder.Body.String()
	}
	status, page := open(http.MethodGet, order.Page, nil)
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, page, "<b>x</b>", "what others wrote is text")
	query := order.Page[strings.IndexByte(order.Page, '?')+1:]
	facts := func(card, name string) url.Values {
		return url.Values{"ORDER": {query}, "CARD": {card}, "NAME": {name}, "PHONE": {phone}}
	}
	confirm := address + bankapi.PathGatewayPay
	status, _ = open(http.MethodPost, confirm, facts(card, "李四"))
	require.Equal(t, http.StatusForbidden, status)
	status, page = open(http.MethodPost, confirm, facts(credit, holder))
	require.Equal(t, http.StatusForbidden, status)
	require.Contains(t, page, "Credit cards")
	attempt := func() string {
		_, page := open(http.MethodPost, confirm, facts(card, holder))
		found := regexp.MustCompile(`name="ATTEMPT" value="([^"]*)"`).FindStringSubmatch(page)
		require.NotNil(t, found, page)
		return found[1]
	}
	locked := attempt()
	for range maxCodeTries {
		status, _ = open(http.MethodPost, confirm, url.Values{"ATTEMPT": {locked}, "CODE": {"no"}})
		require.Equal(t, http.StatusForbidden, status)
	}
	status, _ = open(http.MethodPost, confirm, url.Values{"ATTEMPT": {locked}, "CODE": {code(t, b)}})
	require.Equal(t, http.StatusForbidden, status, "the right one comes too late")
	first := attempt()
	firstCode := code(t, b)
	second := attempt()
	status, _ = open(http.MethodPost, confirm, url.Values{"ATTEMPT": {second}, "CODE": {code(t, b)}})
	require.Equal(t, http.StatusOK, status)
	status, _ = open(http.MethodPost, confirm, url.Values{"ATTEMPT": {first}, "CODE": {firstCode}})
	require.Equal(t, http.StatusConflict, status, "an order is paid once")
	status, _ = open(http.MethodGet, order.Page, nil)
	require.Equal(t, http.StatusNotFound, status)
	for _, bad := range []string{"", "ATTEMPT=x", "ATTEMPT=/", "ORDER=TXCODE%3DMP6000"} {
		values, err := url.ParseQuery(bad)
		require.NoError(t, err)
		status, _ = open(http.MethodPost, confirm, values)
		require.GreaterOrEqual(t, status, 400, bad)
	}
	require.Equal(t, wallet.Fen(40_00), balanced(t, b).CustomersFen)
}

// TestServe: another port after a restart, and a partner's file for its owner alone.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	var addresses []string
	for range 2 {
		b, err := Open(Config{Dir: dir})
		require.NoError(t, err)
		server, err := b.Serve(t.Context(), "127.0.0.1:0")
		require.NoError(t, err)
		addresses = append(addresses, server.URL)
		raw, err := os.ReadFile(server.PartnerFile)
		require.NoError(t, err)
		partner, err := bankapi.ParsePartner(raw)
		require.NoError(t, err)
		require.Equal(t, server.URL, partner.URL)
		info, err := os.Stat(server.PartnerFile)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NoError(t, server.Close())
		require.NoError(t, server.Close(), "again")
		require.NoError(t, b.Close())
	}
	require.NotEqual(t, addresses[0], addresses[1])
}

// TestFaultsStrikeFromOutside: every name strikes as often as it was armed.
func TestFaultsStrikeFromOutside(t *testing.T) {
	faults := NewFaults()
	require.Error(t, faults.Arm("no such fault", 1))
	struck := 0
	faults.Struck = func() { struck++ }
	for _, fault := range AllFaults {
		require.NoError(t, faults.Arm(fault, 2))
		require.True(t, faults.strikes(fault))
		require.True(t, faults.strikes(fault))
		require.False(t, faults.strikes(fault), fault)
	}
	require.Equal(t, 2*len(AllFaults), struck)
	require.Equal(t, struck, faults.Hits())
}

// TestReleaseOld: what a partner froze and forgot goes back to the customer, once, and a
// capture that comes after all takes nothing.
func TestReleaseOld(t *testing.T) {
	clock := time.Date(2026, 3, 15, 1, 30, 45, 0, time.UTC)
	b, err := Open(Config{Dir: t.TempDir(), URL: address, Freeze: true, Now: func() time.Time { return clock }})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	token, card := bound(t, b, 1000)
	told, _ := ask(t, b, bankapi.PathDebits, bankapi.DebitRequest{Serial: "d1", Token: token, Amount: 300, Freeze: true})
	require.Equal(t, bankapi.StateFrozen, told.State)
	left := func() wallet.Fen {
		balance, err := b.Balance(t.Context(), card)
		require.NoError(t, err)
		return balance
	}
	for _, row := range []struct {
		after    time.Duration
		released int
		left     wallet.Fen
	}{{freezeLife - time.Second, 0, 700}, {2 * time.Second, 1, 1000}, {freezeLife, 0, 1000}} {
		clock = clock.Add(row.after)
		released, err := b.ReleaseOld(t.Context())
		require.NoError(t, err)
		require.Equal(t, row.released, released)
		require.Equal(t, row.left, left())
		balanced(t, b)
	}
	told, _ = ask(t, b, bankapi.PathCaptures, bankapi.FollowRequest{Serial: "c1", Of: "d1", Amount: 300})
	require.Equal(t, bankapi.CodeState, told.Code)
	require.Equal(t, wallet.Fen(1000), left())
}
