package docs

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

func routeTable(t testing.TB, s *source) string {
	var rows [][]string
	for _, op := range operations(t, s) {
		auth := op.auth
		if auth == "" {
			auth = "not served"
		}
		rows = append(rows, []string{op.method, code(op.path), op.request, op.response, auth, op.note})
	}
	return table([]string{"方法 Method", "路径 Path", "请求 Request", "应答 Answer", "发送者 Sender", "说明 Remark"}, rows)
}

// signedObjects lists what is signed: domain, payload and the messages that carry it.
func signedObjects(t testing.TB, s *source) string {
	g := &generator{t: t, s: s}
	var rows [][]string
	for _, domain := range g.domains() {
		var types, carriers []string
		for name, declared := range s.types {
			if slices.Contains(wordsOf(declared.doc), domain) && strings.Contains(declared.doc, "domain") && !carriesSigned(name) {
				types = append(types, name)
			}
		}
		slices.Sort(types)
		for field, payload := range signedFields {
			if slices.Contains(types, payload) {
				carriers = append(carriers, strings.TrimPrefix(strings.TrimPrefix(field, "api."), "wallet."))
			}
		}
		slices.Sort(carriers)
		if len(types) == 0 {
			types = []string{"ShopCallback"}
		}
		rows = append(rows, []string{code(domain), strings.Join(types, ", "), strings.Join(carriers, ", ")})
	}
	require.Greater(t, len(rows), 5)
	return table([]string{"域 Domain", "载荷 Payload", "出现在 Carried in"}, rows)
}

func carriesSigned(name string) bool {
	for field := range signedFields {
		if strings.HasPrefix(field, name+".") {
			return true
		}
	}
	return false
}

// signatureExample signs one request with a published test key and shows every byte
// that goes into the signature. The example is verified before it is shown.
func signatureExample(t testing.TB, _ *source) string {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	key := ed25519.NewKeyFromSeed(seed)
	public := key.Public().(ed25519.PublicKey)
	body := `{"attempt":1,"intent":"settle"}`
	request, err := http.NewRequest(http.MethodPost, "https://platform.example/v1/loads/260315-01-000001/attempts", nil)
	require.NoError(t, err)
	request.Header.Set(api.HeaderIdempotencyKey, "0195f000-0000-7000-8000-000000000001")
	request.Header.Set("Authorization", "Bearer token")
	require.NoError(t, api.SignRequest(request, []byte(body), key, "nonce-of-the-platform", time.Unix(1773538245, 0)))

	input := request.Header.Get("Signature-Input")
	params, found := strings.CutPrefix(input, "wallet=")
	require.True(t, found)
	base := strings.Join([]string{
		`"@method": POST`, `"@authority": platform.example`, `"@path": /v1/loads/260315-01-000001/attempts`, `"@query": ?`,
		`"content-digest": ` + request.Header.Get("Content-Digest"), `"idempotency-key": ` + request.Header.Get(api.HeaderIdempotencyKey),
		`"authorization": Bearer token`, `"wallet-journal": `, `"@signature-params": ` + params,
	}, "\n")
	signature, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(request.Header.Get("Signature"), "wallet="), ":"))
	require.NoError(t, err)
	require.True(t, ed25519.Verify(public, []byte(base), signature), "the example's signature base is not what is signed")

	return table([]string{"", ""}, [][]string{
		{"seed of the test key", code(wallet.Hex(seed).String())}, {"public key", code(wallet.Hex(public).String())},
		{"thumbprint: base64url of SHA-256 of the public key", code(api.Thumbprint(public))}, {"body", code(body)},
	}) + fmt.Sprintf(`
Headers:

%s
Content-Digest: %s
Signature-Input: %s
Signature: %s
%s

Signature base (lines end with LF, the last one with nothing):

%s
%s
%s
`, fence, request.Header.Get("Content-Digest"), input, request.Header.Get("Signature"), fence, fence, base, fence)
}

