package ui

import (
	"image/color"
	"regexp"
	"strings"
	"unicode"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/widget"

	"walletcompanion/assets/look"
)

// parts makes the pieces of a page in one variant of the theme. They keep their
// colours: a page is built anew when the theme changes.
type parts struct{ dark bool }

func (p parts) color(token string) color.Color { return tokenColor(token, p.dark) }

// text is one line in a style of tokens.json ("body", "title", …).
func (p parts) text(words, style, token string) *canvas.Text {
	look, known := loadTokens().Type[style]
	if !known {
		panic("no text style is called " + style)
	}
	line := canvas.NewText(words, p.color(token))
	line.TextSize, line.TextStyle.Bold = look.Size, look.Style == "Bold"
	return line
}

// bold makes a line bold whatever its style.
func bold(line *canvas.Text) *canvas.Text {
	line.TextStyle.Bold = true
	return line
}

// paragraph is text in lines of at most width.
func (p parts) paragraph(words, style, token string, width float32, align fyne.TextAlign) *fyne.Container {
	model := p.text("", style, token)
	lines := container.New(layout.NewCustomPaddedVBoxLayout(0))
	for _, each := range wrap(words, func(s string) float32 {
		return fyne.MeasureText(s, model.TextSize, model.TextStyle).Width
	}, width) {
		line := p.text(each, style, token)
		line.Alignment = align
		lines.Add(line)
	}
	return lines
}

// wrap breaks words into lines no wider than width: between words, and between
// Chinese characters unless the next one is a closing sign.
func wrap(words string, measure func(string) float32, width float32) []string {
	var lines []string
	line := ""
	for _, piece := range pieces(words) {
		if line != "" && measure(strings.TrimRight(line+piece, " ")) > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line, piece = "", strings.TrimLeft(piece, " ")
		}
		line += piece
	}
	return append(lines, strings.TrimRight(line, " "))
}

// pieces cuts text where a line may end.
func pieces(words string) []string {
	const closing = "，。、；：？！”’）》】…,.;:?!)"
	var found []string
	runes := []rune(words)
	start := 0
	for i := 1; i < len(runes); i++ {
		chinese := unicode.Is(unicode.Han, runes[i]) || unicode.Is(unicode.Han, runes[i-1]) || strings.ContainsRune("，。、；：？！”）", runes[i-1])
		breaks := runes[i-1] == ' ' || chinese && !strings.ContainsRune(closing, runes[i]) && !strings.ContainsRune("“（《【", runes[i-1])
		if breaks {
			found = append(found, string(runes[start:i]))
			start = i
		}
	}
	return append(found, string(runes[start:]))
}

// box is a rectangle with round corners; an empty token leaves fill or border out.
func (p parts) box(fill, border string, radius float32) *canvas.Rectangle {
	box := canvas.NewRectangle(color.Transparent)
	if fill != "" {
		box.FillColor = p.color(fill)
	}
	if border != "" {
		box.StrokeColor, box.StrokeWidth = p.color(border), 1
	}
	box.CornerRadius = radius
	return box
}

// panel puts content on a surface with a thin border.
func (p parts) panel(content fyne.CanvasObject) *fyne.Container {
	return container.NewStack(p.box("surface", "line", 14), content)
}

// chip is a short fact in a pill.
func (p parts) chip(fill string, content ...fyne.CanvasObject) *fyne.Container {
	return container.NewStack(p.box(fill, "", 14), padded(4, 12, row(6, content...)))
}

func (p parts) dot(token string, diameter float32) *fyne.Container {
	return container.NewCenter(fixed(diameter, diameter, canvas.NewCircle(p.color(token))))
}

// gap is empty space.
func gap(width, height float32) fyne.CanvasObject {
	space := canvas.NewRectangle(color.Transparent)
	space.SetMinSize(fyne.NewSize(width, height))
	return space
}

// fixed gives an object one size.
func fixed(width, height float32, object fyne.CanvasObject) *fyne.Container {
	return container.NewGridWrap(fyne.NewSize(width, height), object)
}

func padded(vertical, horizontal float32, object fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedLayout(vertical, vertical, horizontal, horizontal), object)
}

func row(space float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedHBoxLayout(space), objects...)
}

func column(space float32, objects ...fyne.CanvasObject) *fyne.Container {
	return container.New(layout.NewCustomPaddedVBoxLayout(space), objects...)
}

var fill = regexp.MustCompile(`#[0-9A-F]{6}`)

// drawing is a picture of several colours in the present variant.
func (p parts) drawing(name string, width, height float32) *canvas.Image {
	source := readDrawing(name)
	resource := name + ".light.svg"
	if p.dark {
		resource, source = name+".dark.svg", fill.ReplaceAllStringFunc(source, darkOf)
	}
	return picture(resource, source, width, height)
}

// icon is a drawing of one colour.
func (p parts) icon(name, token string, side float32) *canvas.Image {
	return picture(p.iconName(name, token), p.iconSource(name, token), side, side)
}

func (p parts) iconName(name, token string) string {
	return name + "." + strings.TrimPrefix(tokenHex(token, p.dark), "#") + ".svg"
}

func (p parts) iconSource(name, token string) string {
	return fill.ReplaceAllString(readDrawing(name), tokenHex(token, p.dark))
}

func (p parts) iconResource(name, token string) fyne.Resource {
	return fyne.NewStaticResource(p.iconName(name, token), []byte(p.iconSource(name, token)))
}

// picture names the resource after its colours, because Fyne keeps pictures by name.
func picture(resource, source string, width, height float32) *canvas.Image {
	image := canvas.NewImageFromResource(fyne.NewStaticResource(resource, []byte(source)))
	image.FillMode = canvas.ImageFillContain
	image.SetMinSize(fyne.NewSize(width, height))
	return image
}

func readDrawing(name string) string {
	source, err := look.Drawings.ReadFile("svg/" + name + ".svg")
	if err != nil {
		panic(err)
	}
	return string(source)
}

// darkOf turns a light value into the dark one of its token.
func darkOf(light string) string {
	if light == tokenHex("onJade", false) { // white is several tokens; drawings mean this one
		return tokenHex("onJade", true)
	}
	for _, pair := range loadTokens().Color {
		if pair.Light == light {
			return pair.Dark
		}
	}
	return light
}

// button is Fyne's button that takes Enter as well as Space and hands the keys that
// it does not know to the page.
type button struct {
	widget.Button
	role string // what it is for, so that the focus finds it on the next page
	keys func(*fyne.KeyEvent)
}

func newButton(role, words string, icon fyne.Resource, keys func(*fyne.KeyEvent), tapped func()) *button {
	b := &button{role: role, keys: keys}
	b.Text, b.Icon, b.OnTapped = words, icon, tapped
	b.ExtendBaseWidget(b)
	return b
}

// TypedKey implements fyne.Focusable. Unlike a click, a key leaves the focus where
// it is.
func (b *button) TypedKey(event *fyne.KeyEvent) {
	switch event.Name {
	case fyne.KeyReturn, fyne.KeyEnter, fyne.KeySpace:
		b.OnTapped()
	default:
		b.keys(event)
	}
}

// plain gives a button the border of things that one can use.
func (p parts) plain(b *button) fyne.CanvasObject {
	return container.NewStack(b, p.box("", "edge", 10))
}
