"""What an audit of published tables can find."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Cause = Literal["truncation", "rounding of the cells"]
Check = Literal["hits", "average", "weights", "group", "counts", "change", "repeat"]

ABOUT: dict[Check, str] = {
    "hits": "Accuracies that no whole number of hits gives",
    "average": "Averages that do not follow from their cells",
    "weights": "Averages that weigh their cells otherwise than by tasks",
    "group": "Groups that are not the mean of their tasks in Table 1",
    "counts": "Numbers of instances that do not add up",
    "change": "Printed differences that do not follow",
    "repeat": "Rows that another table prints otherwise",
}


class Finding(Struct, frozen=True, kw_only=True):
    """One figure that cannot be, or does not follow.

    ``printed`` and ``recomputed`` are as a table prints figures; of several possible values those
    next to the printed one are given. ``could_be`` names what would explain it: that a possible
    value was cut off, not rounded, or that the average was taken of cells before they were rounded.
    ``tables`` are all that print it.
    """

    check: Check
    tables: tuple[str, ...]
    row: str
    column: str
    printed: str
    recomputed: tuple[str, ...]
    could_be: tuple[Cause, ...] = ()
    remark: str = ""
