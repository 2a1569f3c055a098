// Package ui is the window: the only folder that knows Fyne. It shows what app/core
// publishes and asks core for what people want; it holds no rule about money.
package ui

import (
	"encoding/json"
	"fmt"
	"image/color"
	"strconv"
	"strings"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"walletcompanion/assets/fonts"
	"walletcompanion/assets/look"
)

// The choices of the theme.
const (
	ThemeSystem = "system"
	ThemeLight  = "light"
	ThemeDark   = "dark"
)

// tokens is tokens.json.
type tokens struct {
	Color map[string]struct{ Light, Dark string }
	Type  map[string]struct {
		Size  float32
		Style string
	}
	Overlay struct {
		Hover, Pressed struct {
			Token string
			Alpha float64
		}
		Shadow struct{ Light, Dark string }
	}
	FyneColorName map[string]string
	FyneSizeName  map[string]float32
}

// loadTokens reads the embedded file. One that cannot be read is a defect of the
// build, which every test of this package meets.
var loadTokens = sync.OnceValue(func() *tokens {
	var loaded tokens
	if err := json.Unmarshal(look.Tokens, &loaded); err != nil {
		panic(err)
	}
	return &loaded
})

// fyneColors gives the names of tokens.json Fyne's own spelling.
var fyneColors = map[string]fyne.ThemeColorName{
	"Background": theme.ColorNameBackground, "Foreground": theme.ColorNameForeground, "Primary": theme.ColorNamePrimary,
	"ForegroundOnPrimary": theme.ColorNameForegroundOnPrimary, "Hyperlink": theme.ColorNameHyperlink, "Button": theme.ColorNameButton,
	"Disabled": theme.ColorNameDisabled, "DisabledButton": theme.ColorNameDisabledButton, "Error": theme.ColorNameError,
	"ForegroundOnError": theme.ColorNameForegroundOnError, "Warning": theme.ColorNameWarning, "ForegroundOnWarning": theme.ColorNameForegroundOnWarning,
	"Success": theme.ColorNameSuccess, "ForegroundOnSuccess": theme.ColorNameForegroundOnSuccess, "Focus": theme.ColorNameFocus,
	"InputBackground": theme.ColorNameInputBackground, "InputBorder": theme.ColorNameInputBorder, "MenuBackground": theme.ColorNameMenuBackground,
	"OverlayBackground": theme.ColorNameOverlayBackground, "PlaceHolder": theme.ColorNamePlaceHolder, "ScrollBar": theme.ColorNameScrollBar,
	"Selection": theme.ColorNameSelection, "Separator": theme.ColorNameSeparator, "HeaderBackground": theme.ColorNameHeaderBackground,
	"InnerWindowBorder": theme.ColorNameInnerWindowBorder, "InnerWindowBorderInactive": theme.ColorNameInnerWindowBorderInactive,
}

var fyneSizes = map[string]fyne.ThemeSizeName{
	"Text": theme.SizeNameText, "CaptionText": theme.SizeNameCaptionText, "SubHeadingText": theme.SizeNameSubHeadingText,
	"HeadingText": theme.SizeNameHeadingText, "Padding": theme.SizeNamePadding, "InnerPadding": theme.SizeNameInnerPadding,
	"LineSpacing": theme.SizeNameLineSpacing, "InlineIcon": theme.SizeNameInlineIcon, "InputBorder": theme.SizeNameInputBorder,
	"InputRadius": theme.SizeNameInputRadius, "SelectionRadius": theme.SizeNameSelectionRadius, "ButtonRadius": theme.SizeNameButtonRadius,
	"CardRadius": theme.SizeNameCardRadius, "DialogRadius": theme.SizeNameDialogRadius, "MenuRadius": theme.SizeNameMenuRadius,
	"PopupRadius": theme.SizeNamePopupRadius, "SeparatorThickness": theme.SizeNameSeparatorThickness, "ScrollBar": theme.SizeNameScrollBar,
	"ScrollBarSmall": theme.SizeNameScrollBarSmall, "ScrollBarRadius": theme.SizeNameScrollBarRadius,
}

// walletTheme is the program's look. It implements fyne.Theme.
type walletTheme struct {
	choice string
	colors map[fyne.ThemeColorName]string // Fyne's name → token
	sizes  map[fyne.ThemeSizeName]float32
}

