package epcrypto

import (
	"encoding/binary"
	"time"

	"walletcompanion/wallet"
)

// CardTime is date and time as a purse stores it: BCD YYYYMMDD HHMMSS, in the
// time of Asia/Shanghai.
type CardTime [7]byte

// shanghai has had no summer time since 1991, so that no zone file is needed.
var shanghai = time.FixedZone("Asia/Shanghai", 8*60*60)

// CardTimeOf returns the moment as a card writes it.
func CardTimeOf(moment time.Time) (t CardTime) {
	text := moment.In(shanghai).Format("20060102150405")
	for i := range t {
		t[i] = (text[2*i]-'0')<<4 | (text[2*i+1] - '0')
	}
	return t
}

// Diversify derives a card key: E(master, F) ‖ E(master, ¬F), where F is the
// rightmost eight bytes of the application serial (card dossier §2.2). More
// levels are the same step repeated.
func Diversify(master Key16, factor [8]byte) (key Key16) {
	inverse := factor
	for i := range inverse {
		inverse[i] = ^inverse[i]
	}
	left, right := master.Encrypt(factor), master.Encrypt(inverse)
	copy(key[:8], left[:])
	copy(key[8:], right[:])
	return key
}

// sessionInput is random ‖ counter ‖ tail (card dossier §2.3).
func sessionInput(random [4]byte, counter uint16, tail uint16) (input [8]byte) {
	copy(input[:4], random[:])
	binary.BigEndian.PutUint16(input[4:], counter)
	binary.BigEndian.PutUint16(input[6:], tail)
	return input
}

// LoadSessionKey is E(DLK, random ‖ online counter ‖ 8000).
func LoadSessionKey(dlk Key16, random [4]byte, online uint16) Key8 {
	return dlk.Encrypt(sessionInput(random, online, 0x8000))
}

// LoadSessionKey16 is the session key of variant 3 (card dossier §2.5): the
// block of LoadSessionKey and its inverse, each encrypted under DLK. Its MACs
// are those of Key16.MAC over the same data.
func LoadSessionKey16(dlk Key16, random [4]byte, online uint16) Key16 {
	return Diversify(dlk, sessionInput(random, online, 0x8000))
}

// PurchaseSessionKey is E(DPK, random ‖ offline counter ‖ rightmost two bytes of
// the terminal serial).
func PurchaseSessionKey(dpk Key16, random [4]byte, offline uint16, terminalSerial uint32) Key8 {
	return dpk.Encrypt(sessionInput(random, offline, uint16(terminalSerial)))
}

// LoadMAC1Data is balance before 4 ‖ amount 4 ‖ type 1 ‖ terminal 6.
func LoadMAC1Data(balanceBefore, amount uint32, kind byte, terminal wallet.TerminalNumber) []byte {
	data := binary.BigEndian.AppendUint32(nil, balanceBefore)
	data = binary.BigEndian.AppendUint32(data, amount)
	return append(append(data, kind), terminal[:]...)
}

// LoadMAC1 is made by the card in INITIALIZE FOR LOAD and checked by the platform.
func LoadMAC1(session Key8, balanceBefore, amount uint32, kind byte, terminal wallet.TerminalNumber) MAC4 {
	return session.MAC([8]byte{}, LoadMAC1Data(balanceBefore, amount, kind, terminal))
}

// LoadMAC2Data is amount 4 ‖ type 1 ‖ terminal 6 ‖ host date 4 ‖ host time 3.
// The MAC1 of a purchase covers the same fields.
func LoadMAC2Data(amount uint32, kind byte, terminal wallet.TerminalNumber, at CardTime) []byte {
	data := binary.BigEndian.AppendUint32(nil, amount)
	data = append(append(data, kind), terminal[:]...)
	return append(data, at[:]...)
}

// LoadMAC2 is made by the platform and checked by the card in CREDIT FOR LOAD.
func LoadMAC2(session Key8, amount uint32, kind byte, terminal wallet.TerminalNumber, at CardTime) MAC4 {
	return session.MAC([8]byte{}, LoadMAC2Data(amount, kind, terminal, at))
}

// LoadTAC is made by the card in CREDIT FOR LOAD under the folded DTK: new
// balance 4 ‖ online counter before +1 2 ‖ amount 4 ‖ type 1 ‖ terminal 6 ‖
// date 4 ‖ time 3.
func LoadTAC(dtk Key16, balanceAfter uint32, onlineBefore uint16, amount uint32, kind byte, terminal wallet.TerminalNumber, at CardTime) MAC4 {
	data := binary.BigEndian.AppendUint32(nil, balanceAfter)
	data = binary.BigEndian.AppendUint16(data, onlineBefore)
	data = append(data, LoadMAC2Data(amount, kind, terminal, at)...)
	return dtk.Fold().MAC([8]byte{}, data)
}

// PurchaseMAC1 is made by the terminal and checked by the card in DEBIT FOR
// PURCHASE: amount 4 ‖ type 1 ‖ terminal 6 ‖ date 4 ‖ time 3.
func PurchaseMAC1(session Key8, amount uint32, kind byte, terminal wallet.TerminalNumber, at CardTime) MAC4 {
	return session.MAC([8]byte{}, LoadMAC2Data(amount, kind, terminal, at))
}

// PurchaseMAC2 is made by the card and checked by the terminal: amount 4.
func PurchaseMAC2(session Key8, amount uint32) MAC4 {
	return session.MAC([8]byte{}, binary.BigEndian.AppendUint32(nil, amount))
}

// PurchaseTAC is made by the card under the folded DTK: amount 4 ‖ type 1 ‖
// terminal 6 ‖ terminal serial 4 ‖ date 4 ‖ time 3. Neither balance nor any
// number of the card is under it.
func PurchaseTAC(dtk Key16, amount uint32, kind byte, terminal wallet.TerminalNumber, terminalSerial uint32, at CardTime) MAC4 {
	data := binary.BigEndian.AppendUint32(nil, amount)
	data = append(append(data, kind), terminal[:]...)
	data = binary.BigEndian.AppendUint32(data, terminalSerial)
	return dtk.Fold().MAC([8]byte{}, append(data, at[:]...))
}

// SecureMAC is the MAC of secure messaging (card dossier §2.6) over CLA INS P1
// P2 Lc ‖ data, where Lc already counts the MAC. The start value is the card's
// challenge; one of four bytes is followed by 00000000.
func SecureMAC(key Key16, challenge [8]byte, command []byte) MAC4 {
	return key.MAC(challenge, command)
}

// ReloadPINMAC is the MAC of RELOAD PIN: the PIN alone under the folded DRPK.
func ReloadPINMAC(drpk Key16, pin []byte) MAC4 {
	return drpk.Fold().MAC([8]byte{}, pin)
}
