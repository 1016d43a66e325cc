"""What a run under way shows: a bar on a terminal, a line a minute elsewhere, and what is amiss."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Never, Self

from tqdm import tqdm

from migbench.asking.questions import Question
from migbench.cli.boxless import FIRST, advice, tell_boxless
from migbench.cli.first_answer import first_answer
from migbench.cli.tally import Tally
from migbench.cli.terminal import echo_line
from migbench.models.boundary import Failure
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.plan import Plan
from migbench.runs.runner import Progress
from migbench.runs.store import RunStore
from migbench.runs.watchdog import seconds_text
from migbench.scoring import Scorer
from migbench.scoring.scored_run import make_scorer
from migbench.util.durations import duration_text

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


class ProgressBar:
    """Shows a plan being carried out; judges every question as it is answered.

    ``out`` is the run folder, which hints name. With ``debug`` every traceback is shown.
    """

    def __init__(
        self,
        plan: Plan,
        protocol: str,
        corrections: bool,
        *,
        out: Path | None = None,
        debug: bool = False,
    ) -> None:
        """Show nothing yet."""
        self._plan = plan
        self._protocol = protocol
        self._correction = plan.settings.model.corrections if corrections else None
        self._out = out
        self._debug = debug
        self._tally = Tally(total=len(plan.questions))
        self._store: RunStore | None = None
        self._bar: tqdm[Never] | None = None
        self._is_over = Event()

    def __enter__(self) -> Self:
        """Use it for the length of a run."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self._is_over.set()
        if self._bar is not None:
            self._bar.close()

    def start(self, store: RunStore) -> Progress:
        """The progress that a runner keeps, watched by this bar."""
        self._store = store
        answered = {line.question for line in store.lines.values() if line.text is not None}
        self._tally.stored = sum(each.id in answered for each in self._plan.questions)
        self._tally.began = monotonic()
        if sys.stderr.isatty():
            self._bar = tqdm(total=self._tally.total, unit=" questions", dynamic_ncols=True)
        else:
            Thread(target=self._tell_often, name="status", daemon=True).start()
        return Progress(
            on_question=self._on_question,
            on_slow=self._on_slow,
            on_failure=self._on_failure,
            on_down=self._on_down,
            on_first=self._on_first,
        )

    @cached_property
    def _scorer(self) -> Scorer:
        """Made late: what decides on reading may be known only when the model is loaded."""
        assert self._store is not None
        images = self._plan.data.images
        return make_scorer(self._store.settings, self._protocol, self._correction, images)

    def _on_question(self, question: Question, line: AnswerLine) -> None:
        assert self._store is not None
        before = self._tally.answered
        self._tally.add(self._scorer.score([question], self._store.lines))
        if self._bar is not None:
            self._bar.set_postfix_str(self._tally.state, refresh=False)
            self._bar.update()
        if before < FIRST <= self._tally.answered and self._out is not None:
            self._look_at_first()

    def _look_at_first(self) -> None:
        """Warn where half of the first answers or more hold no box."""
        tally, store = self._tally, self._store
        assert store is not None
        if 2 * tally.boxless >= tally.answered:
            why = advice(store.settings, self._plan.questions, store.lines, self._plan.annotations)
            which = f"of the first {tally.answered}"
            self._say(tell_boxless(tally.boxless, which, why, self._out))

    def _on_first(self, question: Question, line: AnswerLine) -> None:
        assert self._store is not None
        self._say(*first_answer(self._scorer, question, self._store.lines))

    def _on_slow(self, question: str, seconds: float) -> None:
        self._say(f"{question}: its request is under way for {seconds_text(seconds)}")

    def _on_failure(self, question: str, failure: Failure) -> None:
        if self._debug:
            self._say(f"{question}: {failure.message}", *failure.details.splitlines())

    def _on_down(self, reason: str | None, pause: float, left: float) -> None:
        if reason is None:
            self._say("the server is back")
        else:
            self._say(
                f"the server is down: {reason}; tried again in {duration_text(max(1, pause))}, for "
                f"{duration_text(left)} more (--patience)"
            )

    def _tell_often(self) -> None:
        while not self._is_over.wait(EVERY):
            self._say(self._tally.line())

    def _say(self, first: str, *more: str) -> None:
        lines = [f"migbench: {first}", *(f"  {line}" for line in more)]
        beside_bar = (
            nullcontext() if self._bar is None else self._bar.external_write_mode(file=sys.stderr)
        )
        with beside_bar:
            for line in lines:
                echo_line(line, err=True)
