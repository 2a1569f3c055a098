package ui

import (
	"encoding/json"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"
	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
	"walletcompanion/assets/look"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

var (
	now    = time.Date(2026, 11, 22, 3, 42, 0, 0, time.UTC) // 11:42 on the card's clock
	serial = wallet.ASN{0, 0, 0x62, 0x17, 0, 0, 0x90, 0x12, 0x55, 0x21}
	slot   = reader.Info{Name: "ACS ACR122U", Driver: "pcsc", State: reader.StatePresent}
)

const number = "6217000090125521"

func purse() *wallet.Purse {
	record := func(kind byte, fen wallet.Fen, before time.Duration) wallet.Record {
		return wallet.Record{Type: kind, Amount: fen, Time: now.Add(-before), Terminal: wallet.TerminalNumber{0, 0, 0, 0, 1, 2}}
	}
	return &wallet.Purse{
		ASN: serial, Number: number, Balance: 1286_50, BalanceKnown: true, Complete: true,
		ValidUntil: time.Date(2031, 8, 31, 0, 0, 0, 0, time.UTC),
		Records: []wallet.Record{
			record(wallet.TypePurchaseEP, 2_00, time.Hour), record(wallet.TypeLoadEP, 100_00, 24*time.Hour), record(wallet.TypePurchaseEP, 12_80, 72*time.Hour),
		},
	}
}

func cached() *core.SavedReading {
	return &core.SavedReading{ASN: serial, Number: number, Balance: 286_50, At: now.Add(-3 * 24 * time.Hour)}
}

func readState() core.State {
	return core.State{Service: core.ServiceOK, Reader: slot, Card: core.CardRead, Purse: purse(), ReadAt: now, Cached: cached()}
}

func openLine(stage wallet.Stage) core.OrderLine {
	return core.OrderLine{Order: "261121-01-000417", Stage: stage, ASN: serial, Amount: 50_00, Created: now.Add(-15 * time.Hour), Paid: true}
}

func trouble(code string) core.State {
	return core.State{Service: core.ServiceOK, Card: core.CardNone, Trouble: &core.Failure{Code: code}}
}

// shown is a page in a window of the test driver, with a clock that a test turns.
type shown struct {
	*page
	window  fyne.Window
	rereads int
	spoken  string // language that was asked for
	after   func()
}

func show(t *testing.T, language string, dark bool, state core.State) *shown {
	app := test.NewTempApp(t)
	choice := ThemeLight
	if dark {
		choice = ThemeDark
	}
	look := newTheme(choice)
	app.Settings().SetTheme(look)
	s := &shown{}
	s.page = newPage(lang.Texts(language), look, dark, actions{
		reread: func() { s.rereads++ }, language: func(name string) { s.spoken = name }, theme: func(string) {},
		now: func() time.Time { return now },
		after: func(wait time.Duration, then func()) func() {
			require.Equal(t, 10*time.Second, wait)
			s.after = then
			return func() { s.after = nil }
		},
	})
	s.window = test.NewTempWindow(t, s.root)
	s.window.SetPadded(false)
	s.window.Resize(fyne.NewSize(1024, 700))
	s.Render(state)
	s.keepPicture(t)
	return s
}

// keepPicture writes what is shown into the folder WALLET_PICTURES, for people.
func (s *shown) keepPicture(t *testing.T) {
	dir := os.Getenv("WALLET_PICTURES")
	if dir == "" {
		return
	}
	file, err := os.Create(filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+".png"))
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, png.Encode(file, s.window.Canvas().Capture()))
}

// texts are all words that are visible, without spaces, because paragraphs are cut
// into lines.
func (s *shown) texts() string {
	var all strings.Builder
	for _, object := range test.LaidOutObjects(s.root) {
		if line, is := object.(*canvas.Text); is && line.Visible() {
			all.WriteString(line.Text + "|")
		}
	}
	return squeeze(all.String())
}

func squeeze(text string) string {
	return strings.NewReplacer(" ", "", "|", "").Replace(text)
}

func (s *shown) has(t *testing.T, wanted ...string) {
	t.Helper()
	texts := s.texts()
	for _, each := range wanted {
		require.Contains(t, texts, squeeze(each))
	}
}

