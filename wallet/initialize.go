package wallet

import (
	"encoding/binary"
	"fmt"
)

// LoadInit is the answer to INITIALIZE FOR LOAD (card dossier §1.6): balance 4,
// online counter 2, key version 1, algorithm 1, random 4, MAC1 4.
type LoadInit struct {
	Balance    Fen
	Seq        uint16
	KeyVersion byte
	Algorithm  byte
	Raw        Hex
}

const loadInitBytes = 16

// ParseLoadInit reads the 16 bytes.
func ParseLoadInit(raw []byte) (LoadInit, error) {
	if len(raw) != loadInitBytes {
		return LoadInit{}, fmt.Errorf("%w: INITIALIZE FOR LOAD gave %d bytes, not 16", errResponseWanted, len(raw))
	}
	return LoadInit{
		Balance:    Fen(binary.BigEndian.Uint32(raw)),
		Seq:        binary.BigEndian.Uint16(raw[4:]),
		KeyVersion: raw[6],
		Algorithm:  raw[7],
		Raw:        append(Hex(nil), raw...),
	}, nil
}

// PurchaseInit is the answer to INITIALIZE FOR PURCHASE (card dossier §1.6):
// balance 4, offline counter 2, overdraft limit 3, key version 1, algorithm 1,
// random 4. No MAC covers it: it is what the card claims.
type PurchaseInit struct {
	Balance    Fen
	Number     uint16
	KeyVersion byte
	Algorithm  byte
	Raw        Hex
}

const purchaseInitBytes = 15

// ParsePurchaseInit reads the 15 bytes.
func ParsePurchaseInit(raw []byte) (PurchaseInit, error) {
	if len(raw) != purchaseInitBytes {
		return PurchaseInit{}, fmt.Errorf("%w: INITIALIZE FOR PURCHASE gave %d bytes, not 15", errResponseWanted, len(raw))
	}
	return PurchaseInit{
		Balance:    Fen(binary.BigEndian.Uint32(raw)),
		Number:     binary.BigEndian.Uint16(raw[4:]),
		KeyVersion: raw[9],
		Algorithm:  raw[10],
		Raw:        append(Hex(nil), raw...),
	}, nil
}

// probeCommand is INITIALIZE FOR LOAD 80 50 00 ‹purse› 0B ‹key index› 00000001 ‹probe› 10
// (card dossier §1.6). No CREDIT follows it.
func probeCommand(profile *Profile, probe TerminalNumber) Command {
	data := binary.BigEndian.AppendUint32([]byte{profile.KeyIndex}, uint32(PurchaseProbeAmount))
	return Command{CLA: 0x80, INS: insInitialize, P1: initForLoad, P2: profile.P2, Data: append(data, probe[:]...), Le: loadInitBytes}
}