const fence = "```"

// sealExample shows what a payment seal is bound to.
func sealExample(t testing.TB, _ *source) string {
	core := api.OrderCore{ASN: cardASN, Amount: cardAmount, Fee: 0, Source: "main", Key: "0195f000-0000-7000-8000-000000000001"}
	other := core
	other.Amount++
	require.NotEqual(t, api.OrderCoreHash(core), api.OrderCoreHash(other))
	return table([]string{"asn", "amount", "fee", "source", "key", "info"}, [][]string{{
		code(core.ASN.String()), fmt.Sprint(core.Amount), fmt.Sprint(core.Fee), core.Source, code(core.Key), code(wallet.Hex(api.OrderCoreHash(core)).String()),
	}})
}

// constTable lists the constants of one type with their comments.
func constTable(pkg, typ string, heading []string) part {
	return func(t testing.TB, s *source) string {
		var rows [][]string
		for _, c := range s.consts {
			if c.pkg == pkg && c.typ == typ && c.value != "" {
				rows = append(rows, []string{code(c.value), strings.TrimPrefix(c.comment, "* ")})
			}
		}
		require.NotEmpty(t, rows)
		return table(heading, rows)
	}
}

// stageTable says which stage of the journal may follow which in one kind of order.
func stageTable(kind string) part {
	return func(t testing.TB, s *source) string {
		all := []wallet.Stage{""}
		durable := map[wallet.Stage]bool{}
		for _, c := range s.consts {
			if c.pkg == "wallet" && c.typ == "Stage" {
				all = append(all, wallet.Stage(c.value))
				durable[wallet.Stage(c.value)] = strings.HasPrefix(c.comment, "*")
			}
		}
		reached, rows := map[wallet.Stage]bool{"": true}, [][]string{}
		for queue := []wallet.Stage{""}; len(queue) > 0; queue = queue[1:] {
			from, next := queue[0], []string{}
			for _, to := range all {
				if to == "" || !from.CanFollow(kind, to) {
					continue
				}
				next = append(next, string(to))
				if !reached[to] {
					reached[to] = true
					queue = append(queue, to)
				}
			}
			name := string(from)
			if from == "" {
				name = "(nothing)"
			}
			rows = append(rows, []string{name, strings.Join(next, " "), yes(durable[from]), yes(from.MayHaveMoney()), yes(from.Final())})
		}
		require.Greater(t, len(rows), 10)
		return table([]string{"阶段 Stage", "之后 May be followed by", "先落盘 On disk first", "可能已有授权 A grant may exist", "终态 Final"}, rows)
	}
}

