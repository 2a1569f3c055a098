package ui

import (
	"slices"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/widget"

	"walletcompanion/app/core"
	"walletcompanion/wallet"
)

const lowImportance = widget.LowImportance

// cardPage shows a card that is read or being read: picture, balance, records.
func (p *page) cardPage() fyne.CanvasObject {
	top := row(36, p.cardFace(), p.balance())
	head := container.New(layout.NewCustomPaddedLayout(24, 10, 0, 0), p.text(p.t("ui.records", nil), "section", "ink"))
	return container.NewBorder(column(0, top, head), nil, nil, nil, p.records())
}

// cardFace draws the card, 336 × 212, with its masked number.
func (p *page) cardFace() fyne.CanvasObject {
	face, ink, dim := "card-face", "cardInk", "cardDim"
	if p.state.Card == core.CardBlocked {
		face, dim = "card-face-stopped", "cardInk"
	}
	name := p.text(p.t("ui.card", nil), "strong", ink)
	name.Move(fyne.NewPos(24, 20))
	on := container.NewWithoutLayout(name)
	picture := p.drawing(face, 336, 212)
	if purse := p.state.Purse; purse != nil && purse.Number != "" {
		number := p.number(purse.Number, ink)
		number.Move(fyne.NewPos(24, 132))
		on.Add(number)
		icon := "icon-eye"
		if p.revealed {
			icon = "icon-eye-off"
		}
		eye := p.button("eye", "", p.iconResource(icon, dim), p.reveal)
		eye.Importance = lowImportance
		eye.Resize(fyne.NewSize(36, 36))
		eye.Move(fyne.NewPos(288, 12))
		on.Add(eye)
	}
	if purse := p.state.Purse; purse != nil && !purse.ValidUntil.IsZero() {
		key := "ui.valid"
		if purse.ValidUntil.AddDate(0, 0, 1).Before(p.now()) {
			key = "ui.expired"
		}
		valid := p.text(p.t(key, map[string]any{"Date": purse.ValidUntil.Format(time.DateOnly)}), "caption", dim)
		valid.Move(fyne.NewPos(24, 164))
		on.Add(valid)
	}
	return container.New(layout.NewCustomPaddedVBoxLayout(0), fixed(336, 212, container.NewStack(picture, on)))
}

// number is the card number: first and last four digits with circles between, for
// the font draws dots as wide as a character; or all of it.
func (p *page) number(number, token string) *fyne.Container {
	line := row(12)
	show := func(digits string) {
		text := p.text(digits, "section", token)
		text.TextStyle.Bold = false
		line.Add(text)
	}
	if p.revealed || len(number) <= 8 {
		show(groups(number))
	} else {
		show(number[:4])
		for range 2 {
			dots := row(4)
			for range 4 {
				dots.Add(p.dot(token, 5))
			}
			line.Add(dots)
		}
		show(tail(number))
	}
	line.Resize(line.MinSize())
	return line
}

// balance is the right half: label, amount, and how sure it is.
func (p *page) balance() fyne.CanvasObject {
	purse := p.state.Purse
	content := column(0, p.text(p.t("ui.balance", nil), "body", "ink2"))
	switch {
	case purse == nil:
		content.Add(gap(0, 8))
		content.Add(row(0, fixed(200, 48, p.box("sunken", "", 10))))
		content.Add(gap(0, 8))
	case !purse.BalanceKnown:
		content.Add(gap(0, 8))
		content.Add(p.paragraph(p.t("ui.balance.unknown", nil), "title", "ink", 420, fyne.TextAlignLeading))
	default:
		content.Add(p.amount(purse.Balance))
	}
	if p.state.Card == core.CardReading {
		key := "ui.readingCard"
		if purse != nil {
			content.Add(p.text(p.t("ui.readAt", map[string]any{"Time": p.state.ReadAt.In(cardZone).Format("15:04")}), "caption", "ink3"))
			key = "ui.readingRecords"
		}
		content.Add(gap(0, 16))
		tile := container.NewBorder(nil, nil, p.text(p.t(key, nil), "strong", "indigo"), p.text(p.t("ui.leaveCard", nil), "small", "indigoInk"))
		content.Add(row(0, container.NewStack(gap(360, 48), p.box("indigoSoft", "", 12), padded(12, 16, tile))))
		return content
	}
	line := row(8, container.NewCenter(p.icon("icon-check", "jade", 16)),
		p.text(p.t("ui.readAt", map[string]any{"Time": p.state.ReadAt.In(cardZone).Format("15:04")}), "caption", "ink2"))
	if !p.state.Settling {
		line.Add(p.text(p.t("ui.mayTake", nil), "caption", "ink2"))
	}
	content.Add(line)
	if p.state.Warning != nil {
		content.Add(gap(0, 4))
		content.Add(p.paragraph(p.t("ui.historyNotKept", nil), "caption", "amber", 420, fyne.TextAlignLeading))
	}
	content.Add(gap(0, 16))
	again := p.button(mainButton, p.t("ui.refresh", nil), p.iconResource("icon-refresh", "ink"), p.reread)
	content.Add(row(0, p.plain(again)))
	return content
}

