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
		kill("pay-killed-at-intent", "P1", "after:PINTENT", "", "The program is killed right after the purchase was confirmed.", "确认消费之后程序立即被强制结束。"),
		kill("pay-killed-at-init", "P1", "before:ASKED", "", "The program is killed after the card answered INITIALIZE FOR PURCHASE.", "卡片应答消费初始化后程序被强制结束。"),
		kill("pay-killed-at-asked", "P2", "after:ASKED", wallet.PurchaseDeclined, "The program is killed just before the purchase request leaves.", "消费请求发出之前程序被强制结束。"),
		kill("pay-killed-before-authorised", "P3", "before:AUTHORISED", wallet.PurchaseNotTaken, "The program is killed when the authorisation arrives, before it is on disk.", "消费授权到达、尚未落盘时程序被强制结束。"),
		kill("pay-killed-at-authorised", "P5", "after:AUTHORISED", wallet.PurchaseNotTaken, "The program is killed with the authorisation in hand.", "收到消费授权后程序被强制结束。"),
		kill("pay-killed-at-debiting", "P6", "after:DEBITING", wallet.PurchaseNotTaken, "The program is killed just before DEBIT FOR PURCHASE.", "扣款指令发出之前程序被强制结束。"),
		kill("pay-killed-in-debit", "P7", "card:54", wallet.PurchasePaid, "The card is debited, the program is killed before it sees the answer.", "卡片已扣款，程序在收到应答前被强制结束。"),
		kill("pay-killed-before-debited", "P10", "before:DEBITED", wallet.PurchasePaid, "The program is killed with the card's proof of debit still in memory.", "扣款凭证仍在内存时程序被强制结束。"),
		kill("pay-killed-at-debited", "P10", "after:DEBITED", wallet.PurchasePaid, "The program is killed before the proof of debit is sent.", "扣款凭证上送之前程序被强制结束。"),
	}
}

// purchaseNetworkFaults cut or distort the wire to the platform.
func purchaseNetworkFaults() []Fault {
	faults := []Fault{
		purchaseFault("pay-request-lost", "P2", 6, wallet.PurchaseDeclined, "The network goes away just before the purchase request.", "消费请求发出前网络中断。", cutRequest("purchases", true)),
		purchaseFault("pay-request-lost-once", "P2", 0, wallet.PurchasePaid, "The first purchase request is lost, the network stays.", "第一次消费请求丢失，网络随即恢复。", cutRequest("purchases", false)),
		purchaseFault("pay-request-delayed", "P2", 4, wallet.PurchaseDeclined, "The purchase request arrives only after its key was abandoned.", "消费请求在作废之后才到达平台。", delayRequest("purchases")),
		purchaseFault("pay-grant-answer-lost", "P3", 6, wallet.PurchaseNotTaken, "The platform authorises the purchase, the answer and the network are lost.", "平台已授权消费，应答丢失且网络中断。", cutAnswer("purchases", true)),
		purchaseFault("pay-grant-answer-lost-once", "P3", 0, wallet.PurchasePaid, "The answer is lost once; the same request gets the same authorisation.", "应答丢失一次，同一请求得到同一授权。", cutAnswer("purchases", false)),
		purchaseFault("pay-grant-forged", "P4", 6, wallet.PurchaseNotTaken, "One bit of the purchase grant is flipped on the way.", "消费授权在途中被篡改一位。", forgeGrant("purchases")),
		purchaseFault("pay-result-lost", "P10", 6, wallet.PurchasePaid, "The card is debited, the network goes away before the proof is sent.", "卡片已扣款，凭证上送前网络中断。", cutRequest("purchases/result", true)),
		purchaseFault("pay-result-answer-lost", "P11", 6, wallet.PurchasePaid, "The platform books the purchase, its acknowledgement is lost.", "平台已记账，确认应答丢失。", cutAnswer("purchases/result", true)),
	}
	silent := purchaseFault("pay-request-lost-silent", "P2", 6, wallet.PurchaseDeclined, "The network falls silent just before the purchase request.", "消费请求发出前网络无声中断。", cutRequest("purchases", true))
	silent.silent = true
	return append(faults, silent)
}