func (s *shown) lacks(t *testing.T, unwanted ...string) {
	t.Helper()
	texts := s.texts()
	for _, each := range unwanted {
		require.NotContains(t, texts, squeeze(each))
	}
}

func (s *shown) allButtons() (found []*button) {
	for _, object := range test.LaidOutObjects(s.root) {
		if b, is := object.(*button); is {
			found = append(found, b)
		}
	}
	return found
}

func TestPageTellsOfReaders(t *testing.T) {
	for _, each := range []struct{ code, language, title, remedy, line string }{
		{"READER_NONE", "zh", "没有找到读卡器", "把读卡器插到电脑的 USB 口", "没有读卡器"},
		{"READER_NONE", "en", "", "", "No reader"},
		{"READER_SERVICE_STOPPED", "zh", "智能卡服务没有运行", "启动服务后再试", "智能卡服务没有运行"},
		{"READER_SERVICE_STOPPED", "en", "", "", "Card service is off"},
		{"READER_DENIED", "zh", "没有使用读卡器的权限", "", "没有使用权限"},
	} {
		t.Run(each.code+"-"+each.language, func(t *testing.T) {
			state := trouble(each.code)
			state.Cached = cached()
			switch each.code {
			case "READER_SERVICE_STOPPED":
				state.Service = core.ServiceNotRunning
			case "READER_DENIED":
				state.Service = core.ServiceDenied
			}
			s := show(t, each.language, false, state)
			told := core.Tell(lang.Texts(each.language), each.code, false, nil)
			s.has(t, told.Title, told.Text, each.title, each.remedy, each.line, each.code)
			for _, remedy := range told.Remedies {
				s.has(t, remedy)
			}
			s.has(t, "286.50", "5521")
			s.lacks(t, number)
		})
	}
}

func TestPageAsksForACard(t *testing.T) {
	state := trouble("CARD_NONE")
	state.Reader = reader.Info{Name: "ACS ACR122U", State: reader.StateEmpty}
	s := show(t, "zh", false, state)
	s.has(t, "请把卡放在读卡器上", "读卡器就绪", "ACS ACR122U")
	s.lacks(t, "上次读到", "CARD_NONE", "演示")

	state.Cached, state.Demo = cached(), true
	s.Render(state)
	s.has(t, "上次读到", "286.50 元", "尾号 5521", "3 天前读到，可能已经变化", "演示，不是真钱")
	s.keepPicture(t)
}

func TestPageShowsTheBalanceBeforeTheRecords(t *testing.T) {
	state := core.State{Service: core.ServiceOK, Reader: slot, Card: core.CardReading}
	s := show(t, "en", false, state)
	s.has(t, "Reading the card", "Please leave the card")
	s.lacks(t, "¥", "You can take the card")

	first := purse()
	first.Number, first.Records, first.ASN = "", nil, wallet.ASN{}
	state.Purse, state.ReadAt = first, now
	s.Render(state)
	s.has(t, "¥", "1,286.50", "Reading records", "Please leave the card")
	s.lacks(t, "You can take the card", "There are no records")
	s.keepPicture(t)
}

func TestPageShowsACard(t *testing.T) {
	for language, wanted := range map[string][]string{
		"zh": {"卡上余额", "¥", "1,286.50", "11:42 读自卡片", "可以拿开卡了", "有效期至 2031-08-31", "今天 10:42", "昨天 11:42", "11-19 11:42", "消费", "充值", "−2.00", "+100.00", "终端 000000000102", "卡在读卡器上"},
		"en": {"On the card", "¥", "1,286.50", "Read from the card at 11:42", "You can take the card", "Valid until 2031-08-31", "Today 10:42", "Yesterday 11:42", "Purchase", "Top-up", "−12.80", "Card on the reader"},
	} {
		t.Run(language, func(t *testing.T) {
			s := show(t, language, language == "en", readState())
			s.has(t, wanted...)
			s.has(t, "6217", "5521")
			s.lacks(t, number, "62170000", "Last reading", "上次读到", "{{", "ui.")
		})
	}
}