// amount is the balance in display size; its sign stands on the same line of type.
func (p *page) amount(fen wallet.Fen) fyne.CanvasObject {
	sign, number := p.text("¥", "hero", "ink"), p.text(amount(fen), "display", "ink")
	return container.New(&baseline{gap: 6}, sign, number)
}

// baseline sets a small text before a large one, on one baseline.
type baseline struct{ gap float32 }

// MinSize implements fyne.Layout. The font's own line is higher than a number needs.
func (b *baseline) MinSize(objects []fyne.CanvasObject) fyne.Size {
	small, large := objects[0].MinSize(), objects[1].MinSize()
	return fyne.NewSize(small.Width+b.gap+large.Width, large.Height)
}

// Layout implements fyne.Layout.
func (b *baseline) Layout(objects []fyne.CanvasObject, _ fyne.Size) {
	small, large := objects[0].(*canvas.Text), objects[1].(*canvas.Text)
	small.Resize(small.MinSize())
	large.Resize(large.MinSize())
	_, smallBase := fyne.CurrentApp().Driver().RenderedTextSize(small.Text, small.TextSize, small.TextStyle, nil)
	_, largeBase := fyne.CurrentApp().Driver().RenderedTextSize(large.Text, large.TextSize, large.TextStyle, nil)
	small.Move(fyne.NewPos(0, largeBase-smallBase))
	large.Move(fyne.NewPos(small.MinSize().Width+b.gap, 0))
}

// blockedPage shows a card that is locked: grey, what it still tells, what to do.
func (p *page) blockedPage() fyne.CanvasObject {
	told := core.Tell(p.texts, p.state.Trouble.Code, false, p.state.Trouble.Detail)
	right := column(0,
		row(0, p.chip("sealSoft", container.NewCenter(p.icon("icon-lock", "seal", 14)), bold(p.text(p.t("ui.locked", nil), "caption", "sealInk")))), gap(0, 10),
		p.paragraph(told.Title, "title", "ink", 460, fyne.TextAlignLeading), gap(0, 6),
		p.paragraph(told.Text, "body", "ink2", 460, fyne.TextAlignLeading))
	if purse := p.state.Purse; purse != nil && purse.BalanceKnown {
		right.Add(gap(0, 12))
		right.Add(row(8, p.text(p.t("ui.balance", nil), "body", "ink2"), bold(p.text(p.t("ui.yuan", map[string]any{"Amount": amount(purse.Balance)}), "strong", "ink"))))
	}
	content := column(0, row(36, p.cardFace(), right))
	if len(told.Remedies) > 0 {
		content.Add(gap(0, 24))
		content.Add(p.text(p.t("ui.todo", nil), "section", "ink"))
		content.Add(gap(0, 10))
		content.Add(p.remedies(told.Remedies, 820))
	}
	content.Add(gap(0, 10))
	content.Add(container.NewBorder(nil, nil, nil, p.text(p.t("ui.code", map[string]any{"Code": p.state.Trouble.Code}), "caption", "ink3")))
	return content
}

// records is the list of what the card logged, newest first.
func (p *page) records() fyne.CanvasObject {
	var records []wallet.Record
	var problems []string
	if p.state.Purse != nil {
		records, problems = p.state.Purse.Records, p.state.Purse.Problems
	}
	skeleton := 0
	if p.state.Card == core.CardReading {
		skeleton = 6
	}
	list := &recordList{keys: p.key}
	list.Length = func() int { return max(len(records), skeleton) }
	list.CreateItem = func() fyne.CanvasObject { return newRecordRow(p) }
	list.UpdateItem = func(id widget.ListItemID, item fyne.CanvasObject) {
		if id < len(records) {
			item.(*recordRow).show(&records[id])
		} else {
			item.(*recordRow).show(nil)
		}
	}
	list.OnSelected = func(widget.ListItemID) { list.UnselectAll() }
	list.ExtendBaseWidget(list)
	note := ""
	switch {
	case p.state.Card == core.CardReading:
	case slices.Contains(problems, wallet.ProblemPINNeeded):
		note = p.t("ui.records.pin", nil)
	case slices.Contains(problems, wallet.ProblemRecordsCutShort):
		note = p.t("ui.records.part", nil)
	case len(records) == 0:
		note = p.t("ui.records.none", nil)
	}
	flat := container.NewThemeOverride(list, flatTheme{p.look})
	if note == "" {
		return container.New(atMost{list.Length()}, p.panel(padded(4, 4, flat)))
	}
	line := padded(14, 20, p.text(note, "body", "ink2"))
	if len(records) == 0 {
		return container.NewBorder(p.panel(line), nil, nil, nil)
	}
	return p.panel(padded(4, 4, container.NewBorder(line, nil, nil, nil, flat)))
}

// atMost keeps a panel as high as its rows need, and no higher than there is room.
type atMost struct{ rows int }

// MinSize implements fyne.Layout.
func (a atMost) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(400, 2*rowHeight) }

