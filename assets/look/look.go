// Package look holds colours, sizes and drawings of the window. The drawings are
// filled paths only, in the light values of the colours, because the renderer of the
// window knows little more; the window recolours them.
package look

import "embed"

// Tokens is tokens.json: the colours by name, light and dark, and the sizes.
//
//go:embed tokens.json
var Tokens []byte

// Drawings holds svg/NAME.svg.
//
//go:embed svg/*.svg
var Drawings embed.FS
