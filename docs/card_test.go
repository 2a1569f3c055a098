package docs

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

// The tables of card-interface.md are made by asking the real guard: each command
// is put before it in every kind of session, prepared so that nothing else is in
// its way, and what the guard does stands in the table.

const (
	cardAmount = wallet.Fen(5000)
	cardPrice  = wallet.Fen(150)
	cardSeq    = 0x0021
)

var (
	cardASN = wallet.ASN{0, 0, 0x62, 0x10, 0, 0, 0x12, 0x34, 0x56, 0x78}
	cardTID = wallet.TerminalNumber{0xC1, 1, 2, 3, 4, 5}
	probe   = wallet.TerminalNumber{0xC1, 5, 4, 3, 2, 1}
)

// signerSeed makes the key of the platform that these tables speak of; it signs
// nothing else.
var signerSeed = make([]byte, ed25519.SeedSize)

// conversation is a guard over a chip, in one kind of session.
type conversation struct {
	t     testing.TB
	guard *wallet.Guard
	tid   wallet.TerminalNumber
	grant *wallet.Grant   // what an accepted grant says; nil: none
	pay   *wallet.Payment // of a purchase
}

// sessionKind is one column of the tables.
type sessionKind struct {
	name string
	open func(t testing.TB, card wallet.Card) *conversation
}

func sessionKinds() []sessionKind {
	profile, _ := wallet.ProfileByName("pboc-ep")
	order := wallet.Order{Key: "K", ASN: cardASN, Amount: cardAmount, Source: "main"}
	pending := wallet.OpenOrder{Order: "N", ASN: cardASN, Attempt: 1, Seq: cardSeq, Amount: cardAmount, ProbeTID: probe, Epoch: 1, State: wallet.StateGranted}
	grant := wallet.Grant{Order: "N", ASN: cardASN, Amount: cardAmount, Source: "main", Key: "K", Attempt: 1, TID: cardTID, Seq: cardSeq,
		ProbeTID: probe, Epoch: 1, NotAfterS: 60}
	again := grant
	again.Attempt, again.TID, again.ProbeTID = 2, probe, wallet.TerminalNumber{0xC1, 9}
	payment := wallet.Payment{Key: "K", ASN: cardASN, Amount: cardPrice, MerchantOrder: "M", Merchant: "Tea House", Goods: "tea"}
	unpaid := wallet.OpenPurchase{Purchase: "P", ASN: cardASN, Amount: cardPrice, Number: cardSeq, Type: wallet.TypePurchaseEP, ProbeTID: probe, Epoch: 1}
	return []sessionKind{
		{"query", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewQueryGuard(card, nil)}
		}},
		{"view", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewViewGuard(card, nil)}
		}},
		{"load", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewLoadGuard(card, profile, order, cardTID, 1, nil), tid: cardTID, grant: &grant}
		}},
		{"add card", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewProbeGuard(card, profile, cardASN, cardTID, nil), tid: cardTID, grant: &grant}
		}},
		{"sync", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewSyncGuard(card, profile, pending, wallet.Entry{}, 1, nil), tid: probe, grant: &again}
		}},
		{"purchase", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewPurchaseGuard(card, profile, payment, cardTID, 1, nil), tid: cardTID, pay: &payment}
		}},
		{"settle purchase", func(t testing.TB, card wallet.Card) *conversation {
			return &conversation{t: t, guard: wallet.NewPurchaseSettleGuard(card, profile, unpaid, nil), tid: probe}
		}},
	}
}

// prepared brings a conversation to where a command could be right.
type prepared int

const (
	fresh    prepared = iota
	selected          // SELECT and SFI 15 were answered
	pinTyped          // and the person has typed a PIN
	opened            // and INITIALIZE FOR LOAD was answered
	granted           // and the platform's grant has passed
)

func (k sessionKind) start(t testing.TB, to prepared) *conversation {
	chip := wallettest.NewChip(cardASN, 1234, 3)
	chip.Seq = cardSeq
	c := k.open(t, chip)
	if to >= selected {
		c.send("00A4040009A0000000038698070100")
		c.send("00B095001E")
	}
	if to == pinTyped {
		c.guard.AllowPIN([]byte{0x12, 0x34, 0x56}, 0)
	}
	if to >= opened && c.tid != (wallet.TerminalNumber{}) {
		c.send(c.opening())
	}
	if to == granted {
		c.accept()
	}
	return c
}

// opening is the INITIALIZE with which this session begins.
func (c *conversation) opening() string {
	if c.pay != nil {
		return payOpening
	}
	return c.initialize()
}

