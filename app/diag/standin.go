package diag

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// standIn is the platform of a replay. It answers every question as the record says
// that the question was answered, and what the record does not say it refuses. Its
// grants are signed with a key that is made for this replay; MAC1 and MAC2 in them
// are zeros, which no real card takes.
type standIn struct {
	unrecorded
	op     *operation
	key    string // of the order
	signer ed25519.PrivateKey
	inits  []Line // INITIALIZE of the order, one for each try
	tries  int
	amount wallet.Fen
	order  string
	used   bool // its grant stood for the platform's
	// refused says that its refusal did.
	refused bool
}

func newStandIn(op *operation) *standIn {
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	s := &standIn{op: op, key: "replay", order: "replay", signer: signer}
	wanted := byte(0x00) // P1 of INITIALIZE FOR LOAD (card dossier §1.6)
	if op.kind() != core.OperationTopUp {
		wanted = 0x01 // FOR PURCHASE
	}
	for _, line := range op.lines {
		switch {
		case line.Kind == KindBegin:
			s.amount = line.AmountFen
		case line.asksForGrant() && line.Subject != "":
			s.key = line.Subject
		case line.Kind == KindEnd && line.Subject != "":
			s.order = line.Subject
		case line.Kind == KindCard && line.ins() == insInitialize && len(hexBytes(line.Command)) >= 16 && hexBytes(line.Command)[2].value == wanted:
			s.inits = append(s.inits, line)
		}
	}
	if len(s.inits) > 0 {
		s.amount = wallet.Fen(binary.BigEndian.Uint32(commandBytes(s.inits[0])[6:10]))
	}
	return s
}

// commandBytes are a command's bytes, hidden ones as 00.
func commandBytes(line Line) []byte {
	var raw []byte
	for _, b := range hexBytes(line.Command) {
		raw = append(raw, b.value)
	}
	return raw
}

// run does what the person did.
func (s *standIn) run(ctx context.Context, program *core.Core) error {
	var err error
	switch s.op.kind() {
	case core.OperationQuery:
		_, err = program.Query(ctx, nil)
	case core.OperationTopUp:
		_, err = program.TopUp(ctx, core.TopUpAsk{Amount: s.amount, PIN: s.pin,
			Confirm: func(context.Context, core.Confirmation) error { return s.confirmed() }})
	case core.OperationPay:
		_, err = program.Pay(ctx, core.PayAsk{OrderCode: "replay", PIN: s.pin,
			Confirm: func(context.Context, core.PayConfirmation) error { return s.confirmed() }})
	case core.OperationUnload:
		_, err = program.Unload(ctx, core.UnloadAsk{Amount: s.amount, PIN: s.pin,
			Confirm: func(context.Context, core.PayConfirmation) error { return s.confirmed() }})
	}
	return err
}

// confirmed is the person's answer: no where the record ends with it.
func (s *standIn) confirmed() error {
	if end := s.op.end(); end != nil && end.Code == string(wallet.CodeCancelled) && len(s.inits) == 0 {
		return &core.Failure{Code: end.Code}
	}
	return nil
}

// pin stands for the one that the trace hides, in its length.
func (s *standIn) pin(int) ([]byte, error) {
	for _, line := range s.op.lines {
		if line.Kind == KindCard && line.ins() == insVerify {
			return make([]byte, max(len(hexBytes(line.Command))-5, 0)), nil
		}
	}
	return nil, errNotRecorded
}

// recordedError is a failure as the wire to the platform has it.
type recordedError struct{ code string }

func (e recordedError) Error() string     { return "as recorded: " + e.code }
func (e recordedError) ErrorCode() string { return e.code }

var errNotRecorded = errors.New("the record does not say")

// last is the newest request with a method and one of the routes.
func (s *standIn) last(method string, routes ...string) *Line {
	for i := len(s.op.lines) - 1; i >= 0; i-- {
		line := &s.op.lines[i]
		for _, route := range routes {
			if line.Kind == KindRequest && line.Method == method && line.Route == route {
				return line
			}
		}
	}
	return nil
}

// failed is how a request failed, nil where it was answered well.
func failed(line *Line) error {
	switch {
	case line == nil:
		return errNotRecorded
	case line.Status/100 == 2:
		return nil
	case line.Code != "":
		return recordedError{line.Code}
	}
	return recordedError{"NETWORK"}
}

