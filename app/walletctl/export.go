package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"walletcompanion/app/core"
)

// export writes rows as .csv, or object as .json; the suffix of the file chooses. CSV
// is UTF-8 with a byte order mark for spreadsheets, and holds no cell that one would
// run as a formula.
func export(file string, object any, head []string, rows [][]string) error {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".json":
		raw, err := json.MarshalIndent(object, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(file, append(raw, '\n'), 0o600)
	case ".csv":
		var out bytes.Buffer
		out.WriteString("\ufeff")
		w := csv.NewWriter(&out)
		_ = w.Write(head)
		for _, row := range rows {
			_ = w.Write(row)
		}
		w.Flush()
		return os.WriteFile(file, out.Bytes(), 0o600)
	}
	return &core.Failure{Code: "USAGE", Err: fmt.Errorf("export to %q: the file must end in .csv or .json", file)}
}