// accept lets the platform's grant pass, where the session takes one.
func (c *conversation) accept() {
	signers := wallet.NewSignerKeys(signer().Public().(ed25519.PublicKey))
	if c.pay != nil {
		_, err := c.guard.AcceptPurchase(c.authorised(), signers, time.Now())
		require.NoError(c.t, err)
		return
	}
	if c.grant != nil {
		_, _ = c.guard.Accept(c.granted(), signers, time.Now()) // adding a card takes none
	}
}

// authorised signs the debit of this conversation's INITIALIZE FOR PURCHASE.
func (c *conversation) authorised() wallet.PurchaseGrantedScript {
	init, fresh := c.guard.PurchaseInit()
	require.True(c.t, fresh)
	script := json.RawMessage(`[{"apdu":"` + debitExample + `","once":true},{"apdu":"805C000204"}]`)
	sum := sha256.Sum256(script)
	signed, err := wallet.Sign(wallet.DomainPurchaseGrant, wallet.PurchaseGrant{
		Purchase: "P", Key: c.pay.Key, ASN: c.pay.ASN, Amount: c.pay.Amount, MerchantOrder: c.pay.MerchantOrder, Merchant: c.pay.Merchant,
		Goods: c.pay.Goods, Terminal: c.tid, TerminalSerial: 7, Number: init.Number, Random: init.Raw[11:], Balance: init.Balance,
		ProbeTID: probe, Epoch: 1, NotAfterS: 60, ScriptSHA256: sum[:],
	}, signer())
	require.NoError(c.t, err)
	return wallet.PurchaseGrantedScript{Grant: signed, Script: script}
}

const (
	payOpening   = "805001020B0100000096C101020304050F"
	debitExample = "805401000F0000000720260315093045AABBCCDD08"
)

func signer() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(signerSeed) }

// initialize is INITIALIZE FOR LOAD as this session may send it; adding a card takes
// 1 fen.
func (c *conversation) initialize() string {
	amount := cardAmount
	if c.tryInitialize(1) {
		amount = 1
	}
	return fmt.Sprintf("805000020B01%08X%s10", int64(amount), c.tid)
}

// tryInitialize asks the guard alone: a cancelled context sends nothing.
func (c *conversation) tryInitialize(amount wallet.Fen) bool {
	raw := unhex(c.t, fmt.Sprintf("805000020B01%08X%s10", int64(amount), c.tid))
	return c.allows(raw)
}

func (c *conversation) granted() wallet.GrantedScript {
	issuer := wallettest.Issuer{Key: signer()}
	return issuer.Sign(*c.grant, []wallet.Step{{APDU: creditExample, Expect: []string{"9000"}, Once: true}, {APDU: "805C000204"}})
}

const creditExample = "805200000B20260315093045AABBCCDD04"

func (c *conversation) send(apdu string) {
	command, err := wallet.ParseCommand(unhex(c.t, apdu))
	require.NoError(c.t, err)
	_, err = c.guard.Send(c.t.Context(), command)
	require.NoError(c.t, err, apdu)
}

// ask puts a command before the guard without sending it.
func (c *conversation) ask(raw []byte) error {
	command, err := wallet.ParseCommand(raw)
	if err != nil {
		return err
	}
	_, err = c.guard.Send(cancelled(), command)
	return err
}

// allows reports whether the command would have been sent.
func (c *conversation) allows(raw []byte) bool {
	return wallet.CodeOf(c.ask(raw)) == wallet.CodeCancelled
}

func unhex(t testing.TB, text string) []byte {
	raw, err := hex.DecodeString(text)
	require.NoError(t, err, text)
	return raw
}

// apduForm is one line of the table of commands.
type apduForm struct {
	form    string // as people write it
	example string // {init} stands for the session's own INITIALIZE FOR LOAD
	answer  string
	need    prepared
	remark  string
}

