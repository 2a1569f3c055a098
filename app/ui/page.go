package ui

import (
	"slices"
	"strconv"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
	"walletcompanion/reader"
	"walletcompanion/wallet"
)

const (
	gutter       = 32
	contentWidth = 960
	// revealTime is how long a full card number stays on the screen.
	revealTime = 10 * time.Second
)

// actions are what the page asks for. All are called on the window's goroutine and
// must not block.
type actions struct {
	reread   func()
	tryCard  func()            // puts a virtual card into a reader of its own; nil: not offered
	language func(name string) // the person chose another one
	theme    func(choice string)
	after    func(time.Duration, func()) (stop func()) // calls back on the window's goroutine
	now      func() time.Time
}

// page is the one page of the window. All of its methods belong to the window's
// goroutine.
type page struct {
	parts
	actions
	root     *fyne.Container
	buttons  map[string]*button // of the present build, by role
	look     fyne.Theme
	texts    *lang.Localizer
	state    core.State
	platform *core.Failure // why there is no platform; nil: there is, or none is wanted
	revealed bool
	hide     func() // stops the clock of revealed
}

func newPage(texts *lang.Localizer, look fyne.Theme, dark bool, actions actions) *page {
	p := &page{parts: parts{dark}, look: look, actions: actions, root: container.NewStack(), texts: texts, hide: func() {}}
	p.state = core.State{Service: core.ServiceOK, Card: core.CardNone}
	p.build()
	return p
}

// Render shows a state. A card number that is shown in full is masked as soon as
// the card leaves or changes.
func (p *page) Render(state core.State) {
	if !sameCard(p.state.Purse, state.Purse) {
		p.mask()
	}
	p.state = state
	p.build()
}

func sameCard(a, b *wallet.Purse) bool {
	return a != nil && b != nil && a.ASN == b.ASN
}

func (p *page) t(key string, facts map[string]any) string { return p.texts.T(key, facts) }

// mainButton is the role of the one main action.
const mainButton = "main"

func (p *page) button(role, words string, icon fyne.Resource, tapped func()) *button {
	b := newButton(role, words, icon, p.key, tapped)
	p.buttons[role] = b
	return b
}

// build makes everything anew: states change a few times in a minute. The focus
// stays on what it was on, or goes to the main button.
func (p *page) build() {
	p.buttons = map[string]*button{}
	defer p.refocus()
	body := container.NewBorder(nil, p.foot(), nil, nil, p.body())
	content := container.New(&centred{contentWidth, gutter}, container.New(layout.NewCustomPaddedLayout(0, 24, 0, 0), body))
	head := container.New(&centred{contentWidth, gutter}, p.header())
	top := column(0, head)
	if p.state.Demo {
		strip := p.box("demo", "", 0)
		strip.SetMinSize(fyne.NewSize(0, 4))
		top = column(0, strip, head)
	}
	p.root.Objects = []fyne.CanvasObject{p.box("bg", "", 0), container.NewBorder(top, nil, nil, nil, content)}
	p.root.Refresh()
}

func (p *page) refocus() {
	canvas := fyne.CurrentApp().Driver().CanvasForObject(p.root)
	if canvas == nil || canvas.Focused() == nil {
		return
	}
	next := p.buttons[mainButton]
	if last, is := canvas.Focused().(*button); is && p.buttons[last.role] != nil {
		next = p.buttons[last.role]
	}
	if next == nil {
		canvas.Unfocus()
		return
	}
	canvas.Focus(next)
}

// centred gives its content the window's width without gutters, up to a limit.
type centred struct{ width, gutter float32 }

// MinSize implements fyne.Layout.
func (c *centred) MinSize(objects []fyne.CanvasObject) fyne.Size {
	size := objects[0].MinSize()
	return fyne.NewSize(size.Width+2*c.gutter, size.Height)
}

// Layout implements fyne.Layout.
func (c *centred) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	width := min(size.Width-2*c.gutter, c.width)
	objects[0].Resize(fyne.NewSize(width, size.Height))
	objects[0].Move(fyne.NewPos((size.Width-width)/2, 0))
}

