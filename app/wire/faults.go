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
	all = append(all, purchaseFaults()...)
	all = append(all, fundingFaults()...)
	all = append(all, bankFaults()...)
	for i, fault := range all {
		all[i] = inWords(fault)
	}
	return all
}

func texts(en, zh string) map[string]string { return map[string]string{"en": en, "zh": zh} }

// processFaults end the process with SIGKILL, sent by another process.
func processFaults() []Fault {
	kill := func(name, row, point, state, en, zh string) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exitKilled, ExpectState: state, Text: texts(en, zh), point: point}
	}
	return []Fault{
		kill("killed-at-intent", "2", "after:INTENT", "", "The program is killed right after you confirmed; neither card nor platform was asked for anything.", "确认之后程序立即被强制结束，卡片和平台都还没有收到请求。"),
		kill("killed-at-opened", "4", "after:OPENED", "", "The program is killed when the card has said that it is ready (INITIALIZE FOR LOAD); the platform was not asked.", "卡片刚刚就绪（圈存初始化）时程序被强制结束，平台还没有收到请求。"),
		kill("killed-at-asked", "5", "after:ASKED", "DECLINED", "The program is killed just before its request to the platform leaves.", "程序在向平台发出请求之前被强制结束。"),
		kill("killed-at-granted", "11", "after:GRANTED", "LOADED", "The program is killed when the platform has permitted the load and set the money aside; the card was not written.", "平台已授权并冻结款项，程序在写卡之前被强制结束。"),
		kill("killed-at-crediting", "12", "after:CREDITING", "LOADED", "The program is killed just before it writes the card (CREDIT FOR LOAD).", "程序在发出写卡指令（CREDIT FOR LOAD）之前的一刻被强制结束。"),
		kill("killed-in-credit", "13", "card:52", "LOADED", "The card has stored the money, and the program is killed before it hears so.", "卡片已存入金额，程序在收到应答之前被强制结束。"),
		kill("killed-before-credited", "16", "before:CREDITED", "LOADED", "The card has stored the money, and the program is killed before the card's proof is on the disk.", "卡片已存入金额，程序在把凭证存盘之前被强制结束。"),
		kill("killed-at-credited", "17", "after:CREDITED", "LOADED", "The card's proof is on the disk, and the program is killed before the platform hears of it.", "凭证已存盘，程序在告知平台之前被强制结束。"),
	}
}

// networkFaults cut or distort the wire to the platform.
func networkFaults() []Fault {
	load := func(name, row string, exit int, state, en, zh string, arm func(*accident)) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exit, ExpectState: state, Text: texts(en, zh), arm: arm}
	}
	faults := []Fault{
		load("request-lost", "5", 6, "DECLINED", "The network goes away just before the request to the platform, and stays away.", "向平台发出请求前网络中断，并且一直没有恢复。", cutRequest("loads", true)),
		load("request-lost-once", "5", 0, "LOADED", "The first request to the platform is lost; the network stays, and the program asks again by itself.", "第一次请求丢失，网络正常，程序自动重发。", cutRequest("loads", false)),
		load("request-delayed", "5", 4, "DECLINED", "The request travels so long that the order is given up before it arrives; the platform then refuses it.", "请求在路上耽搁，到达时订单已作废，平台拒绝它。", delayRequest("loads")),
		load("grant-answer-lost", "7", 6, "LOADED", "The platform permits the load and sets the money aside; its answer and the network are lost.", "平台已授权并冻结款项，应答丢失且网络中断。", cutAnswer("loads", true)),
		load("grant-answer-lost-once", "7", 0, "LOADED", "The platform's permission is lost once; the program asks again and gets the same one.", "平台的授权应答丢失一次，程序重发后得到同一授权。", cutAnswer("loads", false)),
		load("refusal-answer-lost", "8", 6, "DECLINED", "The platform refuses, and its answer and the network are lost (use an amount above a limit).", "平台拒绝，应答丢失且网络中断（请使用超限金额）。", loseRefusal("loads")),
		load("grant-forged", "9", 6, "LOADED", "Somebody changes the platform's permission on the way; the program notices and does not write the card.", "平台的授权在途中被人改动，程序识破，不写卡。", forgeGrant("loads")),
		load("result-lost", "17", 0, "LOADED", "The card has the money; the network goes away before the platform hears of it.", "卡片已入账，结果上送平台之前网络中断。", cutRequest("result", true)),
		load("result-answer-lost", "19", 0, "LOADED", "The card has the money and the platform books it; its confirmation is lost.", "卡片已入账，平台已记账，确认应答丢失。", cutAnswer("result", true)),
	}
	silent := load("request-lost-silent", "5", 6, "DECLINED", "As request-lost, but the network falls silent instead of breaking: the program waits some seconds.", "同 request-lost，但网络没有断开而是没有任何反应，程序会等待数秒。", cutRequest("loads", true))
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
		platform("platform-dies-before-commit", "6", 6, "DECLINED", "The platform breaks down before it has stored its permission.", "平台在保存授权之前崩溃。", die("loads", true)),
		platform("platform-dies-after-commit", "7", 6, "LOADED", "The platform stores its permission, sets the money aside, and breaks down before it answers.", "平台保存授权、冻结款项之后、应答之前崩溃。", die("loads", false)),
		platform("result-dies-before-commit", "18", 0, "LOADED", "The card has the money; the platform breaks down before it books the result.", "卡片已入账，平台在记账之前崩溃。", die("result", true)),
		platform("platform-restored", "20", 0, "LOADED", "After the top-up the platform is set back to a backup that knows nothing of the order.", "充值之后平台恢复到不含这笔订单的旧备份。", func(a *accident) { a.restore = true }),
	}
}

