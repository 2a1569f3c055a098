package wire

import (
	"bytes"
	"io"
	"net/http"

	"walletcompanion/wallet"
)

// exitKilled is the shell's exit code of a process ended by SIGKILL.
const exitKilled = 128 + 9

// Faults lists every named fault. Rows are those of the crash table in the
// protocol; ExpectState holds for cards of variant standard and for sync as the
// console does it (complete).
func Faults() []Fault {
	all := append(processFaults(), networkFaults()...)
	all = append(all, platformFaults()...)
	all = append(all, cardFaults()...)
	all = append(all, diskFaults()...)
	return append(all, purchaseFaults()...)
}

func texts(en, zh string) map[string]string { return map[string]string{"en": en, "zh": zh} }

// processFaults end the process with SIGKILL, sent by another process.
func processFaults() []Fault {
	kill := func(name, row, point, state, en, zh string) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exitKilled, ExpectState: state, Text: texts(en, zh), point: point}
	}
	return []Fault{
		kill("killed-at-intent", "2", "after:INTENT", "", "The program is killed right after the confirmation.", "确认之后程序立即被强制结束。"),
		kill("killed-at-opened", "4", "after:OPENED", "", "The program is killed after the card answered INITIALIZE FOR LOAD.", "卡片应答圈存初始化后程序被强制结束。"),
		kill("killed-at-asked", "5", "after:ASKED", "DECLINED", "The program is killed just before the request leaves.", "请求发出之前程序被强制结束。"),
		kill("killed-at-granted", "11", "after:GRANTED", "LOADED", "The program is killed with the grant in hand.", "收到授权后程序被强制结束。"),
		kill("killed-at-crediting", "12", "after:CREDITING", "LOADED", "The program is killed just before CREDIT FOR LOAD.", "写卡指令发出之前程序被强制结束。"),
		kill("killed-in-credit", "13", "card:52", "LOADED", "The card has the money, the program is killed before it sees the answer.", "卡片已入账，程序在收到应答前被强制结束。"),
		kill("killed-before-credited", "16", "before:CREDITED", "LOADED", "The program is killed with the card's proof still in memory.", "卡片凭证仍在内存时程序被强制结束。"),
		kill("killed-at-credited", "17", "after:CREDITED", "LOADED", "The program is killed before the result is sent.", "结果上送之前程序被强制结束。"),
	}
}

// networkFaults cut or distort the wire to the platform.
func networkFaults() []Fault {
	load := func(name, row string, exit int, state, en, zh string, arm func(*accident)) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exit, ExpectState: state, Text: texts(en, zh), arm: arm}
	}
	faults := []Fault{
		load("request-lost", "5", 6, "DECLINED", "The network goes away just before the request.", "请求发出前网络中断。", cutRequest("loads", true)),
		load("request-lost-once", "5", 0, "LOADED", "The first request is lost, the network stays.", "第一次请求丢失，网络随即恢复。", cutRequest("loads", false)),
		load("request-delayed", "5", 4, "DECLINED", "The request arrives only after the order was abandoned.", "请求在订单作废之后才到达平台。", delayRequest("loads")),
		load("grant-answer-lost", "7", 6, "LOADED", "The platform grants, the answer and the network are lost.", "平台已授权，应答丢失且网络中断。", cutAnswer("loads", true)),
		load("grant-answer-lost-once", "7", 0, "LOADED", "The answer is lost once; the same request gets the same grant.", "应答丢失一次，同一请求得到同一授权。", cutAnswer("loads", false)),
		load("refusal-answer-lost", "8", 6, "DECLINED", "The platform refuses, the answer and the network are lost (use an amount above a limit).", "平台拒绝，应答丢失且网络中断（请使用超限金额）。", loseRefusal("loads")),
		load("grant-forged", "9", 6, "LOADED", "One bit of the grant is flipped on the way.", "授权在途中被篡改一位。", forgeGrant("loads")),
		load("result-lost", "17", 0, "LOADED", "The network goes away before the result is sent.", "结果上送前网络中断。", cutRequest("result", true)),
		load("result-answer-lost", "19", 0, "LOADED", "The platform books the result, its acknowledgement is lost.", "平台已入账，确认应答丢失。", cutAnswer("result", true)),
	}
	silent := load("request-lost-silent", "5", 6, "DECLINED", "The network falls silent just before the request.", "请求发出前网络无声中断。", cutRequest("loads", true))
	silent.silent = true
	return append(faults, silent)
}

// cutRequest cuts the first request of a route before it leaves; stay says that the
// network stays away.
func cutRequest(route string, stay bool) func(*accident) {
	return func(a *accident) {
		a.request = func(a *accident, each string) error {
			if each != "POST "+route || !a.strike() {
				return nil
			}
			if stay {
				a.cutNetwork()
			}
			return errCut
		}
	}
}

// cutAnswer lets the request through and loses its answer.
func cutAnswer(route string, stay bool) func(*accident) {
	return func(a *accident) {
		a.answer = func(a *accident, each string, _ *http.Response) error {
			if each != "POST "+route || !a.strike() {
				return nil
			}
			if stay {
				a.cutNetwork()
			}
			return errCut
		}
	}
}

// delayRequest holds the request back until the order has been abandoned.
func delayRequest(route string) func(*accident) {
	return func(a *accident) {
		a.delays = true
		a.request = func(a *accident, each string) error {
			if each == "POST "+route {
				a.strike()
				return errCut
			}
			return nil
		}
	}
}