func (p *page) header() fyne.CanvasObject {
	left := row(12, container.NewCenter(p.picture("app-icon-32", 32)), p.text(p.t("ui.app", nil), "title", "ink"))
	right := row(12)
	if p.state.Demo {
		right.Add(container.NewCenter(p.chip("demoSoft", bold(p.text(p.t("ui.demo", nil), "small", "demo")))))
	}
	if p.language != nil { // not where the program could not begin
		right.Add(container.NewCenter(p.readerLine()))
		right.Add(container.NewCenter(p.choices()))
	}
	bar := container.NewBorder(nil, nil, left, right)
	return container.NewStack(gap(0, 72), bar)
}

// picture is a drawing that keeps its own colours in both variants.
func (p *page) picture(name string, side float32) fyne.CanvasObject {
	return picture(name+".svg", readDrawing(name), side, side)
}

// choices are the two switches that work at once: language and theme.
func (p *page) choices() fyne.CanvasObject {
	other, icon, choice := lang.English, "icon-moon", ThemeDark
	if p.texts.Name() == lang.English {
		other = lang.Chinese
	}
	if p.dark {
		icon, choice = "icon-sun", ThemeLight
	}
	language := p.button("language", p.t("ui.language", nil), nil, func() { p.language(other) })
	language.Importance = lowImportance
	theme := p.button("theme", "", p.iconResource(icon, "ink2"), func() { p.theme(choice) })
	theme.Importance = lowImportance
	return row(0, language, theme)
}

// readerLine says in a dot and in words how reader and card are.
func (p *page) readerLine() fyne.CanvasObject {
	colour, words := readerWords(p.state)
	line := row(8, p.dot(colour, 10), bold(p.text(p.t(words, nil), "small", "ink")))
	if name := p.readerName(); name != "" {
		line.Add(p.text(name, "caption", "ink3"))
	}
	return container.NewStack(p.box("surface", "line", 14), padded(4, 12, line))
}

func readerWords(state core.State) (colour, key string) {
	switch {
	case state.Service == core.ServiceNotRunning:
		return "amberFill", "ui.reader.service"
	case state.Service == core.ServiceDenied:
		return "seal", "ui.reader.denied"
	case state.Reader.Name == "":
		return "amberFill", "ui.reader.none"
	case state.Card == core.CardReading:
		return "indigo", "ui.reader.reading"
	case state.Settling:
		return "indigo", "ui.reader.settling"
	case state.Card == core.CardBlocked:
		return "seal", "ui.reader.card"
	case state.Reader.State == reader.StateBusy && state.Card != core.CardRead:
		return "amberFill", "ui.reader.held"
	case state.Card == core.CardRefused, state.Card == core.CardLost && state.Reader.State != reader.StateEmpty:
		return "amberFill", "ui.reader.trouble"
	case state.Card == core.CardRead:
		return "jade", "ui.reader.card"
	}
	return "jade", "ui.reader.ready"
}

// readerName is short: the name of a virtual reader is a file's path.
func (p *page) readerName() string {
	if p.state.Reader.Driver == "virtual" {
		return p.t("ui.reader.virtual", nil)
	}
	const most = 24
	name := []rune(p.state.Reader.Name)
	if len(name) > most {
		return string(name[:most-1]) + "…"
	}
	return string(name)
}

// body is what lies between header and foot.
func (p *page) body() fyne.CanvasObject {
	banners := column(12, p.banners()...)
	var content fyne.CanvasObject
	switch {
	case p.state.Card == core.CardReading, p.state.Card == core.CardRead:
		if len(banners.Objects) > 0 {
			return container.NewBorder(column(20, banners, gap(0, 0)), nil, nil, nil, p.cardPage())
		}
		return p.cardPage()
	case p.state.Card == core.CardBlocked:
		content = p.blockedPage()
	case p.state.Trouble == nil, p.state.Trouble.Code == "CARD_NONE":
		content = p.placePage()
	default:
		content = p.troublePage()
	}
	if len(banners.Objects) > 0 {
		content = container.NewBorder(column(0, banners, gap(0, 12)), nil, nil, nil, content)
	}
	return container.NewVScroll(padded(1, 1, content)) // borders at the edge are not cut
}

