package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"
	"fyne.io/fyne/v2/driver/desktop"
	"fyne.io/fyne/v2/theme"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
)

// Settings that the window keeps.
const (
	settingLanguage = "ui.language"
	settingTheme    = "ui.theme"
	settingSize     = "ui.size"
)

// appID names the program to the desktop; FyneApp.toml says the same.
const appID = "walletcompanion.window"

// ErrNoDisplay means that no window can be opened here.
var ErrNoDisplay = errors.New("no display, or no OpenGL")

// Options are the choices of the command line. Empty ones are as last time.
type Options struct {
	Language string // "zh", "en"
	Theme    string // ThemeLight, ThemeDark, ThemeSystem
	// Platform is why there is none, if one should be there: cards are read all the same.
	Platform *core.Failure
	// TryCard puts a virtual card into a reader of its own, for a person without a
	// reader; nil where none can be offered. It may take a moment.
	TryCard func() error
}

// Run shows the window over a core until the person closes it. It must be called on
// the main goroutine. Errors: ErrNoDisplay.
func Run(ctx context.Context, program *core.Core, options Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var w *window
	ended := make(chan struct{})
	err := showAndRun(ctx, func(a fyne.App) fyne.Window {
		w = openWindow(ctx, a, program, options)
		return w.window
	}, func() {
		go func() {
			defer close(ended)
			// Run ends with ctx and for no other reason.
			_ = program.Run(ctx, func(state core.State) { fyne.Do(func() { w.page.Render(state) }) })
		}()
	})
	if err != nil {
		return err
	}
	stop()
	<-ended
	w.keep(context.Background(), settingSize, w.size)
	return nil
}

// Complain shows a window that says why the program cannot begin, for people who
// see no console. Errors: ErrNoDisplay.
func Complain(ctx context.Context, failure *core.Failure, options Options) error {
	return showAndRun(ctx, func(a fyne.App) fyne.Window {
		look := newTheme(options.Theme)
		a.Settings().SetTheme(look)
		texts := lang.Texts(options.Language)
		page := newPage(texts, look, look.variant(a.Settings().ThemeVariant()) == theme.VariantDark, actions{now: time.Now, reread: func() {}})
		page.Render(core.State{Service: core.ServiceOK, Card: core.CardNone, Trouble: failure})
		w := a.NewWindow(texts.T("ui.app", nil))
		w.SetPadded(false)
		w.SetMaster()
		w.SetContent(page.root)
		w.Resize(fyne.NewSize(1024, 700))
		return w
	}, func() {})
}

// showAndRun shows the window that open makes until it is closed or ctx ends.
func showAndRun(ctx context.Context, open func(fyne.App) fyne.Window, onStart func()) (err error) {
	if runtime.GOOS == "linux" && os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return ErrNoDisplay
	}
	started := false
	defer func() { // Fyne panics where a display is named that nobody can reach
		if trouble := recover(); trouble != nil {
			if started {
				panic(trouble)
			}
			err = fmt.Errorf("%w: %v", ErrNoDisplay, trouble)
		}
	}()
	a := app.NewWithID(appID)
	w := open(a)
	a.Lifecycle().SetOnStarted(func() { started = true; onStart() })
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done(): // a signal closes the window as the person would
			fyne.Do(a.Quit)
		case <-done:
		}
	}()
	w.ShowAndRun()
	if !started {
		return ErrNoDisplay
	}
	return nil
}

// window is the page in its frame.
type window struct {
	ctx     context.Context
	app     fyne.App
	window  fyne.Window
	program *core.Core
	page    *page
	texts   *lang.Localizer
	theme   *walletTheme
	size    string // when it was closed
}