// Layout implements fyne.Layout.
func (a atMost) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	const between, border = 4, 8
	visible := min(a.rows, int((size.Height-border+between)/(rowHeight+between))) // no row is cut
	height := float32(visible)*(rowHeight+between) - between + border
	objects[0].Resize(fyne.NewSize(size.Width, height))
	objects[0].Move(fyne.NewPos(0, 0))
}

// recordList is a list that hands the page's keys to the page.
type recordList struct {
	widget.List
	keys func(*fyne.KeyEvent)
}

// TypedKey implements fyne.Focusable.
func (l *recordList) TypedKey(event *fyne.KeyEvent) {
	if event.Name == fyne.KeyF5 || event.Name == fyne.KeyEscape {
		l.keys(event)
		return
	}
	l.List.TypedKey(event)
}

const rowHeight = 48

// recordRow is one line of the list: sign, kind, time and terminal, amount, balance.
type recordRow struct {
	widget.BaseWidget
	page                       *page
	ground                     *canvas.Circle
	icon                       *canvas.Image
	kind, small, amount, after *canvas.Text
	barOne, barTwo, barRight   *canvas.Rectangle
}

func newRecordRow(p *page) *recordRow {
	r := &recordRow{
		page: p, ground: canvas.NewCircle(p.color("sunken")), icon: p.icon("icon-out", "ink2", 16),
		kind: p.text("", "body", "ink"), small: p.text("", "caption", "ink3"), amount: p.text("", "strong", "ink"), after: p.text("", "caption", "ink3"),
		barOne: p.box("sunken", "", 6), barTwo: p.box("sunken", "", 5), barRight: p.box("sunken", "", 6),
	}
	r.amount.Alignment, r.after.Alignment = fyne.TextAlignTrailing, fyne.TextAlignTrailing
	r.ExtendBaseWidget(r)
	return r
}

// CreateRenderer implements fyne.Widget.
func (r *recordRow) CreateRenderer() fyne.WidgetRenderer {
	return widget.NewSimpleRenderer(container.New(rowLayout{}, r.ground, r.icon, r.kind, r.small, r.amount, r.after, r.barOne, r.barTwo, r.barRight))
}

// show fills the row; nil shows that a record is still to come.
func (r *recordRow) show(record *wallet.Record) {
	waiting := record == nil
	for _, bar := range []*canvas.Rectangle{r.barOne, r.barTwo, r.barRight} {
		bar.Hidden = !waiting
	}
	r.icon.Hidden = waiting
	if waiting {
		r.kind.Text, r.small.Text, r.amount.Text, r.after.Text = "", "", "", ""
		r.Refresh()
		return
	}
	p := r.page
	icon, ground, sign, money := "icon-out", "sunken", "ink2", "ink"
	if record.IsLoad() {
		icon, ground, sign, money = "icon-in", "jadeSoft", "jade", "jade"
	}
	r.kind.Text, r.amount.Text, r.after.Text = recordName(p.texts, *record), moved(*record), ""
	if record.HasBalanceAfter {
		r.after.Text = amount(record.BalanceAfter)
	}
	at := p.t("ui.record.noTime", nil)
	if !record.Time.IsZero() {
		at = when(p.texts, record.Time, p.now())
	}
	r.small.Text = at + "    " + p.t("ui.record.terminal", map[string]any{"Terminal": record.Terminal.String()})
	if record.Problem != "" {
		icon, ground, sign = "icon-warn", "amberSoft", "amber"
		r.small.Text = p.t("ui.record.doubtful", nil) + "    " + r.small.Text
	}
	if record.Problem == wallet.ProblemRecordLength {
		r.amount.Text = ""
	}
	r.icon.Resource, r.ground.FillColor, r.amount.Color = p.iconResource(icon, sign), p.color(ground), p.color(money)
	r.Refresh()
}

// rowLayout places what recordRow's container holds, in the order of CreateRenderer.
type rowLayout struct{}

// MinSize implements fyne.Layout.
func (rowLayout) MinSize([]fyne.CanvasObject) fyne.Size { return fyne.NewSize(400, rowHeight) }

// Layout implements fyne.Layout.
func (rowLayout) Layout(objects []fyne.CanvasObject, size fyne.Size) {
	place := func(i int, x, y, width, height float32) {
		objects[i].Move(fyne.NewPos(x, y))
		objects[i].Resize(fyne.NewSize(width, height))
	}
	right := size.Width - 12
	place(0, 12, 8, 32, 32)
	place(1, 20, 16, 16, 16)
	place(2, 56, 3, right-200, 22)
	place(3, 56, 25, right-200, 18)
	top := float32(3)
	if after, is := objects[5].(*canvas.Text); is && after.Text == "" {
		top = 13 // alone, the amount stands in the middle
	}
	place(4, right-140, top, 140, 22)
	place(5, right-140, 25, 140, 18)
	place(6, 56, 9, 190, 12)
	place(7, 56, 29, 150, 10)
	place(8, right-56, 18, 56, 12)
}
