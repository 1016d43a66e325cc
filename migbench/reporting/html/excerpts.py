"""Long texts cut for display: their beginning, their end, and whatever was read from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Span = tuple[int, int]
"""Start and end in a text, in characters."""
Piece = str | int | tuple[str, int]
"""A part of a text; how many characters are left out; or a part that was read, and of which span.

Spans are numbered in their order.
"""

WHOLE = 4000
"""Texts of up to so many characters are shown whole."""
HEAD, TAIL = 1500, 500
"""What is shown of the two ends of a longer one."""
AROUND = 200
"""What is shown on either side of the ends of a span."""


def excerpt(text: str, spans: Sequence[Span] = ()) -> list[Piece]:
    """The text in pieces, with the spans, which do not overlap, as pieces of their own.

    A text of any length takes no more room than its ends and its spans' ends do.

    >>> excerpt("It is (1,2),(3,4).", [(6, 17)])
    ['It is ', ('(1,2),(3,4)', 0), '.']
    """
    numbered = sorted((start, end, number) for number, (start, end) in enumerate(spans))
    pieces: list[Piece] = []
    place = 0
    for start, end in _shown(text, spans):
        if start > place:
            pieces.append(start - place)
        pieces += _marked(text, start, end, numbered)
        place = end
    if place < len(text):
        pieces.append(len(text) - place)
    return pieces


def _shown(text: str, spans: Sequence[Span]) -> list[Span]:
    """Which parts of the text are shown, in order and apart from each other."""
    length = len(text)
    if length <= WHOLE:
        return [(0, length)]
    wanted = [(0, HEAD), (length - TAIL, length)]
    for span in spans:
        wanted += [(max(end - AROUND, 0), min(end + AROUND, length)) for end in span]
    apart: list[Span] = []
    for start, end in sorted(wanted):
        if apart and start <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _marked(
    text: str, start: int, end: int, spans: Sequence[tuple[int, int, int]]
) -> Iterator[Piece]:
    """One shown part of the text, divided where spans begin and end."""
    for first, last, number in spans:
        first, last = max(first, start), min(last, end)
        if first < last:
            if start < first:
                yield text[start:first]
            yield text[first:last], number
            start = last
    if start < end:
        yield text[start:end]