// Connect fails as the greeting or the renewal of the login failed.
func (s *standIn) Connect(context.Context) error {
	if line := s.last("POST", api.PathSession, api.PathRefresh); line != nil {
		return failed(line)
	}
	if line := s.last("GET", api.PathHello); line != nil {
		return failed(line)
	}
	return nil
}

// Session holds the open scripts as the record shows them, for every kind of card.
func (s *standIn) Session() core.Session {
	session := core.Session{LoggedIn: true, Epoch: 1, Scripts: map[string]wallet.Script{}, PurchaseScripts: map[string]wallet.Script{}}
	for _, profile := range wallet.Profiles() {
		session.Scripts[profile.LoadName()] = s.script("load-open", profile.LoadName())
		session.PurchaseScripts[profile.LoadName()] = s.script("purchase-open", profile.LoadName())
	}
	return session
}

// script is the open script that the record shows: the commands from SELECT to
// INITIALIZE, or what every published one begins with where the record ends before.
func (s *standIn) script(name, profile string) wallet.Script {
	script := wallet.Script{Name: name, Profile: profile, Version: 1}
	initialize := "805000020B{key_idx}{amount}{tid}10"
	if name == "purchase-open" {
		initialize = "805001020B{key_idx}{amount}{tid}0F"
	}
	steps := s.openCommands()
	if len(s.inits) > 0 {
		recorded := s.inits[0].Command
		initialize = recorded[:10] + "{key_idx}{amount}{tid}" + recorded[32:]
	}
	for _, command := range steps {
		script.Steps = append(script.Steps, wallet.Step{APDU: command})
	}
	script.Steps = append(script.Steps, wallet.Step{APDU: initialize, Once: true})
	return script
}

// openCommands are the reading commands before the first INITIALIZE, from the SELECT
// that opens the conversation.
func (s *standIn) openCommands() []string {
	var before []Line
	for _, line := range s.op.lines {
		if line.Kind != KindCard {
			continue
		}
		if line.ins() == insInitialize {
			break
		}
		before = append(before, line)
	}
	if len(s.inits) == 0 { // the card left earlier: any script begins like this
		for _, line := range before {
			if line.ins() == insSelect {
				return []string{line.Command, "00B095001E"}
			}
		}
		return []string{"00A4040000", "00B095001E"}
	}
	start := len(before) - 1
	for start > 0 && before[start].ins() != insSelect {
		start--
	}
	for start > 0 && before[start-1].ins() == insSelect {
		start--
	}
	var commands []string
	for _, line := range before[max(start, 0):] {
		if ins := line.ins(); ins == insSelect || ins == insReadBinary {
			commands = append(commands, line.Command)
		}
	}
	return commands
}

// Signers are the keys of this replay.
func (s *standIn) Signers() wallet.SignerKeys {
	public, _ := s.signer.Public().(ed25519.PublicKey)
	return wallet.NewSignerKeys(public)
}

// TakeLease gives the terminal number of the next INITIALIZE in the record.
func (s *standIn) TakeLease(context.Context) (wallet.Lease, error) {
	lease := wallet.Lease{Epoch: 1, Expires: time.Now().Add(time.Hour)}
	if s.tries < len(s.inits) {
		copy(lease.TID[:], commandBytes(s.inits[s.tries])[10:16])
	}
	if lease.TID == (wallet.TerminalNumber{}) {
		lease.TID = wallet.TerminalNumber{0x99, 0, 0, 0, 0, byte(s.tries + 1)}
	}
	s.tries++
	return lease, nil
}

// Issuer is the stand-in itself.
func (s *standIn) Issuer(func(context.Context) (string, error)) wallet.Issuer { return s }

// Cashier is the stand-in itself.
func (s *standIn) Cashier() wallet.Cashier { return s }

