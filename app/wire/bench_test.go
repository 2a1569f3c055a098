package wire_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// rounds is how often a time is measured; odd, so that there is a median.
const rounds = 51

// benchLine prints one line of the table that `./dev bench` collects:
// measure|value|baseline|ratio or median|spread|aim.
func benchLine(cells ...any) {
	line := "bench: "
	for i, cell := range cells {
		if i > 0 {
			line += "|"
		}
		line += fmt.Sprint(cell)
	}
	fmt.Println(line)
}

func onlyBench(t *testing.T) {
	t.Helper()
	if os.Getenv("WALLET_BENCH") != "1" {
		t.Skip("a measurement: run ./dev bench")
	}
}

// TestBench_Requests counts, in the transport and on the card, what the flows cost.
// Counts are hard claims: a wrong one fails.
func TestBench_Requests(t *testing.T) {
	onlyBench(t)
	count := func(name string, got, want any) {
		t.Helper()
		benchLine(name, got, "-", "-", "-", want)
		require.Equal(t, want, got, name)
	}
	pair := func(requests, waited int) string { return fmt.Sprintf("%d, %d waited for", requests, waited) }

	card := fullCard(t, t.TempDir())
	program, err := wire.Open(t.Context(), wire.Options{Reader: "virtual:" + card, ProfileDir: t.TempDir()})
	require.NoError(t, err)
	result, err := program.Core.Query(t.Context(), nil)
	program.Close()
	require.NoError(t, err)
	require.Len(t, result.Reading.Purses[0].Records, 10)
	count("card commands of an offline reading with ten records", result.Reading.APDUs, 13)
	count("card commands until the balance is known", result.Reading.APDUsToBalance, 2)

	w := newWorld(t)
	w.newCard(virtualcard.Standard)
	program = w.open(w.profile, "")
	loaded, err := topUp(program, amount)
	program.Close()
	require.NoError(t, err)
	count("requests of a top-up", pair(loaded.Requests, loaded.RequestsWaited), pair(2, 1))

	for _, row := range []struct {
		name, fault      string
		requests, waited int
	}{
		{"requests of a sync, money on the card", "credit-answer-lost", 1, 1},
		{"requests of a sync that completes the load", "credit-torn", 2, 1},
	} {
		program = w.open(w.profile, row.fault)
		_, err = topUp(program, amount)
		program.Close()
		require.Error(t, err)
		program = w.open(w.profile, "")
		lines, err := settle(program, wallet.IntentComplete)
		program.Close()
		require.NoError(t, err)
		require.Len(t, lines, 1)
		count(row.name, pair(lines[0].Requests, lines[0].RequestsWaited), pair(row.requests, row.waited))
	}
	_, books := w.books()
	require.Equal(t, w.chip().Balance, books.ExpectedBalanceFen)
}

// TestBench_Elapsed measures a reading and a top-up beside what they cannot do
// without: the card's own time, and one bare HTTPS request to the same platform.
func TestBench_Elapsed(t *testing.T) {
	onlyBench(t)
	program, card, hello := servedProgram(t)

	var reading, bare, topup, request []time.Duration
	commands := transcript(t, program)
	for range rounds { // in turns, so that both sides see the same machine
		result, err := program.Core.Query(t.Context(), nil)
		require.NoError(t, err)
		reading = append(reading, result.Elapsed)
		bare = append(bare, replay(t, card, commands))

		began := time.Now()
		hello()
		request = append(request, time.Since(began))

		loaded, err := topUp(program, 1_00)
		require.NoError(t, err)
		topup = append(topup, loaded.Elapsed)
	}
	compare("offline reading of a virtual card, ten records", reading, "the same commands, bare chip", bare)
	compare("top-up, from confirmation to success", topup, "one bare GET /v1/hello over TLS", request)
}

// compare prints medians, and the median of the ratios of each turn with the range
// that eight of ten turns lie in.
func compare(name string, ours []time.Duration, baseline string, base []time.Duration) {
	ours, base = slices.Clone(ours), slices.Clone(base)
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = float64(ours[i]) / float64(base[i])
	}
	slices.Sort(ratios)
	slices.Sort(ours)
	slices.Sort(base)
	n := len(ours)
	benchLine(name, milliseconds(ours[n/2]), milliseconds(base[n/2])+" ("+baseline+")", fmt.Sprintf("%.2f", ratios[n/2]),
		fmt.Sprintf("%.2f…%.2f", ratios[n/10], ratios[n-1-n/10]), "-")
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

