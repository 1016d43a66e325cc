"""What is wider than a terminal, made to fit: columns in blocks, prose in lines."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

GAP = 2
"""Blanks between columns."""
INDENT = "    "


def fold(widths: Sequence[int], width: int | None) -> list[list[int]]:
    """Which columns stand together in blocks of at most ``width`` characters.

    Every block has the first column, which names the lines. A column that is too wide even beside
    that one alone has a block of its own. Without a ``width`` all stand together.

    >>> fold([4, 3, 3, 3], 14)
    [[0, 1, 2], [0, 3]]
    """
    blocks = [[0]]
    for place, each in enumerate(widths[1:], start=1):
        taken = sum(widths[known] + GAP for known in blocks[-1])
        if width is not None and len(blocks[-1]) > 1 and taken + each > width:
            blocks.append([0])
        blocks[-1].append(place)
    return blocks


def paragraph(text: str, width: int | None, indent: str = "  ") -> str:
    """A text on lines of at most ``width`` characters, if its words allow it.

    All lines but the first are indented.
    """
    if width is None or len(text) <= width:
        return text
    return fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
