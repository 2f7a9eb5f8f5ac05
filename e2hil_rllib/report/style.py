"""Style of a report's figures."""

from __future__ import annotations

from e2hil_rllib.data.transitions import SOURCE_NAMES

# Okabe and Ito's palette, safe for colour-blind readers.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"
COLOUR_OF_SOURCE = dict(zip(SOURCE_NAMES, (BLUE, ORANGE, GREEN), strict=True))
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
