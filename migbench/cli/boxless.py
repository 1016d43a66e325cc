"""The warning that answers hold no box, with the declaration that reads them, if there is one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from migbench.asking.questions import Question
from migbench.data.annotations import Annotations
from migbench.runs.answer_lines import Lines
from migbench.runs.settings import Settings

if TYPE_CHECKING:
    from migbench.checks.doctor.boxless import Boxless

FIRST = 50
"""Answers after which they are looked at first."""
FEWEST = 10
"""With fewer answers at the end nothing is said: a run of three may have any reason."""

_LOOKED_AT = 200


def advice(
    settings: Settings, questions: Sequence[Question], lines: Lines, annotations: Annotations
) -> Boxless:
    """Why the answers to the first of these questions that have one hold no box."""
    from migbench.checks.doctor.boxless import why_no_box  # Most runs start without the doctor.

    answered = [each for each in questions if (each.id, 0) in lines]
    return why_no_box(settings, answered[:_LOOKED_AT], lines, annotations)


def tell_boxless(count: int, which: str, why: Boxless, out: Path | None) -> str:
    """The warning, on one line: ``count`` answers ``which`` say of what."""
    set_ = f"; they can be read with {' or '.join(why.flags)}" if why.flags else ""
    closer = f"; look closer: migbench doctor --run {shlex.quote(str(out))}" if out else ""
    return f"{count:,} {which} answers hold no box: {why.reason}{set_}{closer}"
