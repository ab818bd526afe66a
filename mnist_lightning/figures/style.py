"""The style that all figures share."""

import matplotlib.style
from matplotlib.figure import Figure

BLUE, VERMILION = "#0072B2", "#D55E00"
WIDTH_INCHES = 5.4
DPI = 120
# The user's matplotlibrc and style do not apply, because the colours are chosen for white paper.
# Unhinted text looks the same and is drawn 10 % faster; a "$" in a class name is not a formula.
STYLE = matplotlib.style.context(
    [
        "default",
        {
            "figure.dpi": DPI,
            "text.hinting": "none",
            "text.parse_math": False,
            "pdf.fonttype": 42,  # TrueType, which publishers require
        },
    ]
)


def write_title(figure: Figure, text: str) -> None:
    """Writes a title, in a smaller font if it is too long for the figure's width."""
    width, height = figure.get_size_inches()
    size = min(12.0, 72 * width / (0.6 * len(text)))
    figure.suptitle(text, size=size, y=1 - 0.18 / height, verticalalignment="center")
