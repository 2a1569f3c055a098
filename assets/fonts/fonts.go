// Package fonts holds the program's own font: Noto Sans SC, cut down to GB 2312 and
// Latin, TrueType. See README.md for its source and licence.
package fonts

import _ "embed"

// Regular and Bold are the two weights that the program uses.
var (
	//go:embed NotoSansSC-GB2312-Regular.ttf
	Regular []byte
	//go:embed NotoSansSC-GB2312-Bold.ttf
	Bold []byte
)
