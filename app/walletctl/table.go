package main

import (
	"bytes"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// filler stands beside every wide character while a table is laid out, since
// tabwriter counts characters and a terminal gives a Chinese one two columns. It is
// a private-use character, which no text of ours holds.
const filler = '\uE000'

// table aligns columns that tabs separate, in terminal columns. Flush writes it.
type table struct {
	out     io.Writer
	aligned bytes.Buffer
	*tabwriter.Writer
}

func newTable(out io.Writer) *table {
	t := &table{out: out}
	t.Writer = tabwriter.NewWriter(&t.aligned, 0, 4, 2, ' ', 0)
	return t
}

// Write takes whole characters only, as fmt writes them.
func (t *table) Write(text []byte) (int, error) {
	if _, err := t.Writer.Write(widen(text)); err != nil {
		return 0, err
	}
	return len(text), nil
}

// Flush writes the table, without blanks at the ends of lines.
func (t *table) Flush() error {
	if err := t.Writer.Flush(); err != nil {
		return err
	}
	lines := strings.Split(strings.ReplaceAll(t.aligned.String(), string(filler), ""), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	_, err := io.WriteString(t.out, strings.Join(lines, "\n"))
	return err
}

// widen puts the filler behind every wide character.
func widen(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		out = append(out, text[:size]...)
		if isWide(r) {
			out = utf8.AppendRune(out, filler)
		}
		text = text[size:]
	}
	return out
}

// isWide: the blocks of East Asian Width W and F (Unicode UAX #11) that Chinese
// texts use. Ambiguous characters, such as … and →, are narrow.
func isWide(r rune) bool {
	switch {
	case r >= 0x1100 && r <= 0x115F, // Hangul Jamo
		r >= 0x2E80 && r <= 0x303E, // radicals, CJK punctuation
		r >= 0x3041 && r <= 0xA4CF, // kana, CJK ideographs, Yi
		r >= 0xAC00 && r <= 0xD7A3, // Hangul
		r >= 0xF900 && r <= 0xFAFF, // compatibility ideographs
		r >= 0xFE30 && r <= 0xFE6F, // compatibility forms
		r >= 0xFF01 && r <= 0xFF60, // fullwidth forms
		r >= 0xFFE0 && r <= 0xFFE6,
		r >= 0x20000 && r <= 0x3FFFD: // further ideographs
		return true
	}
	return false
}

// columns is how wide a text is in a terminal.
func columns(text string) int { return utf8.RuneCount(widen([]byte(text))) }

// padded puts blanks before a text until it fills that many columns: numbers stand
// flush right.
func padded(text string, width int) string {
	return strings.Repeat(" ", max(0, width-columns(text))) + text
}