var apduForms = []apduForm{
	{"00 A4 04 00 Lc ‹AID› [00]", "00A4040009A0000000038698070100", "FCI: 6F … 84 ‹AID› A5 … [9F0C ‹SFI 15›]", fresh,
		"Full names of the table of profiles only, in a view of whatever the card's directory lists. 6700: tried once more without (with) Le."},
	{"00 A4 00 00 02 ‹3F00 or 1001› [00]", "00A40000023F00", "FCI or nothing", fresh, "Old cards whose purse has no name."},
	{"00 B0 95 00 ‹Le›", "00B095001E", "SFI 15: 28 to 34 bytes", selected, "Public basic information; 80 + SFI in P1."},
	{"00 B2 ‹record› ‹SFI·8+4› ‹Le›", "00B201C417", "one record of 23 bytes", selected, "Record 1 is the newest; log files of the profile only, in a view any file."},
	{"80 5C 00 02 04", "805C000204", "balance 4", selected, "P2 02 is the electronic purse; 01, the electronic deposit, in a query only."},
	{"80 CA ‹tag 2› 00", "80CA9F1700", "tag, length, value", selected, "9F79 9F4D 9F4F 9F36 9F13 9F17, in a view: electronic cash, counters, PIN tries."},
	{"00 20 00 00 Lc ‹PIN 2…6›", "0020000003123456", "–", pinTyped, "Typed by the person in this session, once, never on the last try."},
	{"80 50 00 02 0B ‹key 1›‹amount 4›‹terminal 6› 10", "{init}", "balance 4 ‖ online counter 2 ‖ key version 1 ‖ algorithm 1 ‖ random 4 ‖ MAC1 4", selected,
		"Amount and terminal as confirmed, on the card that was confirmed; once, and once more only after the PIN that it asked for. 1 fen when a card is added."},
	{"80 52 00 00 0B ‹date 4›‹time 3›‹MAC2 4› [04]", creditExample, "TAC 4", granted, "The command of an accepted grant, directly after the INITIALIZE that it answers. Never repeated."},
	{"80 50 01 02 0B ‹key 1›‹amount 4›‹terminal 6› 0F", payOpening, "balance 4 ‖ offline counter 2 ‖ overdraft limit 3 ‖ key version 1 ‖ algorithm 1 ‖ random 4", selected,
		"As the person confirmed, with a leased terminal number, once."},
	{"80 54 01 00 0F ‹terminal serial 4›‹date 4›‹time 3›‹MAC1 4› [08]", debitExample, "TAC 4 ‖ MAC2 4", granted,
		"The command of an accepted purchase grant, directly after the INITIALIZE that it answers. Never repeated."},
	{"80 5A 00 06 02 ‹counter 2› 08", fmt.Sprintf("805A000602%04X08", cardSeq+1), "MAC2 4 ‖ TAC 4", selected,
		"Settling a purchase; 09 in place of 06 on profiles that log composite purchases."},
	{"80 5A 00 02 02 ‹counter 2› 08", fmt.Sprintf("805A000202%04X08", cardSeq+1), "MAC 4 ‖ TAC 4", selected,
		"Settling asks for the order's counter + 1, then for the counter itself."},
}

func commandTable(t testing.TB, _ *source) string {
	kinds := sessionKinds()
	heading := []string{"命令 Command", "字节 Bytes", "应答 Answer data"}
	for _, kind := range kinds {
		heading = append(heading, kind.name)
	}
	heading = append(heading, "说明 Remark")
	var rows [][]string
	for _, form := range apduForms {
		var name string
		var marks []string
		passed := false
		for _, kind := range kinds {
			c := kind.start(t, form.need)
			raw := c.example(form)
			command, err := wallet.ParseCommand(raw)
			require.NoError(t, err)
			name = command.Name()
			allowed := c.allows(raw)
			passed = passed || allowed
			marks = append(marks, map[bool]string{true: "✓", false: "–"}[allowed])
		}
		require.True(t, passed, "no session allows %s: the example of the table is stale", form.form)
		rows = append(rows, slices.Concat([]string{name, code(form.form), form.answer}, marks, []string{form.remark}))
	}
	return table(heading, rows)
}

func (c *conversation) example(form apduForm) []byte {
	if form.example == "{init}" {
		if c.tid == (wallet.TerminalNumber{}) {
			return unhex(c.t, fmt.Sprintf("805000020B01%08X%s10", int64(cardAmount), cardTID))
		}
		return unhex(c.t, c.initialize())
	}
	return unhex(c.t, form.example)
}