// openWindow makes the window, without showing it.
func openWindow(ctx context.Context, a fyne.App, program *core.Core, options Options) *window {
	w := &window{ctx: ctx, app: a, program: program}
	w.texts = lang.Texts(w.choice(options.Language, settingLanguage))
	w.theme = newTheme(w.choice(options.Theme, settingTheme))
	a.Settings().SetTheme(w.theme)
	w.window = a.NewWindow("")
	w.page = newPage(w.texts, w.theme, w.dark(), actions{
		reread: program.Reread, language: w.setLanguage, theme: w.setTheme, now: program.Now,
		after: func(wait time.Duration, then func()) func() {
			timer := time.AfterFunc(wait, func() { fyne.Do(then) })
			return func() { timer.Stop() }
		},
	})
	if options.TryCard != nil {
		w.page.tryCard = func() { go func() { _ = options.TryCard() }() } // the reader's state tells the rest
	}
	w.page.platform = options.Platform
	w.page.build()
	w.window.SetIcon(fyne.NewStaticResource("app-icon.svg", []byte(readDrawing("app-icon"))))
	w.window.SetPadded(false)
	w.window.SetMaster()
	w.window.SetContent(w.page.root)
	w.window.Resize(w.keptSize())
	w.window.SetCloseIntercept(func() {
		size := w.window.Canvas().Size()
		w.size = fmt.Sprintf("%.0fx%.0f", size.Width, size.Height)
		w.window.Close()
	})
	w.setTitle()
	w.setKeys()
	a.Settings().AddListener(func(fyne.Settings) { fyne.Do(w.redraw) }) // the system's variant may change
	return w
}

// choice is what the command line says, or what was kept.
func (w *window) choice(option, setting string) string {
	if option != "" {
		return option
	}
	kept, err := w.program.Store.Setting(w.ctx, setting)
	if err != nil {
		return "" // the default serves
	}
	return kept
}

// keep stores a choice. One that cannot be kept is no reason to trouble anybody.
func (w *window) keep(ctx context.Context, setting, value string) {
	if value != "" {
		_ = w.program.Store.PutSetting(ctx, setting, value)
	}
}

// keptSize is the size at the last end, or the one that the page was drawn for.
func (w *window) keptSize() fyne.Size {
	var width, height float32
	kept := w.choice("", settingSize)
	if n, err := fmt.Sscanf(kept, "%fx%f", &width, &height); err != nil || n != 2 {
		return fyne.NewSize(1024, 700)
	}
	return fyne.NewSize(min(max(width, 900), 4000), min(max(height, 600), 3000))
}

func (w *window) dark() bool {
	return w.theme.variant(w.app.Settings().ThemeVariant()) == theme.VariantDark
}

// setTitle marks a demo also where only the title is seen.
func (w *window) setTitle() {
	title := w.texts.T("ui.app", nil)
	if w.program.Demo {
		title = w.texts.T("ui.demo.title", nil) + " – " + title
	}
	w.window.SetTitle(title)
}

func (w *window) setLanguage(name string) {
	w.texts = lang.Texts(name)
	w.setTitle()
	w.redraw()
	go w.keep(w.ctx, settingLanguage, name)
}

func (w *window) setTheme(choice string) {
	w.theme = newTheme(choice)
	w.app.Settings().SetTheme(w.theme)
	w.redraw()
	go w.keep(w.ctx, settingTheme, choice)
}

// redraw shows the same state in other words or colours.
func (w *window) redraw() {
	w.page.texts, w.page.look, w.page.dark = w.texts, w.theme, w.dark()
	w.page.build()
}

// setKeys gives the page its keys where nothing has the focus, and the shortcuts
// everywhere.
func (w *window) setKeys() {
	canvas := w.window.Canvas()
	canvas.SetOnTypedKey(w.page.key)
	for key, do := range w.shortcuts() {
		canvas.AddShortcut(&desktop.CustomShortcut{KeyName: key, Modifier: fyne.KeyModifierShortcutDefault}, func(fyne.Shortcut) { do() })
	}
}

// shortcuts work with Ctrl (Cmd on macOS): M shows or hides the card number, D
// changes between light and dark.
func (w *window) shortcuts() map[fyne.KeyName]func() {
	return map[fyne.KeyName]func(){
		fyne.KeyM: w.page.reveal,
		fyne.KeyD: func() {
			if w.dark() {
				w.setTheme(ThemeLight)
			} else {
				w.setTheme(ThemeDark)
			}
		},
	}
}
