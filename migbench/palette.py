"""The colours of reports and plots: Okabe and Ito's, which colour-blind readers can tell apart."""

from __future__ import annotations

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
BLACK = "#000000"

TRUTH = GREEN
"""Of what is to be found."""
MODELS = (VERMILLION, BLUE, PURPLE, ORANGE, SKY)
"""Of runs, in their order; after the last, the first again."""
