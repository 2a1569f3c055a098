package mockplatform

import (
	"bytes"
	"net/http"

	"walletcompanion/platformclient/api"
)

// Answers are kept for the life of the order, under (user, route, key) with the
// SHA-256 of the order core: the second answer is the stored bytes, also from
// another process after a restart (§2.8). Two requests with one key wait for each
// other at the write lock, and the second finds the first one's answer. The bytes
// are sealed, since a grant's script holds MAC2.

// storedAnswer is what is kept under a key.
type storedAnswer struct {
	core   []byte // empty for a tombstone, which answers every core
	answer reply
}

// stored finds the answer under a key.
func (p *Platform) stored(tx *Tx, user, route, key string) (*storedAnswer, error) {
	var found storedAnswer
	var sealed []byte
	known, err := tx.row(`SELECT core, status, sealed FROM idempotency WHERE user = ? AND route = ? AND key = ?`,
		[]any{user, route, key}, &found.core, &found.answer.status, &sealed)
	if err != nil || !known {
		return nil, err
	}
	found.answer.body, err = p.sealer.open("answer "+key, sealed)
	return &found, err
}

// store keeps an answer for ever.
func (p *Platform) storeAnswer(tx *Tx, user, route, key string, core []byte, answer reply) error {
	if core == nil {
		core = []byte{}
	}
	return tx.exec(`INSERT INTO idempotency (user, route, key, core, status, sealed, created) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		user, route, key, core, answer.status, p.sealer.seal("answer "+key, answer.body), p.now().UnixMilli())
}

// replay gives the stored answer, or a refusal where the same key came with another
// order core. The refusal is not signed: it says nothing about the first order.
func (s *storedAnswer) replay(core []byte) reply {
	if len(s.core) != 0 && !bytes.Equal(s.core, core) {
		return failure(http.StatusUnprocessableEntity, api.CodeKeyReused, "this key belongs to another order")
	}
	return s.answer
}
