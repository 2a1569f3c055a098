#!/usr/bin/env bash
# font.sh makes assets/fonts/NotoSansSC-GB2312-{Regular,Bold}.ttf from Debian's
# fonts-noto-cjk: the simplified Chinese face, cut down to GB 2312 and the Latin
# characters that the program writes, with TrueType outlines, because the libraries
# for printed papers read no others. The result is committed; run this again only
# for a new version of the source font or another set of characters.
#
# Needs: apt-get install fonts-noto-cjk python3-fonttools
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source=${1:-/usr/share/fonts/opentype/noto}
mkdir -p assets/fonts

# Debian's fontTools belongs to Debian's Python, which need not come first in PATH.
python=python3
"$python" -c 'import fontTools' 2>/dev/null || python=/usr/bin/python3

for weight in Regular Bold; do
  "$python" - "$source/NotoSansCJK-$weight.ttc" "assets/fonts/NotoSansSC-GB2312-$weight.ttf" <<'PYTHON'
import sys

from fontTools import subset
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, newTable

source, target = sys.argv[1:]


def gb2312():
    """Every character of GB 2312, by its two bytes."""
    for high in range(0xA1, 0xF8):
        for low in range(0xA1, 0xFF):
            try:
                yield ord(bytes([high, low]).decode("gb2312"))
            except UnicodeDecodeError:
                pass


# Beyond GB 2312: ASCII, Latin-1, dashes, minus, quotation marks, ellipsis, per
# mille, arrows, check mark, replacement mark.
characters = set(gb2312()) | set(range(0x20, 0x7F)) | set(range(0xA0, 0x100))
characters |= {0x2212, 0x2013, 0x2014, 0x2018, 0x2019, 0x201C, 0x201D, 0x2026, 0x2030, 0x20AC, 0x2713, 0xFFFD}
characters |= set(range(0x2190, 0x2194))

fonts = TTCollection(source).fonts
font = next(f for f in fonts if f["name"].getDebugName(1).startswith("Noto Sans CJK SC"))

options = subset.Options()
options.layout_features = ["kern"]
options.hinting = False
options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
options.notdef_outline = True
options.glyph_names = False
options.drop_tables += ["BASE", "VORG", "vhea", "vmtx", "DSIG"]
cutter = subset.Subsetter(options)
cutter.populate(unicodes=characters)
cutter.subset(font)

# CFF outlines are cubic; TrueType's are quadratic. One unit in a thousand is the
# largest deviation, which no screen shows.
order = font.getGlyphOrder()
shapes = font.getGlyphSet()
glyf = newTable("glyf")
glyf.glyphOrder, glyf.glyphs = order, {}
for name in order:
    pen = TTGlyphPen(shapes)
    shapes[name].draw(Cu2QuPen(pen, 1.0, reverse_direction=True))
    glyf.glyphs[name] = pen.glyph()
font["glyf"], font["loca"] = glyf, newTable("loca")
del font["CFF "]
for name in order:
    glyph = glyf.glyphs[name]
    glyph.recalcBounds(glyf)
    width = font["hmtx"][name][0]
    font["hmtx"][name] = (width, glyph.xMin if glyph.numberOfContours else 0)

maxp = font["maxp"]
maxp.tableVersion = 0x00010000
for field, value in dict(maxZones=1, maxTwilightPoints=0, maxStorage=0, maxFunctionDefs=0, maxInstructionDefs=0,
                         maxStackElements=0, maxSizeOfInstructions=0, maxComponentElements=0,
                         maxPoints=0, maxContours=0, maxCompositePoints=0, maxCompositeContours=0, maxComponentDepth=0).items():
    setattr(maxp, field, value)
font["post"].formatType = 3.0
font.sfntVersion = "\x00\x01\x00\x00"
for record in font["name"].names:
    if record.nameID in (1, 4):
        record.string = "Noto Sans SC GB2312" + ("" if record.nameID == 1 else " " + font["name"].getDebugName(2))
font["head"].modified = font["head"].created  # the same input gives the same bytes
font.recalcTimestamp = False
font.save(target)
print(target, len(order), "glyphs")
PYTHON
done
