// Package lang gives the texts that people read, in Chinese and English. Window,
// console and printed papers share the one catalogue; a test finds texts that are
// missing in one language.
package lang

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"sync"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"

	"walletcompanion/assets"
)

// The languages of the catalogue. Chinese is the default.
const (
	Chinese = "zh"
	English = "en"
)

// catalogues read one language each, when its first text is asked for: reading both
// took a third of the start of a console command, and many commands show no text. They
// are embedded, so one that cannot be read is a defect of the build, which every test
// of this package meets.
var catalogues = map[string]func() *i18n.Localizer{
	Chinese: sync.OnceValue(func() *i18n.Localizer { return load(Chinese, language.Chinese) }),
	English: sync.OnceValue(func() *i18n.Localizer { return load(English, language.English) }),
}

func load(name string, tag language.Tag) *i18n.Localizer {
	bundle := i18n.NewBundle(tag)
	bundle.RegisterUnmarshalFunc("json", json.Unmarshal)
	if _, err := bundle.LoadMessageFileFS(assets.Languages, "lang/"+name+".json"); err != nil {
		panic(err)
	}
	return i18n.NewLocalizer(bundle, name)
}

// Localizer gives texts in one language. It may be used by several goroutines.
type Localizer struct {
	name  string
	texts func() *i18n.Localizer // reads the catalogue when it is first needed
}

// Texts returns the texts in the named language ("zh", "en", "zh-CN", "en_GB.UTF-8").
// An empty name is the language of the system.
func Texts(name string) *Localizer {
	if name == "" {
		name = System()
	}
	if base(name) == Chinese {
		name = Chinese
	} else {
		name = English
	}
	return &Localizer{name: name, texts: catalogues[name]}
}

// System is the language that the environment asks for: Chinese, too, where it
// asks for none.
func System() string {
	for _, variable := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := os.Getenv(variable); value != "" {
			if base(value) == Chinese {
				return Chinese
			}
			return English
		}
	}
	return Chinese
}

// base is the language of a tag or locale without country and encoding.
func base(name string) string {
	first, _, _ := strings.Cut(strings.NewReplacer("-", "_", ".", "_", "@", "_").Replace(name), "_")
	return strings.ToLower(first)
}

// Name is "zh" or "en".
func (l *Localizer) Name() string { return l.name }

// T returns the text of a key with the facts filled in. Facts that a text does not
// use are ignored. An unknown key is returned itself, so that it shows.
func (l *Localizer) T(key string, facts map[string]any) string {
	if facts == nil {
		facts = map[string]any{}
	}
	return l.localize(key, facts, nil)
}

// N returns the text of a key in the plural form for count, which the text may
// show as {{.Count}}.
func (l *Localizer) N(key string, count int, facts map[string]any) string {
	counted := map[string]any{"Count": count}
	maps.Copy(counted, facts)
	return l.localize(key, counted, count)
}

// Has reports whether the catalogue holds the key.
func (l *Localizer) Has(key string) bool {
	_, err := l.texts().Localize(&i18n.LocalizeConfig{MessageID: key, TemplateData: map[string]any{}, PluralCount: 2})
	return err == nil
}

func (l *Localizer) localize(key string, facts map[string]any, count any) string {
	text, err := l.texts().Localize(&i18n.LocalizeConfig{MessageID: key, TemplateData: facts, PluralCount: count})
	if err != nil || text == "" {
		return key
	}
	return text
}