// refusedTable shows what a guard answers to commands that look almost right.
func refusedTable(t testing.TB, _ *source) string {
	cases := []struct {
		what, kind string
		need       prepared
		apdu       string
	}{
		{"part of a name", "query", fresh, "00A4040005A00000000300"},
		{"a name of no profile", "load", fresh, "00A4040007A000000333010100"},
		{"logical channel 1", "query", fresh, "01A4040009A0000000038698070100"},
		{"MANAGE CHANNEL", "query", selected, "0070000001"},
		{"a record of another file", "query", selected, "00B2010C17"},
		{"personal data, SFI 16", "load", selected, "00B0960027"},
		{"a PIN that nobody typed", "load", selected, "0020000003123456"},
		{"GET DATA in a query", "query", selected, "80CA9F1700"},
		{"a PIN in a view", "view", selected, "0020000003123456"},
		{"INITIALIZE FOR LOAD in a view", "view", selected, "805000020B0100001388C1010203040510"},
		{"UPDATE RECORD in a view", "view", selected, "00DC01C401FF"},
		{"INITIALIZE FOR LOAD in a query", "query", selected, "805000020B0100001388C1010203040510"},
		{"another amount", "load", selected, "805000020B0100001389C1010203040510"},
		{"another terminal number", "load", selected, "805000020B0100001388C1010203040610"},
		{"before the application was selected", "load", fresh, "805000020B0100001388C1010203040510"},
		{"a second INITIALIZE", "load", opened, "805000020B0100001388C1010203040510"},
		{"CREDIT without a grant", "load", opened, creditExample},
		{"CREDIT with another MAC2", "load", granted, "805200000B20260315093045AABBCCDE04"},
		{"another price", "purchase", selected, "805001020B0100000097C101020304050F"},
		{"DEBIT without a grant", "purchase", opened, debitExample},
		{"DEBIT with another MAC1", "purchase", granted, "805401000F0000000720260315093045AABBCCDE08"},
		{"CREDIT in a purchase", "purchase", opened, creditExample},
		{"the probe before DEBIT", "purchase", opened, "805000020B0100000001C1050403020110"},
		{"INITIALIZE FOR PURCHASE in a load", "load", selected, payOpening},
		{"a purchase while one is settled", "settle purchase", selected, payOpening},
		{"a proof that is not of this order", "sync", selected, "805A000202000108"},
		{"CHANGE PIN", "load", selected, "805E01000512FF3456FF"},
		{"UPDATE BINARY", "load", selected, "00D6950001FF"},
		{"WRITE KEY", "load", selected, "84D4010001FF"},
		{"APPLICATION BLOCK", "sync", selected, "841E000004AABBCCDD"},
		{"EXTERNAL AUTHENTICATE", "load", selected, "00820001080102030405060708"},
		{"GET CHALLENGE", "load", selected, "0084000004"},
	}
	kinds := map[string]sessionKind{}
	for _, kind := range sessionKinds() {
		kinds[kind.name] = kind
	}
	var rows [][]string
	for _, one := range cases {
		err := kinds[one.kind].start(t, one.need).ask(unhex(t, one.apdu))
		require.Error(t, err)
		require.NotEqual(t, wallet.CodeCancelled, wallet.CodeOf(err), "%s passes", one.what)
		rows = append(rows, []string{one.what, one.kind, code(one.apdu), err.Error()})
	}
	return table([]string{"尝试 Attempt", "会话 Session", "命令 Command", "守卫的回答 The guard says"}, rows)
}

// sweepTable asks the guard about every class and instruction byte. Instructions of
// the table of commands are tried in their right form and at the right moment.
func sweepTable(t testing.TB, _ *source) string {
	var rows [][]string
	for _, kind := range sessionKinds() {
		type moment struct {
			raw []byte
			at  *conversation
		}
		known := map[byte][]moment{}
		for _, form := range apduForms {
			c := kind.start(t, form.need)
			raw := c.example(form)
			known[raw[1]] = append(known[raw[1]], moment{raw, c})
		}
		plain := kind.start(t, selected)
		var passed []string
		for class := range 256 {
			for ins := range 256 {
				tries := append([]moment{{[]byte{byte(class), byte(ins), 0, 0}, plain}}, known[byte(ins)]...)
				if slices.ContainsFunc(tries, func(one moment) bool {
					raw := slices.Clone(one.raw)
					raw[0] = byte(class)
					return one.at.allows(raw)
				}) {
					passed = append(passed, code(fmt.Sprintf("%02X %02X", class, ins)))
				}
			}
		}
		rows = append(rows, []string{kind.name, strings.Join(passed, " ")})
	}
	return table([]string{"会话 Session", "CLA INS"}, rows)
}