func TestPageHidesTheNumberAgain(t *testing.T) {
	s := show(t, "zh", false, readState())
	s.lacks(t, number)
	s.reveal()
	s.has(t, number)
	s.keepPicture(t)
	s.after() // ten seconds later
	s.lacks(t, number)

	s.reveal()
	s.key(&fyne.KeyEvent{Name: fyne.KeyEscape})
	s.lacks(t, number)
	require.Nil(t, s.after, "the clock is stopped")

	s.reveal()
	s.Render(readState())
	s.has(t, number) // the same card: a new state does not hide it
	other := readState()
	other.Purse.ASN[9]++
	s.Render(other)
	s.lacks(t, number)
	require.False(t, s.revealed)
}

func TestPageTellsOfABlockedCard(t *testing.T) {
	for _, language := range []string{"zh", "en"} {
		t.Run(language, func(t *testing.T) {
			state := readState()
			state.Card, state.Trouble = core.CardBlocked, &core.Failure{Code: "CARD_BLOCKED"}
			s := show(t, language, false, state)
			told := core.Tell(lang.Texts(language), "CARD_BLOCKED", false, nil)
			s.has(t, told.Title, told.Text, told.Remedies[0], "CARD_BLOCKED")
			s.lacks(t, number)
			state.Purse = nil
			s.Render(state)
			s.has(t, told.Title, "286.50")
		})
	}
}

func TestPageTellsOfALostCard(t *testing.T) {
	state := trouble("CARD_LOST")
	state.Card, state.Reader, state.Purse = core.CardLost, slot, purse()
	s := show(t, "zh", true, state)
	told := core.Tell(lang.Texts("zh"), "CARD_LOST", false, nil)
	s.has(t, told.Title, told.Remedies[0], "再读一次", "卡里的钱没有变化")
}

func TestPageSaysWhereOpenMoneyIs(t *testing.T) {
	unknown := map[wallet.Stage][]string{
		wallet.StageAsked:     {"50.00 元的充值还没有答复", "还不知道付款没有，请不要再付一次。"},
		wallet.StageGranted:   {"有 50.00 元已付款，还没写到卡上", "钱没有丢，在路上。", "请运行 walletctl sync"},
		wallet.StageCrediting: {"有 50.00 元已付款，还不知道写到卡上没有", "只有卡能说清"},
		wallet.StageUnknown:   {"有 50.00 元已付款，还不知道写到卡上没有"},
		wallet.StageCredited:  {"有 50.00 元已在卡上，结果还没送到平台"},
	}
	for stage, wanted := range unknown {
		t.Run(string(stage), func(t *testing.T) {
			state := readState()
			state.Open = []core.OrderLine{openLine(stage)}
			s := show(t, "zh", false, state)
			s.has(t, wanted...)
			s.has(t, "订单 261121-01-000417", "1,286.50")
			s.lacks(t, "失败")
		})
	}
}

func TestPageSaysHowAPurchaseStands(t *testing.T) {
	for stage, wanted := range map[wallet.Stage][]string{
		wallet.StageAsked:    {"一笔 50.00 元的付款，卡是否扣款还不知道", "请不要再付一次", "要了结这笔付款，请运行 walletctl sync"},
		wallet.StageDebiting: {"一笔 50.00 元的付款，卡是否扣款还不知道", "这笔付款还没有完成"},
		wallet.StageDoubtful: {"一笔 50.00 元的付款，卡是否扣款还不知道"},
		wallet.StageDebited:  {"卡已付 50.00 元，平台还没有确认", "不用操作"},
	} {
		t.Run(string(stage), func(t *testing.T) {
			state, line := readState(), openLine(stage)
			line.Kind = wallet.KindPurchase
			state.Open = []core.OrderLine{line}
			s := show(t, "zh", false, state)
			s.has(t, wanted...)
			s.lacks(t, "写完或退回", "失败")
		})
	}
	for end, wanted := range map[wallet.PurchaseStateName]string{
		wallet.PurchasePaid: "the payment of ¥50.00 is complete", wallet.PurchaseNotTaken: "the card was not debited ¥50.00",
		wallet.PurchaseRefunded: "¥50.00 went back to the main account",
	} {
		state := readState()
		state.Settled = []core.SyncLine{{Kind: wallet.KindPurchase, To: wallet.LoadState(end), Amount: 50_00}}
		show(t, "en", false, state).has(t, wanted)
	}
}

