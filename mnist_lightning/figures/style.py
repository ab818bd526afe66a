"""The look that all figures share."""

import matplotlib.style
from matplotlib.figure import Figure

BLUE, VERMILION = "#0072B2", "#D55E00"
WIDTH = 5.4  # inches
# What matplotlibrc and a notebook's style say is left aside: white paper is taken for granted here.
# Hinted text takes a tenth longer and looks the same; nothing is to be read as a formula.
STYLE = matplotlib.style.context(
    ["default", {"figure.dpi": 120, "text.hinting": "none", "text.parse_math": False}]
)


def write_title(figure: Figure, text: str) -> None:
    """Writes a title that is as wide as the figure at most."""
    width, height = figure.get_size_inches()
    size = min(12.0, 72 * width / (0.6 * len(text)))  # so that long ones fit
    figure.suptitle(text, size=size, y=1 - 0.18 / height, verticalalignment="center")