func profileTable(t testing.TB, _ *source) string {
	joined := func(values []wallet.Hex) string {
		var list []string
		for _, value := range values {
			list = append(list, code(value.String()))
		}
		return strings.Join(list, " ")
	}
	sfis := func(values []byte) string {
		var list []string
		for _, value := range values {
			list = append(list, fmt.Sprintf("%02X", value))
		}
		return strings.Join(list, " ")
	}
	var rows [][]string
	for _, p := range wallet.Profiles() {
		found := joined(p.AIDs)
		switch {
		case p.FileID != 0:
			found = fmt.Sprintf("file %04X, after SFI %02X of the MF", p.FileID, p.MFInfoSFI)
		case p.Base != "" && len(p.Cities) > 0:
			found = fmt.Sprintf("%s with city %04X", p.Base, p.Cities[0])
		case p.Base != "" && p.Interlinked:
			found = p.Base + " with 0001 at bytes 11–12 of SFI 15"
		case p.Base != "":
			found = p.Base + " without a balance under its P2"
		case len(p.AIDFirst) > 0:
			found = "first " + joined(p.AIDFirst) + ", then " + found
		}
		scale := "1 fen"
		if p.BalanceScale > 0 {
			scale = fmt.Sprintf("%d fen, %+d", p.BalanceScale, p.BalanceOffset)
		}
		logs := sfis(p.LogSFIs)
		if len(p.FallbackLogSFIs) > 0 {
			logs += " (else " + sfis(p.FallbackLogSFIs) + ")"
		}
		rows = append(rows, []string{
			p.Name, found, fmt.Sprintf("%02X", p.InfoSFI), logs, fmt.Sprintf("%02X", p.P2), string(p.Number), string(orNone(p.LogOverdraft)), scale,
			fmt.Sprintf("%02X / %02X", p.LoadType, p.PurchaseType), yes(p.Loadable), yes(p.SharedCounter),
		})
	}
	require.NotEmpty(t, rows)
	return table([]string{"配置 Profile", "识别 Found by", "信息 Info SFI", "明细 Log SFIs", "P2", "卡号 Number", "明细3–5字节 Log bytes 3–5", "余额单位 Balance unit",
		"圈存/消费类型 Load/purchase type", "可圈存 Loadable", "计数器共用 Shared counter"}, rows)
}

func orNone(meaning wallet.OverdraftMeaning) wallet.OverdraftMeaning {
	if meaning == wallet.OverdraftUnknown {
		return "not shown"
	}
	return meaning
}

func yes(b bool) string { return map[bool]string{true: "✓", false: "–"}[b] }

func statusTable(t testing.TB, _ *source) string {
	var rows [][]string
	for value := range 0x10000 {
		sw := wallet.SW(value)
		meaning := sw.Meaning()
		switch {
		case meaning == "unknown status":
		case value>>8 == 0x61 && value != 0x6110, value>>8 == 0x6C && value != 0x6C10, value&0xFFF0 == 0x63C0 && value != 0x63C2:
		case value == 0x6110, value == 0x6C10, value == 0x63C2:
			rows = append(rows, []string{code(map[int]string{0x6110: "61xx", 0x6C10: "6Cxx", 0x63C2: "63Cx"}[value]), "for instance " + code(sw.String()) + ": " + meaning})
		default:
			rows = append(rows, []string{code(sw.String()), meaning})
		}
	}
	require.Greater(t, len(rows), 20)
	return table([]string{"SW", "含义 Meaning"}, rows)
}

func guardRules(t testing.TB, s *source) string {
	var rows [][]string
	for name, doc := range s.funcs {
		if strings.HasPrefix(name, "wallet.Guard.check") && name != "wallet.Guard.check" && strings.Contains(doc, "allows") {
			rows = append(rows, []string{doc})
		}
	}
	sort.Slice(rows, func(i, k int) bool { return rows[i][0] < rows[k][0] })
	require.Greater(t, len(rows), 5)
	var out strings.Builder
	for _, row := range rows {
		out.WriteString("- " + row[0] + "\n")
	}
	return out.String()
}

// bounds shows constants of the code as a table.
func bounds(heading []string, rows [][2]string) part {
	return func(t testing.TB, s *source) string {
		var cells [][]string
		for _, row := range rows {
			cells = append(cells, []string{row[0], s.constant(t, row[1]).shown(t)})
		}
		return table(heading, cells)
	}
}

var cardBounds = bounds([]string{"界限 Bound", "值 Value"}, [][2]string{
	{"commands in one session, GET RESPONSE not counted", "wallet.maxCommands"},
	{"commands in one session of a view", "wallet.maxViewCommands"},
	{"GET RESPONSE in a row", "wallet.maxGetResponses"},
	{"bytes of a command", "wallet.maxCommandBytes"},
	{"answer to a reading command", "wallet.readTimeout"},
	{"answer to CREDIT FOR LOAD", "wallet.creditTimeout"},
	{"from INITIALIZE to CREDIT", "wallet.initToCredit"},
	{"from the arrival of a grant to its CREDIT", "wallet.grantUsable"},
})

// cancelled is a context in which the guard judges and sends nothing.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
