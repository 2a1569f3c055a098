package mockplatform

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// memoryVault keeps a client's secrets for one test.
type memoryVault struct {
	mu     sync.Mutex
	values map[string][]byte
	leases map[wallet.TerminalNumber]wallet.Lease
	used   map[wallet.TerminalNumber]bool
}

func newMemoryVault() *memoryVault {
	return &memoryVault{
		values: map[string][]byte{}, leases: map[wallet.TerminalNumber]wallet.Lease{}, used: map[wallet.TerminalNumber]bool{},
	}
}

func (v *memoryVault) Get(_ context.Context, name string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.values[name], nil
}

func (v *memoryVault) Put(_ context.Context, name string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.values[name] = value
	return nil
}

func (v *memoryVault) PutLeases(_ context.Context, leases []wallet.Lease) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, lease := range leases {
		v.leases[lease.TID] = lease
	}
	return nil
}

func (v *memoryVault) TakeLease(_ context.Context, epoch int, now time.Time) (wallet.Lease, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, lease := range v.leases {
		if !v.used[lease.TID] && lease.Epoch == epoch && lease.Expires.After(now) {
			v.used[lease.TID] = true
			return lease, nil
		}
	}
	return wallet.Lease{}, errors.New("no lease")
}

func (v *memoryVault) LeaseCount(_ context.Context, epoch int, now time.Time) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	free := slices.DeleteFunc(slices.Collect(maps.Values(v.leases)), func(lease wallet.Lease) bool {
		return v.used[lease.TID] || lease.Epoch != epoch || !lease.Expires.After(now)
	})
	return len(free), nil
}

// connect starts a server and gives the real client that reads its profile file.
func connect(t *testing.T, w *world) *platformclient.Client {
	t.Helper()
	server, err := w.p.Serve(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	file, err := os.ReadFile(server.ProfileFile)
	require.NoError(t, err)
	profile, err := api.ParseProfile(file)
	require.NoError(t, err)
	require.Equal(t, server.URL, profile.URL)
	require.True(t, profile.Complete())
	client, err := platformclient.New(platformclient.Config{
		Profile: profile, Vault: newMemoryVault(), Version: "1.0.0", DeviceName: "test", Now: func() time.Time { return w.clock },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		client.Close()
		require.NoError(t, server.Close())
	})
	sms := func(context.Context, string) (string, error) { return profile.DemoCredentials.SMSCode, nil }
	require.NoError(t, client.Login(t.Context(), testPhone, profile.DemoCredentials.LoginPassword, sms))
	return client
}

func TestServer_RealClientTopsUpOverTLS(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 1000})
	client := connect(t, w)
	before := client.Requests()
	credentials := w.p.Profile().DemoCredentials
	issuer := client.Issuer(func(context.Context) (string, error) { return credentials.PaymentPassword, nil })

	lease, err := client.TakeLease(t.Context())
	require.NoError(t, err)
	order := wallet.Order{Key: w.newKey(), ASN: k.ASN(), Amount: 5000, Source: "main"}
	open := k.open(client.Session().Scripts[profilePBOC], order.Amount, lease.TID)
	verdict, err := issuer.RequestLoad(t.Context(), wallet.LoadAsk{Order: order, Profile: profilePBOC, KeyIndex: 1, TID: lease.TID, Steps: open.Steps})
	require.NoError(t, err)
	require.NotNil(t, verdict.Granted)
	var grant wallet.Grant
	require.NoError(t, client.Session().Signers.Open(wallet.DomainGrant, verdict.Granted.Grant, &grant))
	step, err := k.credit(verdict.Granted)
	require.NoError(t, err)
	state, _, err := client.Result(t.Context(), wallet.Entry{
		Key: order.Key, Order: grant.Order, Attempt: 1, ASN: order.ASN, Amount: order.Amount, Source: order.Source,
		Steps: []wallet.StepResult{step}, Executed: 1, TAC: step.Data, BalanceAfter: 6000, Grant: &verdict.Granted.Grant,
	})
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, state.State)
	require.Equal(t, 2, client.Requests()-before)

	account, err := client.Account(t.Context())
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(495000), account.Main)
	require.Equal(t, wallet.Fen(5000), account.LoadedToday)
	statement, err := client.FindStatement(t.Context(), api.Selection{})
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(495000), statement.Lines[0].Balance)
	require.Equal(t, "load-hold", statement.Lines[0].Type)
	orders, err := client.Orders(t.Context())
	require.NoError(t, err)
	require.Len(t, orders.Orders, 1)
	require.Equal(t, step.Data, orders.Orders[0].ReceiptBody.TAC)
	cards, err := client.Cards(t.Context())
	require.NoError(t, err)
	require.Len(t, cards, 1)
	shown, err := client.Load(t.Context(), grant.Order)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, shown.State)
	w.check()
}

func TestServer_RealClientSettlesAndAbandons(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{})
	client := connect(t, w)
	_, grant := torn(w, w.teller(testPhone), k, virtualcard.After)
	found, err := client.Pending(t.Context(), k.ASN())
	require.NoError(t, err)
	require.Equal(t, grant.ProbeTID, found[0].ProbeTID)
	open := k.open(client.Session().Scripts[profilePBOC], grant.Amount, grant.ProbeTID)
	verdict, err := client.Issuer(nil).Settle(t.Context(), wallet.Evidence{Order: found[0], Intent: wallet.IntentSettle, Steps: open.Steps})
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, verdict.State.State)
	state, err := client.Abandon(t.Context(), w.newKey())
	require.NoError(t, err)
	require.Equal(t, api.CodeAbandoned, state.Code)
	w.check()
}

