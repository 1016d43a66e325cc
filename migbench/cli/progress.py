"""The progress bar of a run: rate, time left, running accuracy, errors."""

from __future__ import annotations

import sys
from functools import cache
from types import TracebackType
from typing import Never, Self

from tqdm import tqdm

from migbench.asking.questions import Question
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.plan import Plan
from migbench.runs.runner import Progress
from migbench.runs.store import RunStore
from migbench.runs.watchdog import seconds_text
from migbench.scoring import Outcome, Scorer
from migbench.scoring.scored_run import make_scorer


class ProgressBar:
    """Shows a plan being carried out on a terminal; judges every question as it is answered."""

    def __init__(self, plan: Plan, protocol: str, corrections: bool) -> None:
        """Show nothing yet."""
        self._protocol = protocol
        self._correction = plan.settings.model.corrections if corrections else None
        self._images = plan.data.images
        self._total = len(plan.questions)
        self._bar: tqdm[Never] | None = None
        self._hits = 0
        self._targets = 0
        self._errors = 0

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
        if self._bar is not None:
            self._bar.close()

    def start(self, store: RunStore) -> Progress:
        """The progress that a runner keeps, watched by this bar; shown on a terminal only."""
        bar = self._bar = tqdm(
            total=self._total, unit=" questions", dynamic_ncols=True, disable=None
        )

        def on_slow(question: str, seconds: float) -> None:
            message = f"{question}: its request is under way for {seconds_text(seconds)}"
            bar.write(f"migbench: {message}", file=sys.stderr)

        if bar.disable:
            # Nothing shows what scoring would find.
            return Progress(on_slow=on_slow)

        @cache
        def scorer() -> Scorer:
            # What decides on reading may be known only when the model is loaded.
            return make_scorer(store.settings, self._protocol, self._correction, self._images)

        def on_question(question: Question, line: AnswerLine) -> None:
            for sample in scorer().score([question], store.lines):
                self._targets += 1
                self._hits += sample.outcome is Outcome.HIT
                self._errors += sample.outcome is Outcome.MODEL_ERROR
            accuracy = 100 * self._hits / self._targets
            state = f"Acc@0.5 {accuracy:.1f}, errors {self._errors}"
            bar.set_postfix_str(state, refresh=False)
            bar.update()

        return Progress(on_question=on_question, on_slow=on_slow)
