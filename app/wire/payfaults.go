package wire

import (
	"time"

	"walletcompanion/wallet"
)

// pastReservation is longer than a merchant reserves a purchase's order (30 min).
const pastReservation = 31 * time.Minute

// purchaseFaults are the accidents of an online purchase. Rows are those of its own
// crash table; ExpectState holds for cards of variant standard.
func purchaseFaults() []Fault {
	all := append(purchaseKills(), purchaseNetworkFaults()...)
	all = append(all, purchasePlatformFaults()...)
	return append(all, purchaseCardFaults()...)
}

// purchaseFault names one of them.
func purchaseFault(name, row string, exit int, state wallet.PurchaseStateName, en, zh string, arm func(*accident)) Fault {
	return Fault{Name: name, Row: row, Flow: wallet.KindPurchase, ExpectExit: exit, ExpectState: string(state), Text: texts(en, zh), arm: arm}
}

// purchaseKills end the process with SIGKILL, sent by another process.
func purchaseKills() []Fault {
	kill := func(name, row, point string, state wallet.PurchaseStateName, en, zh string) Fault {
		fault := purchaseFault(name, row, exitKilled, state, en, zh, nil)
		fault.point = point
		return fault
	}
	return []Fault{
		kill("pay-killed-at-intent", "P1", "after:PINTENT", "", "The program is killed right after you confirmed the purchase; neither card nor platform was asked for anything.", "确认消费之后程序立即被强制结束，卡片和平台都还没有收到请求。"),
		kill("pay-killed-at-init", "P1", "before:ASKED", "", "The program is killed when the card has said that it is ready (INITIALIZE FOR PURCHASE); the platform was not asked.", "卡片刚刚就绪（消费初始化）时程序被强制结束，平台还没有收到请求。"),
		kill("pay-killed-at-asked", "P2", "after:ASKED", wallet.PurchaseDeclined, "The program is killed just before its request to the platform leaves.", "程序在向平台发出消费请求之前被强制结束。"),
		kill("pay-killed-before-authorised", "P3", "before:AUTHORISED", wallet.PurchaseNotTaken, "The platform's permission arrives, and the program is killed before it is on the disk; the card was not debited.", "消费授权到达，程序在存盘之前被强制结束，卡片未扣款。"),
		kill("pay-killed-at-authorised", "P5", "after:AUTHORISED", wallet.PurchaseNotTaken, "The program is killed when the platform has permitted the purchase; the card was not debited.", "平台已授权消费，程序在扣款之前被强制结束。"),
		kill("pay-killed-at-debiting", "P6", "after:DEBITING", wallet.PurchaseNotTaken, "The program is killed just before it debits the card (DEBIT FOR PURCHASE).", "程序在发出扣款指令（DEBIT FOR PURCHASE）之前的一刻被强制结束。"),
		kill("pay-killed-in-debit", "P7", "card:54", wallet.PurchasePaid, "The card is debited, and the program is killed before it hears so.", "卡片已扣款，程序在收到应答之前被强制结束。"),
		kill("pay-killed-before-debited", "P10", "before:DEBITED", wallet.PurchasePaid, "The card is debited, and the program is killed before the card's proof is on the disk.", "卡片已扣款，程序在把凭证存盘之前被强制结束。"),
		kill("pay-killed-at-debited", "P10", "after:DEBITED", wallet.PurchasePaid, "The proof of debit is on the disk, and the program is killed before the platform hears of it.", "扣款凭证已存盘，程序在告知平台之前被强制结束。"),
	}
}