// RequestLoad answers as POST /v1/loads was answered.
func (s *standIn) RequestLoad(_ context.Context, ask wallet.LoadAsk) (wallet.Verdict, error) {
	if refusal, err := s.verdictOf(api.PathLoads); err != nil {
		return wallet.Verdict{}, err
	} else if refusal != "" {
		return wallet.Verdict{State: &wallet.OrderState{Key: ask.Order.Key, State: wallet.StateDeclined, Code: refusal}}, nil
	}
	init, ok := initAnswer(ask.Steps, 16)
	if !ok {
		return wallet.Verdict{}, errNotRecorded
	}
	grant := wallet.Grant{Order: s.order, ASN: ask.Order.ASN, Amount: ask.Order.Amount, Fee: ask.Order.Fee, Source: ask.Order.Source, Key: ask.Order.Key,
		Attempt: 1, TID: ask.TID, Seq: binary.BigEndian.Uint16(init[4:]), ProbeTID: wallet.TerminalNumber{0x99, 0, 0, 0, 1, 0}, Epoch: 1, Issued: time.Now(), NotAfterS: 60}
	script, sum, err := s.grantScript(insCredit, "805200000B"+time.Now().Format("20060102150405")+"0000000004")
	if err != nil {
		return wallet.Verdict{}, err
	}
	grant.ScriptSHA256 = sum
	signed, err := wallet.Sign(wallet.DomainGrant, grant, s.signer)
	return wallet.Verdict{Granted: &wallet.GrantedScript{Grant: signed, Script: script}}, err
}

// RequestPurchase answers as POST /v1/purchases was answered.
func (s *standIn) RequestPurchase(_ context.Context, ask wallet.PurchaseAsk) (wallet.PurchaseVerdict, error) {
	if refusal, err := s.verdictOf(api.PathPurchases); err != nil {
		return wallet.PurchaseVerdict{}, err
	} else if refusal != "" {
		return wallet.PurchaseVerdict{State: &wallet.PurchaseStatement{Key: ask.Payment.Key, State: wallet.PurchaseDeclined, Code: refusal}}, nil
	}
	init, ok := initAnswer(ask.Steps, 15)
	if !ok {
		return wallet.PurchaseVerdict{}, errNotRecorded
	}
	debit := "805401000F00000001" + time.Now().Format("20060102150405") + "0000000008"
	if line := s.write(insDebit); line != nil && len(hexBytes(line.Command)) >= 9 {
		debit = hex.EncodeToString(commandBytes(*line))
	}
	serial, err := hex.DecodeString(debit[10:18])
	if err != nil {
		return wallet.PurchaseVerdict{}, err
	}
	script, sum, err := s.grantScript(insDebit, debit)
	if err != nil {
		return wallet.PurchaseVerdict{}, err
	}
	grant := wallet.PurchaseGrant{Purchase: s.order, Key: ask.Payment.Key, ASN: ask.Payment.ASN, Amount: ask.Payment.Amount,
		MerchantOrder: ask.Payment.MerchantOrder, Merchant: ask.Payment.Merchant, Goods: ask.Payment.Goods, Unload: ask.Payment.Unload,
		Terminal: ask.TID, TerminalSerial: binary.BigEndian.Uint32(serial), Number: binary.BigEndian.Uint16(init[4:]), Random: init[11:15],
		Balance: wallet.Fen(binary.BigEndian.Uint32(init)), ProbeTID: s.probe(), Epoch: 1, Issued: time.Now(), NotAfterS: 60, ScriptSHA256: sum}
	signed, err := wallet.Sign(wallet.DomainPurchaseGrant, grant, s.signer)
	return wallet.PurchaseVerdict{Granted: &wallet.PurchaseGrantedScript{Grant: signed, Script: script}}, err
}

// verdictOf is the code of a refusal, or the error of a request without an answer that
// counts; neither where the platform granted.
func (s *standIn) verdictOf(route string) (refusal string, err error) {
	line := s.last("POST", route)
	if line == nil || line.Status == 0 || line.Status/100 == 5 {
		return "", failed(line)
	}
	end := s.op.end()
	if line.Status/100 == 4 {
		if end != nil && end.Code != "" {
			s.refused = true
			return end.Code, nil
		}
		return "", failed(line)
	}
	if end != nil && s.write(insCredit) == nil && s.write(insDebit) == nil && strings.Contains(end.Cause, "UNSIGNED") {
		return "", recordedError{"ANSWER_UNSIGNED"}
	}
	s.used = true
	return "", nil
}

// initAnswer is the answer to INITIALIZE, if it has its length.
func initAnswer(steps []wallet.StepResult, length int) ([]byte, bool) {
	if len(steps) == 0 || len(steps[len(steps)-1].Data) != length {
		return nil, false
	}
	return steps[len(steps)-1].Data, true
}

// write is the recorded CREDIT or DEBIT.
func (s *standIn) write(ins byte) *Line {
	for i := range s.op.lines {
		if s.op.lines[i].Kind == KindCard && s.op.lines[i].ins() == ins {
			return &s.op.lines[i]
		}
	}
	return nil
}

