package main

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
)

// historyCSV writes records for spreadsheets: UTF-8 with a byte order mark, times
// with their zone, and no cell that a spreadsheet would run as a formula.
func historyCSV(object historyObject) []byte {
	var out bytes.Buffer
	out.WriteString("\ufeff")
	w := csv.NewWriter(&out)
	_ = w.Write([]string{"time", "card", "counter", "typeCode", "type", "amountYuan", "terminal", "order", "problem"})
	for _, record := range object.Records {
		_ = w.Write([]string{
			deref(record.Time), record.ASNMasked, strconv.Itoa(int(record.Counter)), record.TypeCode, record.Type,
			record.AmountFen.Yuan(), record.Terminal, safeCell(deref(record.Order)), safeCell(deref(record.Problem)),
		})
	}
	w.Flush()
	return out.Bytes()
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// safeCell keeps a spreadsheet from taking a text for a formula.
func safeCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
