"""What a run under way has come to: questions done, accuracy, errors, answers without a box."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic

from migbench.scoring import Outcome, SampleScore
from migbench.util.durations import duration_text

_REASON = 80
"""Characters of an error's reason that are shown."""


@dataclass
class Tally:
    """Counts of a run of ``total`` questions, of which ``stored`` were answered before it began.

    ``boxless`` are targets whose question is answered without a box for them.
    """

    total: int
    stored: int = 0
    began: float = 0.0
    done: int = 0
    targets: int = 0
    hits: int = 0
    errors: int = 0
    boxless: int = 0
    last_error: str = ""

    def add(self, samples: Iterable[SampleScore]) -> None:
        """Count a question that is over, by the results of its targets."""
        self.done += 1
        for each in samples:
            self.targets += 1
            self.hits += each.outcome is Outcome.HIT
            self.errors += each.outcome is Outcome.MODEL_ERROR
            self.boxless += is_boxless(each)
            if each.outcome is Outcome.MODEL_ERROR and each.line and each.line.error:
                self.last_error = each.line.error

    @property
    def answered(self) -> int:
        """Targets whose question has an answer."""
        return self.targets - self.errors

    @property
    def state(self) -> str:
        """Accuracy among what was answered, and errors with the last reason, for a progress bar."""
        accuracy = f"{100 * self.hits / self.answered:.1f}" if self.answered else "–"
        reason = " ".join(self.last_error.split())
        shown = reason if len(reason) <= _REASON else f"{reason[: _REASON - 1]}…"
        return f"Acc@0.5 {accuracy}, errors {self.errors}" + (f" (last: {shown})" if shown else "")

    def line(self, now: float | None = None) -> str:
        """The same with rate and time left, as a line by itself."""
        seconds = (monotonic() if now is None else now) - self.began
        rate = max(0, self.done - self.stored) / seconds if seconds > 0 else 0.0
        speed = f"{rate:.1f} a second" if rate >= 1 else f"{60 * rate:.1f} a minute"
        left = f", {duration_text((self.total - self.done) / rate)} left" if rate else ""
        return f"{self.done:,} of {self.total:,} questions, {speed}{left}; {self.state}"


def is_boxless(sample: SampleScore) -> bool:
    """Whether there is an answer, and no box in it for this target."""
    return sample.prediction.box is None and sample.outcome is not Outcome.MODEL_ERROR
