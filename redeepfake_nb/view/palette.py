"""Colours, line styles, markers and signs of the labels, for plots, videos, HTML reports and widgets.

The colours are those of Okabe and Ito ("Color Universal Design", 2008), which people with colour vision
deficiencies can tell apart.
"""

from __future__ import annotations

COLORS = {"fake": "#D55E00", "real": "#0072B2", "inconclusive": "#999999"}
LINES = {"fake": "-", "real": "--"}
MARKERS = {"fake": "D", "real": "o"}

# Characters that look like MARKERS.
SIGNS = {"fake": "◆", "real": "●", "inconclusive": "?"}
BADGE_SIGNS = {"supported": "✓", "weak": "~", "not supported": "✗"}

# Borders and fills in HTML: grey needs more contrast on white than in a plot, and all three on black.
HTML_COLORS = {
    "light": {**COLORS, "inconclusive": "#767676"},
    "dark": {"fake": "#F08030", "real": "#4AA8E0", "inconclusive": "#9A9A9A"},
}
# The rest of their palette, for persons and curves that have nothing to do with a label.
BLUISH_GREEN = "#009E73"
REDDISH_PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