// grantScript is the script of a grant: the recorded command that writes the card, with
// 00 for its code, and what was read after it.
func (s *standIn) grantScript(ins byte, otherwise string) (json.RawMessage, []byte, error) {
	steps := []wallet.Step{{APDU: strings.ToUpper(otherwise), Once: true}}
	if line := s.write(ins); line != nil {
		steps[0].APDU = strings.ToUpper(hex.EncodeToString(commandBytes(*line)))
	}
	probed := false
	for _, line := range s.afterWrite(ins) {
		steps = append(steps, wallet.Step{APDU: line.Command, OnError: "continue"})
		probed = probed || line.ins() == insInitialize
	}
	if s.op.kind() == core.OperationUnload && !probed { // the card left before it: the script had it all the same
		steps = append(steps, wallet.Step{APDU: "805000020B0100000001" + s.probe().String() + "10", Once: true})
	}
	raw, err := json.Marshal(steps)
	sum := sha256.Sum256(raw)
	return raw, sum[:], err
}

// afterWrite are the commands between the write and the next SELECT.
func (s *standIn) afterWrite(ins byte) []Line {
	var after []Line
	written := false
	for _, line := range s.op.lines {
		switch {
		case line.Kind != KindCard:
		case line.ins() == ins:
			written = true
		case written && line.ins() == insSelect:
			return after
		case written:
			after = append(after, line)
		}
	}
	return after
}

// probe is the terminal number of the INITIALIZE FOR LOAD after a DEBIT, by which a
// return of balance is proven.
func (s *standIn) probe() wallet.TerminalNumber {
	probe := wallet.TerminalNumber{0x99, 0, 0, 0, 1, 0}
	for _, line := range s.afterWrite(insDebit) {
		if command := commandBytes(line); line.ins() == insInitialize && len(command) >= 16 {
			copy(probe[:], command[10:16])
		}
	}
	return probe
}

// Result answers as the result was answered.
func (s *standIn) Result(_ context.Context, entry wallet.Entry) (wallet.OrderState, wallet.Signed, error) {
	err := failed(s.last("POST", api.PathResult))
	return wallet.OrderState{Key: entry.Key, Order: entry.Order, State: wallet.StateLoaded, Evidence: "tac"}, wallet.Signed{}, err
}

// PurchaseResult answers as the result was answered. What the platform decided shows
// in what the person was told.
func (s *standIn) PurchaseResult(_ context.Context, entry wallet.Entry) (wallet.PurchaseStatement, wallet.Signed, error) {
	debited := true
	statement := wallet.PurchaseStatement{Key: entry.Key, Purchase: entry.Order, State: wallet.PurchasePaid, Debited: &debited, Delivered: true, Evidence: "tac"}
	if end := s.op.end(); end != nil {
		switch end.Code {
		case "PURCHASE_REFUNDED":
			statement.State, statement.Delivered = wallet.PurchaseRefunded, false
		case "ORDER_OPEN":
			statement.State, statement.Delivered = wallet.PurchaseAuthorised, false
		case "PURCHASE_DOUBTFUL":
			statement.State, statement.Delivered, statement.Debited = wallet.PurchaseDoubtful, false, nil
		case "ORDER_SUSPENSE":
			statement.State, statement.Delivered, statement.Debited = wallet.PurchaseSuspense, false, nil
		}
	}
	return statement, wallet.Signed{}, failed(s.last("POST", api.PathPurchaseResult))
}

// Abandon answers as the record says: nothing was granted where that was the end.
func (s *standIn) Abandon(_ context.Context, key string) (wallet.OrderState, error) {
	state := wallet.OrderState{Key: key, State: wallet.StateDeclined, Code: "ABANDONED"}
	if s.leftOpen() {
		state.State, state.Order = wallet.StateGranted, s.order
	}
	return state, failed(s.last("POST", api.PathAbandon))
}

// AbandonPurchase is Abandon of a purchase.
func (s *standIn) AbandonPurchase(_ context.Context, key string) (wallet.PurchaseStatement, error) {
	statement := wallet.PurchaseStatement{Key: key, State: wallet.PurchaseDeclined, Code: "ABANDONED"}
	if s.leftOpen() {
		statement.State, statement.Purchase = wallet.PurchaseAuthorised, s.order
	}
	return statement, failed(s.last("POST", api.PathPurchaseAbandon))
}