func TestPageTellsOfTheTouch(t *testing.T) {
	state := readState()
	state.Open, state.Settling = []core.OrderLine{openLine(wallet.StageUnknown)}, true
	s := show(t, "en", false, state)
	s.has(t, "Asking the platform…", "Checking orders")
	s.lacks(t, "You can take the card")

	state.Settling = false
	state.Unsettled = &core.Failure{Code: "ORDER_OPEN", Err: &reader.Error{Class: reader.CardGone, Op: "transmit", Err: errors.New("gone")}}
	s.Render(state)
	s.has(t, "It could not be checked this time: "+core.Tell(lang.Texts("en"), "CARD_LOST", false, nil).Title)
	s.keepPicture(t)

	state.Unsettled, state.Open = nil, nil
	state.Settled = []core.SyncLine{{To: wallet.StateLoaded, Amount: 50_00}}
	s.Render(state)
	s.has(t, "Settled: ¥50.00 is on the card")

	state = trouble("CARD_NONE")
	state.Open = []core.OrderLine{openLine(wallet.StageUnknown), openLine(wallet.StageGranted), openLine(wallet.StageAsked)}
	s.Render(state)
	s.has(t, "Place the card ending 5521 on the reader", "2 more orders are not settled")

	state = readState()
	state.Purse.ASN[0]++
	state.Open = []core.OrderLine{openLine(wallet.StageUnknown)}
	s.Render(state)
	s.has(t, "Another card is on the reader")
}

func TestPageIsHonestAboutRecords(t *testing.T) {
	state := readState()
	state.Purse.Records = nil
	s := show(t, "zh", false, state)
	s.has(t, "卡上还没有记录")
	state.Purse.Problems = []string{wallet.ProblemPINNeeded}
	s.Render(state)
	s.has(t, "需要卡片密码")
	s.lacks(t, "还没有记录")
	state = readState()
	state.Purse.Records[0].Problem, state.Purse.Records[0].Time = wallet.ProblemRecordDate, time.Time{}
	state.Purse.Problems = []string{wallet.ProblemRecordsCutShort}
	state.Warning = errors.New("disk full")
	s.Render(state)
	s.has(t, "记录没有读全", "这条记录不完整", "没有日期", "没有存入历史")
	state.Purse.BalanceKnown = false
	s.Render(state)
	s.has(t, "余额没有读到", "上次读到", "286.50 元")
	s.lacks(t, "1,286.50")
}

func TestKeys(t *testing.T) {
	s := show(t, "zh", false, readState())
	s.key(&fyne.KeyEvent{Name: fyne.KeyF5})
	require.Equal(t, 1, s.rereads)
	seen := 0
	for _, b := range s.allButtons() {
		before := s.rereads
		b.TypedKey(&fyne.KeyEvent{Name: fyne.KeyF5})
		require.Equal(t, before+1, s.rereads, "a focused button hands F5 on")
		if b.Text == lang.Texts("zh").T("ui.language", nil) {
			b.TypedKey(&fyne.KeyEvent{Name: fyne.KeyReturn})
			seen++
		}
	}
	require.Equal(t, 1, seen)
	require.Equal(t, "en", s.spoken)
	for _, object := range test.LaidOutObjects(s.root) {
		if list, is := object.(*recordList); is {
			before := s.rereads
			list.TypedKey(&fyne.KeyEvent{Name: fyne.KeyF5})
			require.Equal(t, before+1, s.rereads, "so does the list")
		}
	}
	s.window.Canvas().FocusNext()
	require.NotNil(t, s.window.Canvas().Focused(), "Tab reaches something")
}

func TestFocusStays(t *testing.T) {
	s := show(t, "zh", false, readState())
	screen := s.window.Canvas()
	role := func() string {
		focused, is := screen.Focused().(*button)
		if !is {
			return ""
		}
		require.Same(t, s.page.buttons[focused.role], focused, "it is the button of the present page")
		return focused.role
	}
	screen.Focus(s.page.buttons["eye"])
	s.page.buttons["eye"].TypedKey(&fyne.KeyEvent{Name: fyne.KeySpace})
	s.has(t, number)
	require.Equal(t, "eye", role())
	state := trouble("CARD_LOST")
	state.Card = core.CardLost
	s.Render(state)
	require.Equal(t, mainButton, role(), "the eye is gone")
	s.Render(trouble("CARD_NONE"))
	require.Nil(t, screen.Focused())
	s.Render(readState())
	require.Nil(t, screen.Focused(), "nothing takes the focus by itself")
}

