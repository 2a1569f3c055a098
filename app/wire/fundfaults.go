package wire

import "walletcompanion/wallet"

// fundingFaults are the accidents of money on its way into the main account. Rows are
// those of the crash table in the protocol.
func fundingFaults() []Fault {
	fund := func(name, row string, exit int, state wallet.FundingState, en, zh string, arm func(*accident)) Fault {
		return Fault{Name: name, Row: row, Flow: wallet.KindFunding, ExpectExit: exit, ExpectState: string(state), Text: texts(en, zh), arm: arm}
	}
	kill := func(name, row, point string, state wallet.FundingState, en, zh string) Fault {
		fault := fund(name, row, exitKilled, state, en, zh, nil)
		fault.point = point
		return fault
	}
	embedded := func(fault Fault) Fault {
		fault.embedded = true
		return fault
	}
	const done, declined = wallet.FundingDone, wallet.FundingDeclined
	return []Fault{
		kill("fund-killed-at-asked", "F3", "after:ASKED", declined, "The program is killed just before its request to pay in leaves.", "程序在发出存入请求之前被强制结束。"),
		kill("fund-killed-before-confirmed", "F3", "before:CONFIRMED", done, "The money is in the main account, and the program is killed before it has noted so.", "款项已入主账户，程序在记下之前被强制结束。"),
		fund("fund-request-lost", "F4", 6, declined, "The network goes away just before the request to pay in, and stays away.", "发出存入请求前网络中断，并且一直没有恢复。", cutRequest("fundings", true)),
		fund("fund-request-lost-once", "F4", 0, done, "The first request to pay in is lost; the network stays, and the program asks again by itself.", "第一次存入请求丢失，网络正常，程序自动重发。", cutRequest("fundings", false)),
		fund("fund-request-delayed", "F4", 4, declined, "The request travels so long that it is given up before it arrives; the platform then refuses it.", "存入请求在路上耽搁，到达时已作废，平台拒绝它。", delayRequest("fundings")),
		fund("fund-answer-lost", "F4", 6, done, "The voucher is redeemed; the platform's answer and the network are lost.", "充值券已兑换，平台的应答丢失且网络中断。", cutAnswer("fundings", true)),
		fund("fund-answer-lost-once", "F4", 0, done, "The voucher is redeemed and the answer is lost once; the program asks again under the same key and gets the same answer.", "充值券已兑换，应答丢失一次，程序用同一标识重发后得到同一应答。", cutAnswer("fundings", false)),
		fund("fund-answer-forged", "F4", 0, done, "Somebody changes the platform's answer on the way; the program notices and asks again.", "平台的应答在途中被人改动，程序识破并重新查询。", forgeGrant("fundings")),
		embedded(fund("fund-platform-dies-before-commit", "F4", 6, declined, "The platform breaks down before it has redeemed the voucher.", "平台在兑换充值券之前崩溃。", die("fundings", true))),
		embedded(fund("fund-platform-dies-after-commit", "F4", 6, done, "The platform redeems the voucher and breaks down before it answers.", "平台兑换充值券之后、应答之前崩溃。", die("fundings", false))),
	}
}
