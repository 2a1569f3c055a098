package wire

import (
	"walletcompanion/platformclient/mockbank"
	"walletcompanion/wallet"
)

// rowBank is the row of the crash table for a bank that does not answer.
const rowBank = "F2"

// bankFaults are the accidents between platform and bank, of the embedded demo with
// its own bank.
func bankFaults() []Fault {
	bank := func(name string, exit int, en, zh string, times int, fault mockbank.Fault) Fault {
		return Fault{
			Name: name, Row: rowBank, Flow: wallet.KindFunding, ExpectExit: exit, ExpectState: string(wallet.FundingDone), Text: texts(en, zh), embedded: true,
			arm: func(a *accident) {
				a.bank = mockbank.NewFaults()
				a.bank.Struck = func() { a.strike() }
				_ = a.bank.Arm(fault, times) // the names are the bank's own
			},
		}
	}
	return []Fault{
		bank("bank-request-lost", 0, "The bank breaks down before it has taken the money; the platform asks it again under the same number.",
			"银行在扣款之前崩溃，平台用同一流水号再次询问。", 1, mockbank.FaultLostBefore),
		bank("bank-answer-lost", 0, "The bank has taken the money and its answer is lost; the platform asks how that number stands and never takes the money a second time.",
			"银行已扣款而应答丢失，平台按同一流水号查询，不会再扣一次。", 1, mockbank.FaultLostAfter),
		bank("bank-down", 6, "The bank does not answer anything; the platform goes on asking it.",
			"银行没有任何应答，平台会一直询问。", -1, mockbank.FaultDown),
	}
}

// bankFaults are those that the armed fault puts at the boundaries of the own bank.
func (p *Program) bankFaults() *mockbank.Faults {
	if p.accident == nil {
		return nil
	}
	return p.accident.bank
}