func (s *standIn) leftOpen() bool {
	end := s.op.end()
	return end != nil && end.Exit == core.ExitOpen
}

// MerchantOrder is what the person confirmed, as far as the record shows it.
func (s *standIn) MerchantOrder(context.Context, string) (wallet.MerchantOrder, error) {
	return s.offer(false), failed(s.last("GET", api.PathMerchantOrder))
}

// Unload is MerchantOrder for a return of balance.
func (s *standIn) Unload(context.Context, wallet.ASN, wallet.Fen) (wallet.MerchantOrder, error) {
	return s.offer(true), failed(s.last("POST", api.PathUnloads))
}

func (s *standIn) offer(unload bool) wallet.MerchantOrder {
	return wallet.MerchantOrder{Code: "replay", Merchant: "-", Goods: "-", Amount: s.amount, State: wallet.PurchaseOffered,
		Issued: time.Now(), Expires: time.Now().Add(time.Hour), Unload: unload}
}

// unrecorded answers what a replay never asks.
type unrecorded struct{ core.PersonPlatform }

func (unrecorded) Login(context.Context, string, string, func(context.Context, string) (string, error)) error {
	return errNotRecorded
}
func (unrecorded) Logout(context.Context) error { return errNotRecorded }
func (unrecorded) Load(context.Context, string) (wallet.OrderState, error) {
	return wallet.OrderState{}, errNotRecorded
}
func (unrecorded) Pending(context.Context, wallet.ASN) ([]wallet.OpenOrder, error) { return nil, nil }
func (unrecorded) Purchase(context.Context, string) (wallet.PurchaseStatement, error) {
	return wallet.PurchaseStatement{}, errNotRecorded
}
func (unrecorded) PendingPurchases(context.Context, wallet.ASN) ([]wallet.OpenPurchase, error) {
	return nil, nil
}
func (unrecorded) Purchases(context.Context) (api.Purchases, error) {
	return api.Purchases{}, errNotRecorded
}
func (unrecorded) AddCard(context.Context, api.CardRequest) (api.Card, error) {
	return api.Card{}, errNotRecorded
}
func (unrecorded) Account(context.Context) (api.Account, error) { return api.Account{}, errNotRecorded }
func (unrecorded) FindStatement(context.Context, api.Selection) (api.Statement, error) {
	return api.Statement{}, errNotRecorded
}
func (unrecorded) Fund(context.Context, string, api.FundingRequest, string) (wallet.FundingStatement, wallet.Signed, error) {
	return wallet.FundingStatement{}, wallet.Signed{}, errNotRecorded
}
func (unrecorded) AbandonFunding(context.Context, string) (wallet.FundingStatement, wallet.Signed, error) {
	return wallet.FundingStatement{}, wallet.Signed{}, errNotRecorded
}
func (unrecorded) Funding(context.Context, string) (wallet.FundingStatement, wallet.Signed, error) {
	return wallet.FundingStatement{}, wallet.Signed{}, errNotRecorded
}
func (unrecorded) Fundings(context.Context) (api.Fundings, error) {
	return api.Fundings{}, errNotRecorded
}
func (unrecorded) FindOrders(context.Context, api.Selection) (api.Orders, error) {
	return api.Orders{}, errNotRecorded
}
func (unrecorded) FindPurchases(context.Context, api.Selection) (api.Purchases, error) {
	return api.Purchases{}, errNotRecorded
}
func (unrecorded) Limits(context.Context) (api.LimitsShown, error) {
	return api.LimitsShown{}, errNotRecorded
}
func (unrecorded) SetLimit(context.Context, api.LimitsChange, func(context.Context) (string, error)) (api.LimitsShown, error) {
	return api.LimitsShown{}, errNotRecorded
}
func (unrecorded) Orders(context.Context) (api.Orders, error) { return api.Orders{}, errNotRecorded }
func (unrecorded) Requests() int                              { return 0 }
func (unrecorded) Settle(context.Context, wallet.Evidence) (wallet.Verdict, error) {
	return wallet.Verdict{}, errNotRecorded
}
func (unrecorded) SettlePurchase(context.Context, wallet.PurchaseEvidence) (wallet.PurchaseStatement, error) {
	return wallet.PurchaseStatement{}, errNotRecorded
}

var _ core.Platform = (*standIn)(nil)