func TestServer_RealClientAddsACard(t *testing.T) {
	w := newWorld(t)
	k := w.card(serial, virtualcard.Spec{Balance: 1234})
	w.exec(`UPDATE cards SET user = '', state = 'ISSUED'`)
	client := connect(t, w)
	lease, err := client.TakeLease(t.Context())
	require.NoError(t, err)
	open := k.open(client.Session().Scripts[profilePBOC], 1, lease.TID)
	added, err := client.AddCard(t.Context(), api.CardRequest{ASN: k.ASN(), Profile: profilePBOC, Open: *open})
	require.NoError(t, err)
	require.Equal(t, cardActive, added.State)
	require.Equal(t, wallet.Fen(1234), w.check().Cards[0].ExpectedBalanceFen)
}

func TestServer_SpeaksTLS13Only(t *testing.T) {
	w := newWorld(t)
	server, err := w.p.Serve(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Close()) }()
	address := server.URL[len("https://"):]
	_, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}) //nolint:gosec // the refusal is what is tested
	require.Error(t, err)
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // only the pin is looked at
	require.NoError(t, err)
	defer connection.Close()
	require.Equal(t, w.p.Profile().SPKI[0], api.SPKIHash(connection.ConnectionState().PeerCertificates[0]))
}

func TestKeys_DirectoryWithoutItsKeyFileOpensNothing(t *testing.T) {
	w := newWorld(t)
	first := w.p.Profile()
	w.reopen()
	require.Equal(t, first, w.p.Profile(), "the keys are those of the first start")
	require.NoError(t, w.p.Close())
	if runtime.GOOS != "windows" {
		for _, name := range []string{fileKey, fileSecrets} {
			info, err := os.Stat(filepath.Join(w.dir, name))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
		}
	}
	require.NoError(t, os.Remove(filepath.Join(w.dir, fileKey)))
	_, err := Open(Config{Dir: w.dir, Demo: true})
	require.ErrorIs(t, err, ErrNoKeyFile)
	require.NoError(t, writeSecret(filepath.Join(w.dir, fileKey), []byte("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")))
	_, err = Open(Config{Dir: w.dir, Demo: true})
	require.ErrorContains(t, err, "does not open")
}

func TestKeys_NoTwoPlatformsShareAny(t *testing.T) {
	one, other := newWorld(t), newWorld(t)
	require.NotEqual(t, one.p.Profile().HPKE, other.p.Profile().HPKE)
	require.NotEqual(t, one.p.Profile().DemoCredentials, other.p.Profile().DemoCredentials)
	asn, err := wallet.ParseASN(serial)
	require.NoError(t, err)
	a, err := one.p.IssueCard(t.Context(), asn)
	require.NoError(t, err)
	b, err := other.p.IssueCard(t.Context(), asn)
	require.NoError(t, err)
	require.NotEqual(t, a.DLK, b.DLK)
}

func TestHSM_KeysLeaveADemoOnly(t *testing.T) {
	p, err := Open(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	defer p.Close()
	require.Nil(t, p.Profile().DemoCredentials)
	asn, err := wallet.ParseASN(serial)
	require.NoError(t, err)
	_, err = p.IssueCard(t.Context(), asn)
	require.ErrorIs(t, err, ErrNotDemo)
	require.ErrorIs(t, p.Seed(t.Context(), testPhone, 0, nil, ""), ErrNotDemo)
	require.ErrorIs(t, p.AdoptCard(t.Context(), testPhone, asn, CardKeys{}, 0, profilePBOC), ErrNotDemo)
}

func TestAdmin_AdoptsACardWithKeysOfItsOwn(t *testing.T) {
	w := newWorld(t)
	asn, err := wallet.ParseASN("6210000199999999")
	require.NoError(t, err)
	made, err := virtualcard.New(virtualcard.Spec{ASN: asn, Balance: 4321}, repeatingNot{})
	require.NoError(t, err)
	k := &chip{t: t, Card: made}
	keys := k.Keys()
	export := CardKeys{DLK: wallet.Hex(keys.DLK[:]).String(), DPK: wallet.Hex(keys.DPK[:]).String(), DTK: wallet.Hex(keys.DTK[:]).String()}
	for range 2 { // a second time changes nothing
		require.NoError(t, w.p.AdoptCard(t.Context(), testPhone, asn, export, 4321, profilePBOC))
	}
	c := w.teller(testPhone)
	granted, grant := c.order(k, 5000).init().granted()
	step, err := k.credit(granted)
	require.NoError(t, err)
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.result(grant, nil, step)).State)
	require.Equal(t, wallet.Fen(9321), w.check().Cards[0].ExpectedBalanceFen)

	// The database holds no key in clear.
	database, err := os.ReadFile(filepath.Join(w.dir, fileDatabase+"-wal"))
	require.NoError(t, err)
	require.NotContains(t, string(database), string(keys.DLK[:]))
}

func TestAdmin_WorksBesideAServingProcess(t *testing.T) {
	w := newWorld(t)
	other, err := Open(Config{Dir: w.dir, Now: func() time.Time { return w.clock }})
	require.NoError(t, err)
	defer other.Close()
	asn, err := wallet.ParseASN(serial)
	require.NoError(t, err)
	keys, err := other.IssueCard(t.Context(), asn)
	require.NoError(t, err)
	require.NoError(t, other.Seed(t.Context(), "13600000000", 7000, []wallet.ASN{asn}, ""))
	made, err := virtualcard.New(virtualcard.Spec{ASN: asn, Keys: parseKeys(t, keys)}, repeatingNot{})
	require.NoError(t, err)
	c := w.teller("13600000000")
	c.order(&chip{t: t, Card: made}, 5000).init().granted()
	report, err := other.Check(t.Context())
	require.NoError(t, err)
	require.True(t, report.OK())
	require.Equal(t, 1, report.OpenOrders)
}