// banners tell first of all where money is that has not arrived, and what the last
// touch settled.
func (p *page) banners() []fyne.CanvasObject {
	var banners []fyne.CanvasObject
	if p.platform != nil {
		told := core.Tell(p.texts, p.platform.Code, false, p.platform.Detail)
		banners = append(banners, container.NewStack(p.box("indigoSoft", "", 14), padded(12, 20, column(4,
			p.text(told.Title, "strong", "indigoInk"), p.paragraph(p.t("ui.withoutPlatform", nil), "small", "indigoInk", 780, fyne.TextAlignLeading)))))
	}
	for _, line := range p.state.Settled {
		key := map[wallet.LoadState]string{
			wallet.StateLoaded: "ui.settled.onCard", wallet.StateVoided: "ui.settled.returned", wallet.StateDeclined: "ui.settled.declined",
			wallet.LoadState(wallet.PurchasePaid): "ui.settled.paid", wallet.LoadState(wallet.PurchaseNotTaken): "ui.settled.notTaken",
			wallet.LoadState(wallet.PurchaseRefunded): "ui.settled.refunded",
		}[line.To]
		if key == "" {
			continue
		}
		words := p.t(key, map[string]any{"Amount": amount(line.Amount)})
		banners = append(banners, container.NewStack(p.box("jadeSoft", "", 14), padded(12, 20,
			row(12, container.NewCenter(p.icon("icon-check", "jade", 18)), p.text(words, "strong", "jadeInk")))))
	}
	if len(p.state.Open) == 0 {
		return banners
	}
	line := p.state.Open[0]
	title, text := orderWords(p.texts, p.state, line)
	picture := map[wallet.Stage]string{wallet.StageGranted: "way-mini-onway", wallet.StageCredited: "way-mini-oncard"}[line.Stage]
	if picture == "" {
		picture = "way-mini-unknown"
	}
	words := column(6,
		row(12, container.NewCenter(p.drawing(picture, 88, 20)), p.text(title, "strong", "amberInk")),
		p.paragraph(text, "small", "amberInk", 780, fyne.TextAlignLeading))
	small := row(12)
	if line.Order != "" {
		small.Add(p.text(p.t("ui.open.order", map[string]any{"Order": line.Order}), "caption", "amberInk"))
	}
	small.Add(p.text(when(p.texts, line.Created, p.now()), "caption", "amberInk"))
	if more := len(p.state.Open) - 1; more > 0 {
		small.Add(p.text(p.texts.N("ui.open.more", more, nil), "caption", "amberInk"))
	}
	words.Add(small)
	return append(banners, container.NewStack(p.box("amberSoft", "", 14), padded(14, 20, words)))
}

// placePage asks for a card.
func (p *page) placePage() fyne.CanvasObject {
	return container.NewCenter(column(0,
		container.NewCenter(p.drawing("reader-nocard", 440, 264)), gap(0, 12),
		container.NewCenter(p.text(p.t("ui.place.title", nil), "hero", "ink")), gap(0, 4),
		container.NewCenter(p.text(p.t("ui.place.text", nil), "body", "ink2"))))
}

// drawings of trouble with readers and cards.
var troubleDrawings = map[string]string{
	"READER_NONE": "reader-none", "READER_GONE": "reader-none", "READER_SERVICE_STOPPED": "reader-noservice", "READER_DENIED": "reader-denied",
	"READER_BUSY": "reader-held", "READER_STUCK": "reader-silent", "TIMEOUT": "reader-silent",
	"CARD_LOST": "reader-removed", "CARD_RESET": "reader-held", "CARD_NO_PURSE": "reader-unknown-card",
}