// purchaseTable asks the platform's rules what evidence does to a purchase.
func purchaseTable(testing.TB, *source) string {
	base := rules.Purchase{State: wallet.PurchaseAuthorised, Amount: 150, Probe: probe, ProbeEpoch: 1, Epoch: 1, Floor: 33, Shadow: 1234, ShadowKnown: true}
	purchase := func(change func(*rules.Purchase)) rules.Purchase { p := base; change(&p); return p }
	codes := func(tac, mac2 bool) rules.PurchaseEvidence {
		return rules.PurchaseEvidence{TAC: &rules.TAC{Valid: tac}, MAC2: &rules.MAC2{Valid: mac2}, Counts: true}
	}
	probed := func(balance wallet.Fen) rules.PurchaseEvidence {
		return rules.PurchaseEvidence{MAC1: &rules.MAC1{Terminal: probe, Valid: true, Seq: 33, Balance: balance}, Counts: true}
	}
	cases := []struct {
		what     string
		purchase rules.Purchase
		evidence rules.PurchaseEvidence
	}{
		{"valid TAC and MAC2", base, codes(true, true)},
		{"… the merchant's reservation is gone", purchase(func(p *rules.Purchase) { p.Lapsed = true }), codes(true, true)},
		{"valid TAC alone", base, rules.PurchaseEvidence{TAC: &rules.TAC{Valid: true}, Counts: true}},
		{"wrong TAC", base, codes(false, false)},
		{"MAC1 over the probe, balance as the books expect", base, probed(1234)},
		{"… balance lower by the amount", base, probed(1084)},
		{"… balance lower by less", base, probed(1134)},
		{"MAC1 over another terminal number", base, rules.PurchaseEvidence{MAC1: &rules.MAC1{Terminal: cardTID, Valid: true, Seq: 33, Balance: 1234}, Counts: true}},
		{"nothing of the card", base, rules.PurchaseEvidence{Counts: true}},
		{"valid TAC, purchase NOT_TAKEN", purchase(func(p *rules.Purchase) { p.State = wallet.PurchaseNotTaken }), codes(true, true)},
		{"anything, purchase PAID", purchase(func(p *rules.Purchase) { p.State = wallet.PurchasePaid }), probed(1234)},
	}
	var rows [][]string
	for _, one := range cases {
		d := rules.DecidePurchase(one.purchase, one.evidence, rules.Rules{})
		word := string(d.Cause)
		if word == "" {
			word = d.Code
		}
		rows = append(rows, []string{one.what, string(d.Outcome), d.Evidence, word, yes(d.Alarm)})
	}
	return table([]string{"证据 Evidence", "结果 Outcome", "`evidence`", "原因或代码 Cause or code", "报警 Alarm"}, rows)
}

