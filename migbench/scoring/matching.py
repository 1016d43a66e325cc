"""Which of an answer's boxes is for which target, when a question asks for several."""

from __future__ import annotations

from collections.abc import Sequence

from migbench.asking.questions import Asked
from migbench.dialects import FoundBox


def match_boxes(found: Sequence[FoundBox], asked: Sequence[Asked]) -> list[FoundBox | None]:
    """For every box asked for the one that the answer gives, or None; each is used once.

    A box goes where its label says; of several with the same label the first counts. Boxes without
    a label fill, in their order, what is left. Labels that name nothing asked for are of no use.
    """
    labelled: dict[int, FoundBox] = {}
    for box in found:
        if box.label is not None:
            labelled.setdefault(box.label, box)
    unlabelled = iter([box for box in found if box.label is None])
    matched: list[FoundBox | None] = []
    for one in asked:
        named = labelled.get(one.number - 1) if one.number is not None else None
        matched.append(named if named is not None else next(unlabelled, None))
    return matched