// troublePage says what is wrong, what to do, and the code for the telephone.
func (p *page) troublePage() fyne.CanvasObject {
	trouble := p.state.Trouble
	told := core.Tell(p.texts, trouble.Code, trouble.Open(), trouble.Detail)
	if p.state.Card == core.CardLost { // reading changes nothing, and people want to hear it
		told.Text = join(p.texts, []string{told.Text, p.t("ui.lost", nil)})
	}
	name, known := troubleDrawings[trouble.Code]
	if !known {
		name = "reader-silent"
	}
	content := column(0,
		container.NewCenter(p.drawing(name, 320, 192)), gap(0, 4),
		p.paragraph(told.Title, "title", "ink", 640, fyne.TextAlignCenter), gap(0, 4),
		p.paragraph(told.Text, "body", "ink2", 640, fyne.TextAlignCenter), gap(0, 14))
	if len(told.Remedies) > 0 {
		content.Add(container.NewCenter(fixedWidth(560, p.remedies(told.Remedies, 560))))
		content.Add(gap(0, 10))
	}
	again := p.button(mainButton, p.t("ui.retry", nil), p.iconResource("icon-refresh", "ink"), p.reread)
	if p.state.Card == core.CardRefused || p.state.Card == core.CardLost {
		content.Add(container.NewCenter(p.plain(again)))
		content.Add(gap(0, 6))
	}
	if p.tryCard != nil && p.state.Demo && slices.Contains(withoutReader, trouble.Code) {
		try := p.button(mainButton, p.t("ui.tryCard", nil), nil, p.tryCard)
		content.Add(container.NewCenter(p.plain(try)))
		content.Add(gap(0, 6))
	}
	content.Add(container.NewCenter(p.text(p.t("ui.code", map[string]any{"Code": trouble.Code}), "caption", "ink3")))
	return container.NewCenter(content)
}

// withoutReader are troubles in which a person may want to see the program at work
// all the same.
var withoutReader = []string{"READER_NONE", "READER_SERVICE_STOPPED", "READER_DENIED"}

// remedies are numbered lines in a panel.
func (p *page) remedies(remedies []string, width float32) fyne.CanvasObject {
	lines := column(12)
	for i, remedy := range remedies {
		number := container.NewStack(fixed(24, 24, p.box("sunken", "", 12)), container.NewCenter(bold(p.text(strconv.Itoa(i+1), "caption", "ink2"))))
		words := p.paragraph(remedy, "body", "ink", width-76, fyne.TextAlignLeading)
		lines.Add(row(12, column(0, number), container.New(layout.NewCustomPaddedLayout(2, 0, 0, 0), words)))
	}
	return p.panel(padded(16, 20, lines))
}

// fixedWidth keeps a column from shrinking to its text.
func fixedWidth(width float32, object fyne.CanvasObject) fyne.CanvasObject {
	return container.NewStack(gap(width, 0), object)
}

// foot is the strip with what was read before, where the card does not tell now.
func (p *page) foot() fyne.CanvasObject {
	cached := p.state.Cached
	present := p.state.Purse != nil && p.state.Purse.BalanceKnown && p.state.Card != core.CardLost
	if cached == nil || present || p.state.Card == core.CardReading {
		return nil
	}
	now := p.now()
	words := column(2,
		row(8, p.text(p.t("ui.cached", nil), "body", "ink2"), bold(p.text(p.t("ui.yuan", map[string]any{"Amount": amount(cached.Balance)}), "strong", "ink"))),
		row(12, p.text(p.t("ui.cached.ending", map[string]any{"Tail": tail(cached.Number)}), "caption", "ink3"),
			p.text(p.t("ui.cached.age", map[string]any{"Age": age(p.texts, cached.At, now)}), "caption", "ink3")))
	return p.panel(padded(12, 20, row(16, container.NewCenter(p.drawing("card-mini", 48, 30)), words)))
}

// key handles the keys of the page, whatever has the focus.
func (p *page) key(event *fyne.KeyEvent) {
	switch event.Name {
	case fyne.KeyF5:
		p.reread()
	case fyne.KeyEscape:
		p.mask()
		p.build()
	}
}

// reveal shows the card number, or hides it.
func (p *page) reveal() {
	if p.revealed {
		p.mask()
	} else {
		p.revealed = true
		p.hide = p.after(revealTime, func() { p.mask(); p.build() })
	}
	p.build()
}

func (p *page) mask() {
	p.hide()
	p.revealed, p.hide = false, func() {}
}
