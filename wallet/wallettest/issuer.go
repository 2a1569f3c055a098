package wallettest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"walletcompanion/wallet"
)

// Issuer is a platform in memory that grants whatever the Chip can execute. The
// hooks let a test forge an answer at the last moment.
type Issuer struct {
	Key ed25519.PrivateKey

	// Forge may change the grant, its steps, and, by what it returns, the answer.
	// The grant's script hash and signature are made afterwards from what it left.
	Forge func(grant *wallet.Grant, steps *[]wallet.Step)
	// Answer may change the finished answer.
	Answer func(granted *wallet.GrantedScript)
	// Refuse, if set, is the state that RequestLoad answers.
	Refuse *wallet.OrderState
	// Lost makes every answer an error after the platform has done its part.
	Lost error
	// MAC2 replaces the arithmetic of Chip: what the card expects in CREDIT, and
	// ValidTAC whether a proof is one. nil: those of Chip, which never lies.
	MAC2     func(initAnswer, initData, at []byte) []byte
	ValidTAC func(order Order, tac []byte) bool
	// Slow is waited before every answer, in the clock of the test.
	Slow time.Duration

	Asks     []wallet.LoadAsk
	Evidence []wallet.Evidence
	Orders   map[string]*Order // by number
}

// Order is an order as the issuer keeps it.
type Order struct {
	wallet.Grant
	Balance wallet.Fen
	State   wallet.LoadState
}

// NewIssuer makes an issuer with a signing key of its own.
func NewIssuer() *Issuer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return &Issuer{Key: key, Orders: map[string]*Order{}}
}

// Signers are the keys that a client checks the issuer by.
func (i *Issuer) Signers() wallet.SignerKeys {
	public, _ := i.Key.Public().(ed25519.PublicKey)
	return wallet.NewSignerKeys(public)
}

// Open tells an order as a session answer or a PENDING_LOAD refusal does.
func (i *Issuer) Open(number string) wallet.OpenOrder {
	o := i.Orders[number]
	return wallet.OpenOrder{
		Order: o.Order, ASN: o.ASN, Attempt: o.Attempt, Seq: o.Seq, Amount: o.Amount,
		ProbeTID: o.ProbeTID, Epoch: o.Epoch, State: o.State,
	}
}

// RequestLoad implements wallet.Issuer.
func (i *Issuer) RequestLoad(ctx context.Context, ask wallet.LoadAsk) (wallet.Verdict, error) {
	i.Asks = append(i.Asks, ask)
	if i.Refuse != nil {
		state := *i.Refuse
		state.Key = ask.Order.Key
		return i.deliver(ctx, wallet.Verdict{State: &state})
	}
	init := ask.Steps[len(ask.Steps)-1].Data
	number := fmt.Sprintf("20260301-%02d", len(i.Orders)+1)
	grant := wallet.Grant{
		Order: number, User: "u1", ASN: ask.Order.ASN, Amount: ask.Order.Amount, Fee: ask.Order.Fee,
		Source: ask.Order.Source, Key: ask.Order.Key, Attempt: 1, TID: ask.TID, Seq: binary.BigEndian.Uint16(init[4:]),
		ProbeTID: wallet.TerminalNumber{0x50, 0, 0, 0, 1, byte(len(i.Orders) + 1)}, Epoch: 1, NotAfterS: 60,
	}
	i.Orders[number] = &Order{Grant: grant, Balance: wallet.Fen(binary.BigEndian.Uint32(init)), State: wallet.StateGranted}
	granted := i.grant(grant, init, ask.KeyIndex)
	return i.deliver(ctx, wallet.Verdict{Granted: &granted})
}