// purchaseNetworkFaults cut or distort the wire to the platform.
func purchaseNetworkFaults() []Fault {
	faults := []Fault{
		purchaseFault("pay-request-lost", "P2", 6, wallet.PurchaseDeclined, "The network goes away just before the request to the platform, and stays away.", "向平台发出消费请求前网络中断，并且一直没有恢复。", cutRequest("purchases", true)),
		purchaseFault("pay-request-lost-once", "P2", 0, wallet.PurchasePaid, "The first request is lost; the network stays, and the program asks again by itself.", "第一次消费请求丢失，网络正常，程序自动重发。", cutRequest("purchases", false)),
		purchaseFault("pay-request-delayed", "P2", 4, wallet.PurchaseDeclined, "The request travels so long that the purchase is given up before it arrives; the platform then refuses it.", "请求在路上耽搁，到达时消费已作废，平台拒绝它。", delayRequest("purchases")),
		purchaseFault("pay-grant-answer-lost", "P3", 6, wallet.PurchaseNotTaken, "The platform permits the purchase; its answer and the network are lost.", "平台已授权消费，应答丢失且网络中断。", cutAnswer("purchases", true)),
		purchaseFault("pay-grant-answer-lost-once", "P3", 0, wallet.PurchasePaid, "The platform's permission is lost once; the program asks again and gets the same one.", "消费授权应答丢失一次，程序重发后得到同一授权。", cutAnswer("purchases", false)),
		purchaseFault("pay-grant-forged", "P4", 6, wallet.PurchaseNotTaken, "Somebody changes the platform's permission on the way; the program notices and does not debit the card.", "消费授权在途中被人改动，程序识破，不扣款。", forgeGrant("purchases")),
		purchaseFault("pay-result-lost", "P10", 6, wallet.PurchasePaid, "The card is debited; the network goes away before the platform hears of it.", "卡片已扣款，凭证上送平台之前网络中断。", cutRequest("purchases/result", true)),
		purchaseFault("pay-result-answer-lost", "P11", 6, wallet.PurchasePaid, "The card is debited and the platform books it; its confirmation is lost.", "卡片已扣款，平台已记账，确认应答丢失。", cutAnswer("purchases/result", true)),
	}
	silent := purchaseFault("pay-request-lost-silent", "P2", 6, wallet.PurchaseDeclined, "As pay-request-lost, but the network falls silent instead of breaking: the program waits some seconds.", "同 pay-request-lost，但网络没有断开而是没有任何反应，程序会等待数秒。", cutRequest("purchases", true))
	silent.silent = true
	return append(faults, silent)
}

// purchasePlatformFaults end the embedded platform at a commit, let its clock run, or
// restore it.
func purchasePlatformFaults() []Fault {
	faults := []Fault{
		purchaseFault("pay-platform-dies-before-commit", "P2", 6, wallet.PurchaseDeclined, "The platform breaks down before it has stored its permission.", "平台在保存消费授权之前崩溃。", die("purchases", true)),
		purchaseFault("pay-platform-dies-after-commit", "P3", 6, wallet.PurchaseNotTaken, "The platform stores its permission and breaks down before it answers.", "平台保存消费授权之后、应答之前崩溃。", die("purchases", false)),
		purchaseFault("pay-result-dies-before-commit", "P10", 6, wallet.PurchasePaid, "The card is debited; the platform breaks down before it books the purchase.", "卡片已扣款，平台在记账之前崩溃。", die("purchases/result", true)),
		purchaseFault("pay-result-late", "P10", 5, wallet.PurchaseRefunded, "The card is debited, but the proof reaches the platform only after the merchant has stopped keeping the goods.", "卡片已扣款，凭证到达平台时商户的保留期已过。", lateResult),
		purchaseFault("pay-platform-restored", "P12", 0, wallet.PurchasePaid, "After the purchase the platform is set back to a backup that knows nothing of it.", "消费之后平台恢复到不含这笔消费的旧备份。", func(a *accident) { a.restore = true }),
		purchaseFault("pay-platform-restored-in-debit", "P12", 6, wallet.PurchasePaid, "The card is debited, its answer is lost, and the platform is set back to a backup that knows nothing of it.", "卡片已扣款、应答丢失，且平台恢复到不含这笔消费的旧备份。", func(a *accident) {
			at(insDebit, cardAfter)(a)
			a.restore = true
		}),
	}
	for i := range faults {
		faults[i].embedded = true
	}
	return faults
}