func newTheme(choice string) *walletTheme {
	t := &walletTheme{choice: choice, colors: map[fyne.ThemeColorName]string{}, sizes: map[fyne.ThemeSizeName]float32{}}
	for name, token := range loadTokens().FyneColorName {
		t.colors[fyneColors[name]] = token
	}
	for name, size := range loadTokens().FyneSizeName {
		t.sizes[fyneSizes[name]] = size
	}
	return t
}

// variant is the chosen variant, or the system's.
func (t *walletTheme) variant(system fyne.ThemeVariant) fyne.ThemeVariant {
	switch t.choice {
	case ThemeLight:
		return theme.VariantLight
	case ThemeDark:
		return theme.VariantDark
	}
	return system
}

// Color implements fyne.Theme. A name of tokens.json is a colour as well.
func (t *walletTheme) Color(name fyne.ThemeColorName, system fyne.ThemeVariant) color.Color {
	dark := t.variant(system) == theme.VariantDark
	overlay := loadTokens().Overlay
	switch name {
	case theme.ColorNameHover:
		return faded(tokenColor(overlay.Hover.Token, dark), overlay.Hover.Alpha)
	case theme.ColorNamePressed:
		return faded(tokenColor(overlay.Pressed.Token, dark), overlay.Pressed.Alpha)
	case theme.ColorNameFocus:
		// Fyne fills a focused button with this colour; its words must stay readable.
		return faded(tokenColor("focus", dark), 0.25)
	case theme.ColorNameShadow:
		if dark {
			return parseColor(overlay.Shadow.Dark)
		}
		return parseColor(overlay.Shadow.Light)
	case theme.ColorNameScrollBarBackground:
		return color.Transparent
	}
	token, named := t.colors[name]
	if !named {
		token = string(name)
	}
	if _, known := loadTokens().Color[token]; known {
		return tokenColor(token, dark)
	}
	return theme.DefaultTheme().Color(name, t.variant(system))
}

var (
	fontRegular = fyne.NewStaticResource("NotoSansSC-GB2312-Regular.ttf", fonts.Regular)
	fontBold    = fyne.NewStaticResource("NotoSansSC-GB2312-Bold.ttf", fonts.Bold)
)

// Font implements fyne.Theme: one family, two weights.
func (t *walletTheme) Font(style fyne.TextStyle) fyne.Resource {
	switch {
	case style.Symbol || style.Monospace:
		return theme.DefaultTheme().Font(style)
	case style.Bold:
		return fontBold
	}
	return fontRegular
}

// Icon implements fyne.Theme.
func (t *walletTheme) Icon(name fyne.ThemeIconName) fyne.Resource {
	return theme.DefaultTheme().Icon(name)
}

// Size implements fyne.Theme.
func (t *walletTheme) Size(name fyne.ThemeSizeName) float32 {
	if size, known := t.sizes[name]; known {
		return size
	}
	return theme.DefaultTheme().Size(name)
}

// flatTheme is the theme without shadows, for lists: only menus and overlays have one.
type flatTheme struct{ fyne.Theme }

// Color implements fyne.Theme.
func (t flatTheme) Color(name fyne.ThemeColorName, system fyne.ThemeVariant) color.Color {
	if name == theme.ColorNameShadow {
		return color.Transparent
	}
	return t.Theme.Color(name, system)
}

// tokenColor is the colour of a token. An unknown token is a defect of the program,
// which a test finds.
func tokenColor(token string, dark bool) color.NRGBA { return parseColor(tokenHex(token, dark)) }

func tokenHex(token string, dark bool) string {
	pair, known := loadTokens().Color[token]
	if !known {
		panic("no colour is called " + token)
	}
	if dark {
		return pair.Dark
	}
	return pair.Light
}

// parseColor reads #RRGGBB or #RRGGBBAA.
func parseColor(hex string) color.NRGBA {
	value, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	if err != nil || (len(hex) != 7 && len(hex) != 9) {
		panic(fmt.Sprintf("colour %q", hex))
	}
	if len(hex) == 7 {
		value = value<<8 | 0xFF
	}
	return color.NRGBA{R: uint8(value >> 24), G: uint8(value >> 16), B: uint8(value >> 8), A: uint8(value)}
}

func faded(c color.NRGBA, alpha float64) color.NRGBA {
	c.A = uint8(alpha*255 + 0.5)
	return c
}