// Settle implements wallet.Issuer by the rules of protocol §2.7 for a card whose
// counter only loads can move.
func (i *Issuer) Settle(ctx context.Context, evidence wallet.Evidence) (wallet.Verdict, error) {
	i.Evidence = append(i.Evidence, evidence)
	order := i.Orders[evidence.Order.Order]
	state := func(s wallet.LoadState, onCard bool) (wallet.Verdict, error) {
		order.State = s
		return i.deliver(ctx, wallet.Verdict{State: &wallet.OrderState{Order: order.Order, State: s, OnCard: &onCard}})
	}
	if evidence.Prove != nil && len(evidence.Prove.Data) == 8 && (i.ValidTAC == nil || i.ValidTAC(*order, evidence.Prove.Data[4:])) {
		return state(wallet.StateLoaded, true)
	}
	if len(evidence.Steps) == 0 {
		return state(wallet.StateGranted, false)
	}
	init := evidence.Steps[len(evidence.Steps)-1].Data
	switch seq := binary.BigEndian.Uint16(init[4:]); {
	case seq == order.Seq+1:
		return state(wallet.StateLoaded, true)
	case seq != order.Seq:
		return state(wallet.StateSuspense, false)
	case evidence.Intent == wallet.IntentCancel:
		return state(wallet.StateVoided, false)
	case evidence.Intent == wallet.IntentSettle:
		return state(wallet.StateGranted, false)
	}
	order.Attempt++
	order.TID, order.Balance = order.ProbeTID, wallet.Fen(binary.BigEndian.Uint32(init))
	order.ProbeTID[0]++
	granted := i.grant(order.Grant, init, 1)
	return i.deliver(ctx, wallet.Verdict{Granted: &granted})
}

func (i *Issuer) deliver(ctx context.Context, verdict wallet.Verdict) (wallet.Verdict, error) {
	if i.Slow > 0 {
		select {
		case <-time.After(i.Slow):
		case <-ctx.Done():
			return wallet.Verdict{}, errors.New("no answer in time")
		}
	}
	if i.Lost != nil {
		return wallet.Verdict{}, i.Lost
	}
	return verdict, nil
}

// grant signs the CREDIT for the INITIALIZE that answered init.
func (i *Issuer) grant(grant wallet.Grant, init []byte, keyIndex byte) wallet.GrantedScript {
	initData := append([]byte{keyIndex}, binary.BigEndian.AppendUint32(nil, uint32(grant.Amount))...)
	initData = append(initData, grant.TID[:]...)
	at := mustHex("20260315093045")
	mac := MAC2
	if i.MAC2 != nil {
		mac = i.MAC2
	}
	credit := wallet.Command{CLA: 0x80, INS: 0x52, Data: append(at, mac(init, initData, at)...), Le: 4}
	steps := []wallet.Step{
		{APDU: wallet.Hex(credit.Bytes()).String(), Expect: []string{"9000"}, Once: true},
		{APDU: "805C000204"},
		{APDU: "00B201C417", OnError: "continue"},
	}
	if i.Forge != nil {
		i.Forge(&grant, &steps)
	}
	return i.Sign(grant, steps)
}

// Sign makes the answer that carries a grant and its steps.
func (i *Issuer) Sign(grant wallet.Grant, steps []wallet.Step) wallet.GrantedScript {
	script, err := json.Marshal(steps)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(script)
	grant.ScriptSHA256 = sum[:]
	signed, err := wallet.Sign(wallet.DomainGrant, grant, i.Key)
	if err != nil {
		panic(err)
	}
	granted := wallet.GrantedScript{Grant: signed, Script: script}
	if i.Answer != nil {
		i.Answer(&granted)
	}
	return granted
}

// OpenScript is the open script as a platform publishes it for a profile.
func OpenScript(profile *wallet.Profile) wallet.Script {
	name := profile.AIDs[0]
	return wallet.Script{Name: "load-open", Profile: profile.Name, Version: 1, Steps: []wallet.Step{
		{APDU: wallet.Hex(wallet.Command{INS: 0xA4, P1: 0x04, Data: name, Le: wallet.LeAny}.Bytes()).String()},
		{APDU: "00B095001E"},
		{APDU: "805000020B{key_idx}{amount}{tid}10"},
	}}
}
