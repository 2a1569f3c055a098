package ui

import (
	"runtime"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"github.com/stretchr/testify/require"

	"walletcompanion/app/core"
	"walletcompanion/app/store"
	"walletcompanion/assets/lang"
	"walletcompanion/reader/virtual"
)

func program(t *testing.T, demo bool) *core.Core {
	kept, err := store.Open(t.TempDir(), store.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, kept.Close()) })
	return core.New(core.Config{Readers: virtual.New(), Store: kept, Demo: demo, Now: func() time.Time { return now }})
}

// becomes waits for a setting, which is written beside the window's goroutine.
func becomes(t *testing.T, c *core.Core, setting, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		got, err := c.Store.Setting(t.Context(), setting)
		return err == nil && got == want
	}, 10*time.Second, time.Millisecond)
}

func TestWindowSwitchesAndRemembers(t *testing.T) {
	c := program(t, true)
	w := openWindow(t.Context(), test.NewTempApp(t), c, Options{Language: "zh", Theme: ThemeLight})
	require.Equal(t, "演示 – 手机钱包移动伴侣", w.window.Title())
	require.Equal(t, fyne.NewSize(1024, 700), w.keptSize())
	s := &shown{page: w.page}
	state := readState()
	state.Demo = true
	w.page.Render(state)
	s.has(t, "卡上余额")

	w.setLanguage(lang.English)
	s.has(t, "On the card")
	s.lacks(t, "卡上余额")
	require.Equal(t, "Demo – Wallet Companion", w.window.Title())
	becomes(t, c, settingLanguage, "en")
	require.False(t, w.dark())
	w.setTheme(ThemeDark)
	require.True(t, w.page.dark)
	becomes(t, c, settingTheme, ThemeDark)

	w.keep(t.Context(), settingSize, "1200x800")
	again := openWindow(t.Context(), test.NewTempApp(t), c, Options{})
	require.Equal(t, lang.English, again.texts.Name())
	require.True(t, again.dark())
	require.Equal(t, fyne.NewSize(1200, 800), again.keptSize())
	w.keep(t.Context(), settingSize, "1x1")
	require.Equal(t, fyne.NewSize(900, 600), again.keptSize(), "never too small to use")
	w.keep(t.Context(), settingSize, "nonsense")
	require.Equal(t, fyne.NewSize(1024, 700), again.keptSize())
}

func TestWindowWithoutDemo(t *testing.T) {
	w := openWindow(t.Context(), test.NewTempApp(t), program(t, false), Options{Language: "en"})
	require.Equal(t, "Wallet Companion", w.window.Title())
	(&shown{page: w.page}).lacks(t, "Demo")
}

func TestWindowWithoutAPlatform(t *testing.T) {
	w := openWindow(t.Context(), test.NewTempApp(t), program(t, false), Options{Language: "zh", Platform: &core.Failure{Code: "PLATFORM_DIR"}})
	w.page.Render(readState())
	s := &shown{page: w.page}
	s.has(t, core.Tell(lang.Texts("zh"), "PLATFORM_DIR", false, nil).Title, "看余额和记录不受影响", "1,286.50")
}

func TestWindowShortcuts(t *testing.T) {
	w := openWindow(t.Context(), test.NewTempApp(t), program(t, false), Options{Language: "zh", Theme: ThemeLight})
	w.page.after = func(time.Duration, func()) func() { return func() {} }
	w.page.Render(readState())
	press := func(key fyne.KeyName) { w.shortcuts()[key]() } // the test driver knows no shortcuts
	press(fyne.KeyM)
	(&shown{page: w.page}).has(t, number)
	press(fyne.KeyM)
	(&shown{page: w.page}).lacks(t, number)
	press(fyne.KeyD)
	require.True(t, w.dark())
	becomes(t, w.program, settingTheme, ThemeDark)
}

func TestRunWithoutADisplay(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // other systems have a display, or say so themselves
	}
	t.Setenv("DISPLAY", "")
	t.Setenv("WAYLAND_DISPLAY", "")
	require.ErrorIs(t, Run(t.Context(), program(t, false), Options{}), ErrNoDisplay)
	require.ErrorIs(t, Complain(t.Context(), &core.Failure{Code: "PROFILE_DAMAGED"}, Options{}), ErrNoDisplay)
}