// servedProgram is a program that talks to a platform with generous limits, and a
// function that asks the same platform for its greeting over a warm connection.
func servedProgram(t *testing.T) (program *wire.Program, card string, hello func()) {
	return servedBehind(t, func(url string) string { return url })
}

// servedBehind lets the program reach the platform by another address.
func servedBehind(t *testing.T, address func(url string) string) (program *wire.Program, card string, hello func()) {
	t.Helper()
	dir := t.TempDir()
	policy := mockplatform.DefaultPolicy()
	policy.Limits = api.Limits{PurseCap: 1 << 30, LoadMin: 1, LoadMax: 1000}
	platform, err := mockplatform.Open(mockplatform.Config{Dir: filepath.Join(dir, "platform"), Demo: true, Policy: &policy})
	require.NoError(t, err)
	t.Cleanup(func() { platform.Close() })
	asn := wallet.ASN{2: 0x20, 9: 0x77}
	require.NoError(t, platform.Seed(t.Context(), "13700000000", math.MaxInt32, []wallet.ASN{asn}, ""))
	exported, err := platform.IssueCard(t.Context(), asn)
	require.NoError(t, err)
	card = servedCard(t, dir, asn, exported)
	server, err := platform.Serve(context.WithoutCancel(t.Context()), "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })

	program, err = wire.Open(t.Context(), wire.Options{
		Reader: "virtual:" + card, Platform: address(server.URL), CA: server.ProfileFile, ProfileDir: filepath.Join(dir, "profile"),
		DemoCredentials: true, Online: true,
	})
	require.NoError(t, err)
	t.Cleanup(program.Close)
	demo := program.DemoCredentials()
	require.NoError(t, program.Core.Login(t.Context(), "13700000000", demo.LoginPassword,
		func(context.Context, string) (string, error) { return demo.SMSCode, nil }))
	return program, card, bareRequest(t, platform.Profile().CA, server.URL+api.PathHello)
}

// servedCard makes the file of a card with keys that the platform exported.
func servedCard(t *testing.T, dir string, asn wallet.ASN, exported mockplatform.CardKeys) string {
	t.Helper()
	raw, err := json.Marshal(exported)
	require.NoError(t, err)
	_, keys, err := virtualcard.ParseKeys(raw)
	require.NoError(t, err)
	// Its log is full, its opening balance is what the books begin with: nothing.
	card, err := virtualcard.New(virtualcard.Spec{ASN: asn, Records: 10, Keys: &keys}, rand.Reader)
	require.NoError(t, err)
	image, err := card.Image()
	require.NoError(t, err)
	file := filepath.Join(dir, "card.json")
	require.NoError(t, os.WriteFile(file, image, 0o600))
	return file
}

func bareRequest(t *testing.T, ca *x509.Certificate, url string) func() {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	t.Cleanup(client.CloseIdleConnections)
	ask := func() {
		response, err := client.Get(url)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, http.StatusOK, response.StatusCode)
	}
	ask() // the connection stays
	return ask
}

// transcript is what one reading says to the card.
func transcript(t *testing.T, program *wire.Program) (commands [][]byte) {
	t.Helper()
	var lines []wallet.TraceLine
	program.Core.Trace = func(line wallet.TraceLine) { lines = append(lines, line) }
	_, err := program.Core.Query(t.Context(), nil)
	program.Core.Trace = nil
	require.NoError(t, err)
	for _, line := range lines {
		command, err := hex.DecodeString(line.Command)
		require.NoError(t, err)
		commands = append(commands, command)
	}
	require.NotEmpty(t, commands)
	return commands
}

// replay says the commands to the chip itself, without reader, guard or parser.
func replay(t *testing.T, file string, commands [][]byte) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	chip, err := virtualcard.Parse(raw)
	require.NoError(t, err)
	_, err = chip.PowerOn()
	require.NoError(t, err)
	began := time.Now()
	for _, command := range commands {
		_, err := chip.Transmit(command)
		require.NoError(t, err)
	}
	return time.Since(began)
}
