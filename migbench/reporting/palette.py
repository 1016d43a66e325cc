"""Colours that readers with any kind of colour vision can tell apart, for figures and reports.

The palette is that of Masataka Okabe and Kei Ito, "Color Universal Design: how to make figures and
presentations that are friendly to colorblind people", 2002 (revised 2008).
"""

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

TRUTH = GREEN
"""Of ground truth, and of nothing else."""
MODELS = (VERMILLION, BLUE, PURPLE, ORANGE, SKY)
"""Of models, in the order in which they are named."""
