package wire

import "walletcompanion/wallet"

// inWords adds to what a fault does what a person sees of it: what the cut command
// says, and how the order stands after the same card was put back once.
func inWords(fault Fault) Fault {
	said, end := saidWords[fault.ExpectExit], loadEnds[wallet.LoadState(fault.ExpectState)]
	if fault.Flow == wallet.KindPurchase {
		end = purchaseEnds[wallet.PurchaseStateName(fault.ExpectState)]
		if fault.ExpectExit == 0 {
			said = paidWords
		}
	}
	if fault.Flow == wallet.KindFunding {
		end = fundingEnds[wallet.FundingState(fault.ExpectState)]
		if words, other := fundingSaid[fault.ExpectExit]; other {
			said = words
		}
	}
	fault.Text = texts(fault.Text["en"]+" "+said.en+" "+end.en, fault.Text["zh"]+said.zh+end.zh)
	return fault
}

// words are one sentence in both languages.
type words struct{ en, zh string }

// saidWords is what a person sees at the end of the command, by its exit code.
var saidWords = map[int]words{
	0:          {"You see the success all the same.", "您仍会看到充值成功。"},
	4:          {"You see that the platform cannot be reached and that nothing was paid.", "您会看到平台无法连接，没有扣款。"},
	5:          {"You see that the platform refused.", "您会看到平台拒绝。"},
	6:          {"You see that the order is not settled yet and that the same card should be put back.", "您会看到订单尚未结清，请放回同一张卡。"},
	exitKilled: {"You see nothing: the program is gone.", "您什么也看不到：程序已经消失。"},
}

var paidWords = words{"You see the payment all the same.", "您仍会看到支付成功。"}

// fundingSaid is where a funding says something else: no card takes part in it.
var fundingSaid = map[int]words{
	6: {"You see that nobody knows yet whether the money has arrived, and that you should not pay again.", "您会看到款项是否到账尚不清楚，请不要再付一次。"},
}

// fundingEnds is how a funding stands after the next sync, which needs no card.
var fundingEnds = map[wallet.FundingState]words{
	wallet.FundingDone:     {"After the next sync the money is in the main account, once.", "同步之后款项在主账户中，且只有一次。"},
	wallet.FundingDeclined: {"After the next sync nothing is paid in, and the voucher can still be used.", "同步之后没有存入，充值券仍可使用。"},
}

// loadEnds is how a top-up stands after the next sync.
var loadEnds = map[wallet.LoadState]words{
	"":                   {"Nothing was paid, and the next command clears up.", "没有扣款，下次操作时自动清理。"},
	wallet.StateDeclined: {"After the next sync nothing is paid, and the card is as before.", "同步之后没有扣款，卡片余额不变。"},
	wallet.StateLoaded:   {"After the next sync the money is on the card, once.", "同步之后金额在卡上，且只有一次。"},
	wallet.StateGranted:  {"After the next sync the order is still open, since a blocked card proves nothing; a service counter settles it.", "同步之后订单仍未结清，因为被锁定的卡无法作证，由服务网点处理。"},
}

// purchaseEnds is how a purchase stands after the next sync.
var purchaseEnds = map[wallet.PurchaseStateName]words{
	"":                        {"Nothing was paid, and the next command clears up.", "没有扣款，下次操作时自动清理。"},
	wallet.PurchaseDeclined:   {"After the next sync the card is not debited, and nothing is bought.", "同步之后卡片没有扣款，也没有购买。"},
	wallet.PurchaseNotTaken:   {"After the next sync it is proven that the card was not debited; nothing is bought.", "同步之后已证明卡片没有扣款，也没有购买。"},
	wallet.PurchasePaid:       {"After the next sync the purchase is paid once and delivered.", "同步之后消费已支付一次并已交付。"},
	wallet.PurchaseRefunded:   {"The money goes back to the main account, and nothing is delivered.", "款项退回主账户，没有交付。"},
	wallet.PurchaseAuthorised: {"After the next sync the purchase is still open, since a blocked card proves nothing; a service counter settles it.", "同步之后消费仍未结清，因为被锁定的卡无法作证，由服务网点处理。"},
}