// cardFaults act in the field and in the chip.
func cardFaults() []Fault {
	card := func(name, row string, exit int, en, zh string, arm func(*accident)) Fault {
		return Fault{Name: name, Row: row, Flow: "load", ExpectExit: exit, ExpectState: "LOADED", Text: texts(en, zh), arm: arm}
	}
	const initialize, credit = 0x50, 0x52
	silent := card("credit-silent", "15", 6, "The card never answers while it is being written; the program waits some seconds.", "写卡时卡片始终没有应答，程序等待数秒。", at(credit, cardSilent))
	silent.silent = true
	blocked := card("card-blocked", "31", 6, "The card is taken away before it is written, and is blocked when it comes back.", "写卡前卡片被拿走，再次放上时已被锁定。", func(a *accident) {
		at(credit, cardBefore)(a)
		a.blocks = true
	})
	blocked.ExpectState = "GRANTED" // a blocked card proves nothing: the counter decides
	return []Fault{
		card("card-leaves-in-init", "3", 0, "The card is lifted for a moment at the beginning (INITIALIZE FOR LOAD) and put back.", "开始时（圈存初始化）卡片被移开片刻又放回。", func(a *accident) {
			at(initialize, cardBefore)(a)
			a.comeBack = true
		}),
		card("card-removed-before-credit", "10", 6, "The card is taken away when the platform has permitted the load, before it is written.", "平台已授权，写卡之前卡片被拿走。", at(credit, cardBefore)),
		card("credit-torn", "12", 6, "The card is pulled away while it is being written, before it has stored the money.", "写卡过程中卡片被拿走，金额尚未存入。", at(credit, cardInside)),
		card("credit-answer-lost", "13", 6, "The card is pulled away while it is being written: it has stored the money, its answer is lost.", "写卡过程中卡片被拿走，金额已经存入，应答丢失。", at(credit, cardAfter)),
		card("credit-refused", "14", 6, "The card refuses to be written, because the platform's code is wrong (9302).", "卡片认为平台的认证码错误（9302），拒绝写入。", at(credit, card9302)),
		card("credit-eeprom-error", "15", 6, "The card reports a memory fault while it is being written (6581): stored or not, nobody knows.", "写卡时卡片报告存储器错误（6581），是否存入不得而知。", at(credit, card6581)),
		silent,
		blocked,
	}
}

// diskFaults fill the disk under the journal.
func diskFaults() []Fault {
	return []Fault{
		{Name: "disk-full-at-crediting", Row: "28", Flow: "load", ExpectExit: 6, ExpectState: "LOADED", arm: full(wallet.StageCrediting),
			Text: texts("The disk is full when the program wants to note that it is about to write the card; so it does not write it.", "程序要记下“即将写卡”时磁盘已满，因此不写卡。")},
		{Name: "disk-full-after-tac", Row: "29", Flow: "load", ExpectExit: 0, ExpectState: "LOADED", arm: full(wallet.StageCredited),
			Text: texts("The card has the money, and the disk is full when its proof is to be kept.", "卡片已入账，保存凭证时磁盘已满。")},
	}
}