// loseRefusal loses the answer of a refused request.
func loseRefusal(route string) func(*accident) {
	return func(a *accident) {
		a.answer = func(a *accident, each string, response *http.Response) error {
			if each != "POST "+route || response.StatusCode < 400 || !a.strike() {
				return nil
			}
			a.cutNetwork()
			return errCut
		}
	}
}

// forgeGrant flips one bit inside the signed payload of the grant.
func forgeGrant(route string) func(*accident) {
	return func(a *accident) {
		a.answer = func(a *accident, each string, response *http.Response) error {
			if each != "POST "+route || response.StatusCode != http.StatusOK || !a.strike() {
				return nil
			}
			body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
			response.Body.Close()
			if err != nil {
				return err
			}
			if at := bytes.Index(body, []byte(`"payload":"`)); at >= 0 {
				at += len(`"payload":"`) + 40
				body[at] = map[bool]byte{true: 'B', false: 'A'}[body[at] == 'A']
			}
			response.Body = io.NopCloser(bytes.NewReader(body))
			return nil
		}
	}
}

// die ends the embedded platform at a commit of a route.
func die(route string, before bool) func(*accident) {
	return func(a *accident) {
		a.commit = func(a *accident, isBefore bool, each string) error {
			if isBefore != before || routeOf(each) != route || !a.strike() {
				return nil
			}
			a.cutNetwork()
			return errCut
		}
	}
}

// at does something to the first command with an instruction byte.
func at(ins byte, what cardFault) func(*accident) {
	return func(a *accident) {
		a.command = func(a *accident, each byte) cardFault {
			if each != ins || !a.strike() {
				return cardFine
			}
			return what
		}
	}
}

// full fills the disk while a stage is written.
func full(stage wallet.Stage) func(*accident) {
	return func(a *accident) { a.fullDisk = stage }
}

// platformFaults end the embedded platform at a commit, or restore it.
func platformFaults() []Fault {
	platform := func(name, row string, exit int, state, en, zh string, arm func(*accident)) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exit, ExpectState: state, Text: texts(en, zh), arm: arm, embedded: true}
	}
	return []Fault{
		platform("platform-dies-before-commit", "6", 6, "DECLINED", "The platform dies before it stores the grant.", "平台在保存授权之前崩溃。", die("loads", true)),
		platform("platform-dies-after-commit", "7", 6, "LOADED", "The platform dies after it stored the grant.", "平台保存授权之后崩溃。", die("loads", false)),
		platform("result-dies-before-commit", "18", 0, "LOADED", "The platform dies before it books the result.", "平台在记账之前崩溃。", die("result", true)),
		platform("platform-restored", "20", 0, "LOADED", "The platform is restored from a backup older than the order.", "平台从早于订单的备份恢复。", func(a *accident) { a.restore = true }),
	}
}

// cardFaults act in the field and in the chip.
func cardFaults() []Fault {
	card := func(name, row string, exit int, en, zh string, arm func(*accident)) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exit, ExpectState: "LOADED", Text: texts(en, zh), arm: arm}
	}
	const initialize, credit = 0x50, 0x52
	silent := card("credit-silent", "15", 6, "The card never answers CREDIT FOR LOAD.", "卡片对写卡指令始终无应答。", at(credit, cardSilent))
	silent.silent = true
	blocked := card("card-blocked", "31", 6, "The card leaves before CREDIT FOR LOAD and is blocked when it comes back.", "写卡前卡片离开，再次放上时应用已被锁定。", func(a *accident) {
		at(credit, cardBefore)(a)
		a.blocks = true
	})
	blocked.ExpectState = "GRANTED" // a blocked card proves nothing: the counter decides
	return []Fault{
		card("card-leaves-in-init", "3", 0, "The card leaves during INITIALIZE FOR LOAD and is put back.", "圈存初始化时卡片移开又放回。", func(a *accident) {
			at(initialize, cardBefore)(a)
			a.comeBack = true
		}),
		card("card-removed-before-credit", "10", 6, "The card is taken away when the grant arrives.", "授权到达时卡片被拿走。", at(credit, cardBefore)),
		card("credit-torn", "12", 6, "The card is torn out inside CREDIT FOR LOAD, before its commit.", "写卡过程中、提交之前卡片被拿走。", at(credit, cardInside)),
		card("credit-answer-lost", "13", 6, "The card has the money, its answer is lost.", "卡片已入账，应答丢失。", at(credit, cardAfter)),
		card("credit-refused", "14", 6, "The card answers 9302: MAC wrong.", "卡片应答 9302：MAC 错误。", at(credit, card9302)),
		card("credit-eeprom-error", "15", 6, "The card answers 6581: EEPROM error.", "卡片应答 6581：存储器错误。", at(credit, card6581)),
		silent,
		blocked,
	}
}

// diskFaults fill the disk under the journal.
func diskFaults() []Fault {
	return []Fault{
		{Name: "disk-full-at-crediting", Row: "28", Flow: "load", ExpectExit: 6, ExpectState: "LOADED", arm: full(wallet.StageCrediting),
			Text: texts("The disk is full when CREDITING is to be written.", "写入 CREDITING 时磁盘已满。")},
		{Name: "disk-full-after-tac", Row: "29", Flow: "load", ExpectExit: 0, ExpectState: "LOADED", arm: full(wallet.StageCredited),
			Text: texts("The disk is full when the card's proof is to be written.", "写入卡片凭证时磁盘已满。")},
	}
}