// lateResult lets the platform's clock run past the reservation just before the
// proof of debit arrives.
func lateResult(a *accident) {
	a.request = func(a *accident, route string) error {
		if route == "POST purchases/result" && a.strike() {
			a.late.Store(true)
		}
		return nil
	}
}

// leaveAfterDebit takes the card away at the command that follows DEBIT.
func leaveAfterDebit(a *accident) {
	debited := false
	a.command = func(a *accident, each byte) cardFault {
		if !debited || !a.strike() {
			debited = debited || each == insDebit
			return cardFine
		}
		return cardBefore
	}
}

const (
	insInitialize = 0x50
	insDebit      = 0x54
)

// purchaseCardFaults act in the field, in the chip and on the disk.
func purchaseCardFaults() []Fault {
	silent := purchaseFault("debit-silent", "P9", 6, wallet.PurchaseNotTaken, "The card never answers while it is being debited; the program waits some seconds.", "扣款时卡片始终没有应答，程序等待数秒。", at(insDebit, cardSilent))
	silent.silent = true
	return []Fault{
		purchaseFault("pay-card-leaves-in-init", "P1", 0, wallet.PurchasePaid, "The card is lifted for a moment at the beginning (INITIALIZE FOR PURCHASE) and put back.", "开始时（消费初始化）卡片被移开片刻又放回。", func(a *accident) {
			at(insInitialize, cardBefore)(a)
			a.comeBack = true
		}),
		purchaseFault("pay-card-removed-before-debit", "P5", 6, wallet.PurchaseNotTaken, "The card is taken away when the platform has permitted the purchase, before it is debited.", "平台已授权，扣款之前卡片被拿走。", at(insDebit, cardBefore)),
		purchaseFault("debit-torn", "P6", 6, wallet.PurchaseNotTaken, "The card is pulled away while it is being debited, before it has changed its balance.", "扣款过程中卡片被拿走，余额尚未改变。", at(insDebit, cardInside)),
		purchaseFault("debit-answer-lost", "P7", 6, wallet.PurchasePaid, "The card is pulled away while it is being debited: its balance is lower, its answer is lost.", "扣款过程中卡片被拿走，余额已经减少，应答丢失。", at(insDebit, cardAfter)),
		purchaseFault("debit-refused", "P8", 6, wallet.PurchaseNotTaken, "The card refuses to be debited, because the platform's code is wrong (9302).", "卡片认为平台的认证码错误（9302），拒绝扣款。", at(insDebit, card9302)),
		purchaseFault("debit-eeprom-error", "P9", 6, wallet.PurchaseNotTaken, "The card reports a memory fault while it is being debited (6581): debited or not, nobody knows.", "扣款时卡片报告存储器错误（6581），是否扣款不得而知。", at(insDebit, card6581)),
		silent,
		purchaseFault("pay-card-leaves-after-debit", "P10", 0, wallet.PurchasePaid, "The card is taken away right after it was debited. A return of balance (unload) then lacks its last proof and ends with 6.", "扣款后卡片立即被拿走。取回余额（unload）因缺少最后的证明而以 6 结束。", leaveAfterDebit),
		purchaseFault("pay-card-blocked", "P12", 6, wallet.PurchaseAuthorised, "The card is taken away before it is debited, and is blocked when it comes back.", "扣款前卡片被拿走，再次放上时已被锁定。", func(a *accident) {
			at(insDebit, cardBefore)(a)
			a.blocks = true
		}),
		purchaseFault("disk-full-at-debiting", "P5", 6, wallet.PurchaseNotTaken, "The disk is full when the program wants to note that it is about to debit the card; so it does not debit it.", "程序要记下“即将扣款”时磁盘已满，因此不扣款。", full(wallet.StageDebiting)),
		purchaseFault("disk-full-after-debit", "P10", 0, wallet.PurchasePaid, "The card is debited, and the disk is full when its proof is to be kept.", "卡片已扣款，保存凭证时磁盘已满。", full(wallet.StageDebited)),
	}
}
