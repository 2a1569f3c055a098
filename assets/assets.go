// Package assets holds what is embedded in the programs.
package assets

import "embed"

// Languages holds lang/zh.json and lang/en.json, catalogues in the form of go-i18n.
// Package assets/lang reads them.
//
//go:embed lang/*.json
var Languages embed.FS