// Every pair that the page needs exists, and every name of tokens.json is Fyne's.
func TestTokens(t *testing.T) {
	var raw struct {
		FyneColorName map[string]string
		FyneSizeName  map[string]float32
	}
	require.NoError(t, json.Unmarshal(look.Tokens, &raw))
	for name, token := range raw.FyneColorName {
		require.Contains(t, fyneColors, name)
		require.NotPanics(t, func() { tokenHex(token, true) }, token)
	}
	for name := range raw.FyneSizeName {
		require.Contains(t, fyneSizes, name)
	}
	light, dark := newTheme(ThemeLight), newTheme(ThemeDark)
	require.Equal(t, parseColor("#F6F4EE"), light.Color(theme.ColorNameBackground, theme.VariantDark))
	require.Equal(t, parseColor("#131816"), dark.Color(theme.ColorNameBackground, theme.VariantLight))
	require.Equal(t, parseColor("#131816"), newTheme("").Color(theme.ColorNameBackground, theme.VariantDark))
	require.Equal(t, float32(14), light.Size(theme.SizeNameText))
	require.Equal(t, parseColor("#0B6B5C14"), light.Color(theme.ColorNameHover, theme.VariantDark))

	seen := map[string]string{}
	for name, pair := range loadTokens().Color {
		if other, twice := seen[pair.Light]; twice && pair.Light != "#FFFFFF" {
			require.Equal(t, loadTokens().Color[other].Dark, pair.Dark, "%s and %s: a drawing could mean either", name, other)
		}
		seen[pair.Light] = name
	}
}

// Each drawing holds only colours that the dark theme can replace.
func TestDrawings(t *testing.T) {
	files, err := look.Drawings.ReadDir("svg")
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".svg")
		if strings.HasPrefix(name, "app-icon") {
			continue
		}
		for _, colour := range fill.FindAllString(readDrawing(name), -1) {
			known := false
			for _, pair := range loadTokens().Color {
				known = known || pair.Light == colour
			}
			require.True(t, known, "%s: %s", name, colour)
		}
	}
}

func TestWrap(t *testing.T) {
	wide := func(text string) float32 { return float32(len([]rune(text))) }
	for _, each := range []struct {
		words string
		width float32
		want  []string
	}{
		{"one two three", 7, []string{"one two", "three"}},
		{"longword x", 4, []string{"longword", "x"}},
		{"把卡放回读卡器。", 7, []string{"把卡放回读卡", "器。"}},
		{"运行 sudo apt，然后", 12, []string{"运行 sudo apt，", "然后"}},
		{"", 5, []string{""}},
	} {
		require.Equal(t, each.want, wrap(each.words, wide, each.width), each.words)
	}
}

func TestAmounts(t *testing.T) {
	for fen, want := range map[wallet.Fen]string{0: "0.00", 5: "0.05", 99999: "999.99", 128650: "1,286.50", 123456789: "1,234,567.89", -320: "−3.20"} {
		require.Equal(t, want, amount(fen))
	}
	require.Equal(t, "6217 0000 9012 5521", groups(number))
	require.Equal(t, "6217 0000 9012 5521 34", groups(number+"34"))
	texts := lang.Texts("en")
	for past, want := range map[time.Duration]string{time.Second: "just now", time.Minute: "1 minute ago", 2 * time.Hour: "2 hours ago", 50 * time.Hour: "2 days ago"} {
		require.Equal(t, want, age(texts, now.Add(-past), now))
	}
}

// The smallest window holds every page.
func TestSmallestWindow(t *testing.T) {
	for _, state := range []core.State{readState(), trouble("READER_NONE"), trouble("CARD_NONE")} {
		state.Demo = true
		s := show(t, "en", false, state)
		require.LessOrEqual(t, s.root.MinSize().Width, float32(900))
		require.LessOrEqual(t, s.root.MinSize().Height, float32(600))
	}
}
