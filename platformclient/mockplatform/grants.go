package mockplatform

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// grantUsable is how long a client may use a grant after it arrived. The platform
// concludes nothing from it.
const grantUsable = 60

// grantAttempt computes MAC2 for this very card session, notes what proves the
// attempt, and signs the grant. The order's probe is the fresh one by now.
func (p *Platform) grantAttempt(tx *Tx, o *order, sent loadCommand, answer initAnswer, floor uint16) (*wallet.GrantedScript, error) {
	issued := p.now().Truncate(time.Second) // what the card writes has no fractions
	mac2, tac, err := p.hsm.credit(tx, o.asn, sent, answer, issued)
	if err != nil {
		return nil, err
	}
	script, err := json.Marshal(creditScript(issued, mac2))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(script)
	signed, err := p.sign(wallet.DomainGrant, wallet.Grant{
		Order: o.id, User: o.user, ASN: o.asn, Amount: o.amount, Fee: o.fee, Source: o.source, Key: o.key, Attempt: o.attempt,
		TID: sent.tid, Seq: answer.seq, ProbeTID: o.probe, Epoch: p.epoch, Issued: issued, NotAfterS: grantUsable, ScriptSHA256: sum[:],
	})
	if err != nil {
		return nil, err
	}
	before := answer.balance
	err = insertAttempt(tx, o.id, attemptRow{
		number: o.attempt, tid: sent.tid, seq: answer.seq, floor: floor, balanceBefore: &before, cardTime: issued, tac: tac[:],
		probe: o.probe, epoch: p.epoch, granted: p.now(),
	})
	if err != nil {
		return nil, err
	}
	if err := p.noteProbe(tx, o); err != nil {
		return nil, err
	}
	if err := p.audit(tx, o.user, "load-granted", o.id, o.amount.Yuan()); err != nil {
		return nil, err
	}
	return &wallet.GrantedScript{Grant: signed, Script: script}, nil
}

// noteProbe takes the probe's number out of circulation for this card.
func (p *Platform) noteProbe(tx *Tx, o *order) error {
	return tx.exec(`INSERT INTO card_tids (asn, tid, subject) VALUES (?, ?, ?)`, o.asn.String(), o.probe.String(), "probe "+o.id)
}

// creditScript is CREDIT FOR LOAD `80 52 00 00 0B date 4 time 3 MAC2 4 04`, then
// GET BALANCE and the newest log record (card dossier §1.6).
func creditScript(at time.Time, mac2 [4]byte) []wallet.Step {
	return []wallet.Step{
		{APDU: "805200000B" + at.In(shanghai).Format("20060102150405") + wallet.Hex(mac2[:]).String() + "04", Expect: []string{"9000"}, Once: true},
		{APDU: "805C000204", OnError: "continue"},
		{APDU: "00B201C417", OnError: "continue"},
	}
}

// receipt is what the person keeps of a final state.
func (p *Platform) receipt(tx *Tx, o *order, last attemptRow, tac []byte, before, after wallet.Fen) error {
	main, err := balance(tx, mainAccount(o.user))
	if err != nil {
		return err
	}
	o.receipt, err = json.Marshal(wallet.Receipt{
		Order: o.id, ASN: o.asn, Amount: o.amount, Fee: o.fee, Source: o.source, Attempt: last.number, TID: last.tid, TAC: tac,
		BalanceBefore: before, BalanceAfter: after, MainBalance: main, State: o.state, Time: p.now(), Demo: p.secrets.Demo,
	})
	return err
}

// repeatRefusal signs a stored refusal anew for the question that asks now.
func (p *Platform) repeatRefusal(kept *storedAnswer, request string) (reply, error) {
	var answer api.LoadAnswer
	if err := json.Unmarshal(kept.answer.body, &answer); err != nil || answer.State == nil {
		return failure(http.StatusConflict, api.CodeDeclined, refusalText(api.CodeDeclined)), err
	}
	var state wallet.OrderState
	if err := json.Unmarshal(answer.State.Payload, &state); err != nil {
		return reply{}, err
	}
	state.Request = request
	return p.signedState(http.StatusOK, state)
}