// evidenceTable asks the platform's own rules what evidence does to an order.
func evidenceTable(testing.TB, *source) string {
	base := rules.Order{
		State: wallet.StateGranted, Attempt: 1, Amount: 5000, Seq: 33, Floor: 33, BalanceKnown: true, BalanceBefore: 1234,
		Probe: probe, ProbeEpoch: 1, GrantEpoch: 1, Epoch: 1, Grants: 1,
	}
	same := rules.MAC1{Terminal: probe, Valid: true, Seq: 33, Balance: 1234}
	loaded := rules.MAC1{Terminal: probe, Valid: true, Seq: 34, Balance: 6234}
	mac := func(m rules.MAC1, intent wallet.Intent) rules.Evidence {
		return rules.Evidence{Attempt: 1, Intent: intent, Payer: true, Counts: true, MAC1: &m}
	}
	tac := func(valid, prove bool) rules.Evidence {
		return rules.Evidence{Attempt: 1, Intent: wallet.IntentSettle, Payer: true, Counts: true, TAC: &rules.TAC{Valid: valid, FromProve: prove}}
	}
	order := func(change func(*rules.Order)) rules.Order { o := base; change(&o); return o }
	changed := func(m rules.MAC1, change func(*rules.MAC1)) rules.MAC1 { change(&m); return m }
	stranger := mac(same, wallet.IntentComplete)
	stranger.Payer = false
	cases := []struct {
		what     string
		order    rules.Order
		evidence rules.Evidence
	}{
		{"valid TAC of CREDIT FOR LOAD", base, tac(true, false)},
		{"valid TAC of GET TRANSACTION PROVE", base, tac(true, true)},
		{"wrong TAC of CREDIT FOR LOAD", base, tac(false, false)},
		{"wrong TAC of GET TRANSACTION PROVE", base, tac(false, true)},
		{"the client's word alone", base, rules.Evidence{Attempt: 1, Intent: wallet.IntentCancel, Payer: true, SaysNo: true}},
		{"MAC1 over the probe, counter unchanged, settle", base, mac(same, wallet.IntentSettle)},
		{"… complete, by the payer", base, mac(same, wallet.IntentComplete)},
		{"… complete, by somebody else", base, stranger},
		{"… complete, payer's account frozen", order(func(o *rules.Order) { o.CompleteRefused = api.CodeAccountState }), mac(same, wallet.IntentComplete)},
		{"… cancel", base, mac(same, wallet.IntentCancel)},
		{"MAC1 over the probe, counter + 1", base, mac(loaded, wallet.IntentCancel)},
		{"… counter + 2", base, mac(changed(loaded, func(m *rules.MAC1) { m.Seq++ }), wallet.IntentSettle)},
		{"… counter below that of the grant", base, mac(changed(same, func(m *rules.MAC1) { m.Seq-- }), wallet.IntentSettle)},
		{"… counter unchanged, but more money", base, mac(changed(same, func(m *rules.MAC1) { m.Balance += 5000 }), wallet.IntentCancel)},
		{"… counter + 1, card whose purchases move it too, balance higher", order(func(o *rules.Order) { o.SharedCounter = true }), mac(loaded, wallet.IntentSettle)},
		{"… counter + 1, such a card, balance not higher", order(func(o *rules.Order) { o.SharedCounter = true }),
			mac(changed(loaded, func(m *rules.MAC1) { m.Balance = 1000 }), wallet.IntentSettle)},
		{"… counter + 1, but the grant is older than a restore", order(func(o *rules.Order) { o.Epoch, o.ProbeEpoch = 2, 2 }), mac(loaded, wallet.IntentSettle)},
		{"… the same random as before under this counter", base, mac(changed(same, func(m *rules.MAC1) { m.RepeatedRandom = true }), wallet.IntentCancel)},
		{"MAC1 over another terminal number", base, mac(changed(same, func(m *rules.MAC1) { m.Terminal = cardTID }), wallet.IntentCancel)},
		{"MAC1 over a probe of before a restore", order(func(o *rules.Order) { o.Epoch = 2 }), mac(same, wallet.IntentCancel)},
		{"wrong MAC1, up to the fourth", base, mac(changed(same, func(m *rules.MAC1) { m.Valid = false }), wallet.IntentCancel)},
		{"wrong MAC1, the fifth", order(func(o *rules.Order) { o.Wrongs = rules.MaxWrong - 1 }), mac(changed(same, func(m *rules.MAC1) { m.Valid = false }), wallet.IntentCancel)},
		{"anything, order LOADED", order(func(o *rules.Order) { o.State = wallet.StateLoaded }), mac(same, wallet.IntentCancel)},
		{"valid TAC, order VOIDED", order(func(o *rules.Order) { o.State = wallet.StateVoided }), tac(true, false)},
	}
	var rows [][]string
	for _, one := range cases {
		d := rules.Decide(one.order, one.evidence, rules.Rules{})
		word := string(d.Cause)
		if word == "" {
			word = d.Code
		}
		rows = append(rows, []string{one.what, string(d.Outcome), d.Evidence, word, yes(d.Alarm)})
	}
	return table([]string{"证据 Evidence", "结果 Outcome", "`evidence`", "原因或代码 Cause or code", "报警 Alarm"}, rows)
}

var platformTimes = bounds([]string{"时限 Time", "值 Value"}, [][2]string{
	{"client: connection", "platformclient.connectTimeout"},
	{"client: TLS handshake", "platformclient.tlsTimeout"},
	{"client: answer to a request for a grant or to evidence, then one repetition under the same key", "platformclient.moneyTimeout"},
	{"client: answer to everything else", "platformclient.answerTimeout"},
	{"nonce", "mockplatform.nonceLife"},
	{"access token", "mockplatform.accessLife"},
	{"refresh token, usable once", "mockplatform.refreshLife"},
	{"leased terminal number", "mockplatform.leaseLife"},
	{"policy", "mockplatform.policyLife"},
	{"code by SMS", "mockplatform.smsLife"},
	{"another code by SMS for the same purpose", "mockplatform.smsResendAfter"},
	{"lock after five wrong login passwords", "mockplatform.loginLock"},
	{"open order without any evidence becomes SUSPENSE", "mockplatform.orderAge"},
	{"client: a grant may be used", "wallet.grantUsable"},
	{"client: INITIALIZE to CREDIT", "wallet.initToCredit"},
})
