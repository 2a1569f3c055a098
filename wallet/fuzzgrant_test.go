package wallet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
)

// FuzzGrant lets the input choose the payload and the script of a grant that the
// platform's signer really signed: also a platform that has gone wrong must not
// make the client credit anything but what was confirmed. What Accept lets pass is
// compared with a second statement of the rules, and what reaches the card counted.
func FuzzGrant(f *testing.F) {
	right := newStage()
	guard := right.openedForFuzz()
	granted := grantFor(right, guard)
	f.Add([]byte(granted.Grant.Payload), []byte(granted.Script), true)
	f.Add([]byte(granted.Grant.Payload), []byte(`{"steps":`+string(granted.Script)+`}`), true)
	f.Add([]byte(granted.Grant.Payload), []byte(`[{"apdu":"805200000B20260315093045AABBCCDD"},{"apdu":"805200000B20260315093045AABBCCDD"}]`), true)
	f.Add([]byte(granted.Grant.Payload), []byte(`[{"apdu":"805C000204"}]`), true)
	for _, change := range []func(*wallet.Grant){
		func(g *wallet.Grant) { g.Order = "" }, func(g *wallet.Grant) { g.ASN[9] ^= 1 }, func(g *wallet.Grant) { g.Amount++ },
		func(g *wallet.Grant) { g.Fee++ }, func(g *wallet.Grant) { g.Source = "elsewhere" }, func(g *wallet.Grant) { g.Key = "other" },
		func(g *wallet.Grant) { g.Attempt++ }, func(g *wallet.Grant) { g.TID[5] ^= 1 }, func(g *wallet.Grant) { g.Seq++ },
		func(g *wallet.Grant) { g.ProbeTID = wallet.TerminalNumber{} }, func(g *wallet.Grant) { g.ProbeTID = g.TID },
		func(g *wallet.Grant) { g.Epoch++ }, func(g *wallet.Grant) { g.NotAfterS = 0 },
	} {
		var grant wallet.Grant
		require.NoError(f, json.Unmarshal(granted.Grant.Payload, &grant))
		change(&grant)
		payload, err := json.Marshal(grant)
		require.NoError(f, err)
		f.Add(payload, []byte(granted.Script), true)
	}
	f.Add([]byte(`{}`), []byte(`[]`), true)
	f.Add([]byte(`null`), []byte(`null`), false)
	f.Fuzz(func(t *testing.T, payload, script []byte, hashed bool) {
		s := newStage()
		guard := s.openedForFuzz()
		if hashed { // the hash is right, so that what lies behind it is reached
			payload = withHash(payload, script)
		}
		signature := ed25519.Sign(s.issuer.Key, append([]byte(string(wallet.DomainGrant)+"\x00"), payload...))
		public := s.issuer.Key.Public().(ed25519.PublicKey)
		given := wallet.GrantedScript{Grant: wallet.Signed{Payload: payload, Sig: signature, KID: wallet.KeyID(public)}, Script: script}
		sent := len(s.chip.Sent)
		accepted, err := guard.Accept(given, s.issuer.Signers(), time.Now())
		if err == nil {
			mustBeRight(t, s, payload, script, accepted)
		}
		for _, c := range accepted.Commands {
			_, _ = guard.Send(context.Background(), c)
			_, _ = guard.Send(context.Background(), c)
		}
		credits := 0
		for _, command := range s.chip.Sent[sent:] {
			switch {
			case strings.HasPrefix(command, "805200000B"):
				credits++
			case strings.HasPrefix(command, "00B0"), strings.HasPrefix(command, "00B2"), strings.HasPrefix(command, "805C"):
			default:
				t.Fatalf("%s reached the card", command)
			}
		}
		if credits > 1 || err != nil && len(s.chip.Sent) > sent {
			t.Fatalf("%d CREDIT, error %v", credits, err)
		}
	})
}

// withHash writes the script's hash into a payload that can be read.
func withHash(payload, script []byte) []byte {
	var grant wallet.Grant
	if json.Unmarshal(payload, &grant) != nil {
		return payload
	}
	sum := sha256.Sum256(script)
	grant.ScriptSHA256 = sum[:]
	again, err := json.Marshal(grant)
	if err != nil {
		return payload
	}
	return again
}

// mustBeRight is the second statement of what a grant must be.
func mustBeRight(t *testing.T, s *stage, payload, script []byte, accepted wallet.Accepted) {
	var g wallet.Grant
	if err := json.Unmarshal(payload, &g); err != nil {
		t.Fatalf("a payload that cannot be read was accepted: %v", err)
	}
	sum := sha256.Sum256(script)
	init := s.chip.Seq
	switch {
	case g.ASN != s.order.ASN, g.Amount != s.order.Amount, g.Fee != s.order.Fee, g.Source != s.order.Source, g.Key != s.order.Key,
		g.TID != leasedTID, g.Seq != init, g.Attempt != 1, g.Epoch != 1, g.Order == "", g.NotAfterS <= 0,
		g.ProbeTID == wallet.TerminalNumber{}, g.ProbeTID == leasedTID, string(g.ScriptSHA256) != string(sum[:]):
		t.Fatalf("accepted: %s", payload)
	case len(accepted.Commands) == 0 || accepted.Commands[0].INS != 0x52:
		t.Fatal("the script does not begin with CREDIT")
	}
	for _, c := range accepted.Commands[1:] {
		if c.INS != 0xB0 && c.INS != 0xB2 && c.INS != 0x5C {
			t.Fatalf("%s after CREDIT", c.Name())
		}
	}
}

// openedForFuzz brings a load to the answer of INITIALIZE FOR LOAD.
func (s *stage) openedForFuzz() *wallet.Guard {
	guard := wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil)
	sendAll(guard, "00A4040009A0000000038698070100", "00B095001E", "805000020B010000138831323334353610")
	return guard
}