// purchasePlatformFaults end the embedded platform at a commit, let its clock run, or
// restore it.
func purchasePlatformFaults() []Fault {
	faults := []Fault{
		purchaseFault("pay-platform-dies-before-commit", "P2", 6, wallet.PurchaseDeclined, "The platform dies before it stores the authorisation.", "平台在保存消费授权之前崩溃。", die("purchases", true)),
		purchaseFault("pay-platform-dies-after-commit", "P3", 6, wallet.PurchaseNotTaken, "The platform dies after it stored the authorisation.", "平台保存消费授权之后崩溃。", die("purchases", false)),
		purchaseFault("pay-result-dies-before-commit", "P10", 6, wallet.PurchasePaid, "The card is debited, the platform dies before it books the purchase.", "卡片已扣款，平台在记账之前崩溃。", die("purchases/result", true)),
		purchaseFault("pay-result-late", "P10", 5, wallet.PurchaseRefunded, "The proof of debit reaches the platform only after the merchant's reservation has lapsed.", "扣款凭证在商户保留期过后才到达平台。", lateResult),
		purchaseFault("pay-platform-restored", "P12", 0, wallet.PurchasePaid, "The platform is restored from a backup older than the purchase.", "平台从早于消费的备份恢复。", func(a *accident) { a.restore = true }),
		purchaseFault("pay-platform-restored-in-debit", "P12", 6, wallet.PurchasePaid, "The card is debited, its answer is lost, and the platform is restored from an older backup.", "卡片已扣款、应答丢失，且平台从更早的备份恢复。", func(a *accident) {
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
	silent := purchaseFault("debit-silent", "P9", 6, wallet.PurchaseNotTaken, "The card never answers DEBIT FOR PURCHASE.", "卡片对扣款指令始终无应答。", at(insDebit, cardSilent))
	silent.silent = true
	return []Fault{
		purchaseFault("pay-card-leaves-in-init", "P1", 0, wallet.PurchasePaid, "The card leaves during INITIALIZE FOR PURCHASE and is put back.", "消费初始化时卡片移开又放回。", func(a *accident) {
			at(insInitialize, cardBefore)(a)
			a.comeBack = true
		}),
		purchaseFault("pay-card-removed-before-debit", "P5", 6, wallet.PurchaseNotTaken, "The card is taken away when the authorisation arrives.", "消费授权到达时卡片被拿走。", at(insDebit, cardBefore)),
		purchaseFault("debit-torn", "P6", 6, wallet.PurchaseNotTaken, "The card is torn out inside DEBIT FOR PURCHASE, before its commit.", "扣款过程中、提交之前卡片被拿走。", at(insDebit, cardInside)),
		purchaseFault("debit-answer-lost", "P7", 6, wallet.PurchasePaid, "The card is debited, its answer is lost.", "卡片已扣款，应答丢失。", at(insDebit, cardAfter)),
		purchaseFault("debit-refused", "P8", 6, wallet.PurchaseNotTaken, "The card answers 9302 to DEBIT FOR PURCHASE: MAC wrong.", "卡片对扣款指令应答 9302：MAC 错误。", at(insDebit, card9302)),
		purchaseFault("debit-eeprom-error", "P9", 6, wallet.PurchaseNotTaken, "The card answers 6581 to DEBIT FOR PURCHASE: EEPROM error.", "卡片对扣款指令应答 6581：存储器错误。", at(insDebit, card6581)),
		silent,
		purchaseFault("pay-card-leaves-after-debit", "P10", 0, wallet.PurchasePaid, "The card leaves right after it answered DEBIT FOR PURCHASE. A return of balance (unload) then lacks its last proof and ends with 6.", "卡片应答扣款指令后立即被拿走。取回余额（unload）因缺少最后的证明而以 6 结束。", leaveAfterDebit),
		purchaseFault("pay-card-blocked", "P12", 6, wallet.PurchaseAuthorised, "The card leaves before DEBIT FOR PURCHASE and is blocked when it comes back.", "扣款前卡片离开，再次放上时应用已被锁定。", func(a *accident) {
			at(insDebit, cardBefore)(a)
			a.blocks = true
		}),
		purchaseFault("disk-full-at-debiting", "P5", 6, wallet.PurchaseNotTaken, "The disk is full when DEBITING is to be written.", "写入 DEBITING 时磁盘已满。", full(wallet.StageDebiting)),
		purchaseFault("disk-full-after-debit", "P10", 0, wallet.PurchasePaid, "The disk is full when the card's proof of debit is to be written.", "写入扣款凭证时磁盘已满。", full(wallet.StageDebited)),
	}
}
