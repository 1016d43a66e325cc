"""Which runs differ in the form of asking alone, by what their manifests say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migbench.errors import UsageError
from migbench.reporting.plots.subjects import Subject
from migbench.runs.settings import differences
from migbench.tasks import load_tasks

EVALUATORS = {"polling": "polling", "all-at-once": "all at once"}
STRATEGIES = {"direct": "direct", "cot": "CoT", "mcot": "mCoT"}
_FORM = ("evaluator", "strategy", "prompts", "limit", "shard.", "tasks.")
"""Settings that a form may change, or that only decide which targets two runs have in common."""

Form = tuple[str, str]
"""Evaluator and strategy."""


@dataclass(frozen=True)
class Contrast:
    """One form against another: what differs, what does not, and the tasks in which it shows."""

    base: str
    other: str
    alike: str
    tasks: frozenset[str]

    @property
    def title(self) -> str:
        """What is drawn, in words."""
        return f"{self.other} against {self.base}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What both have in common, where that is not the plain form."""
        return f", {self.alike}" if self.alike else ""


@dataclass(frozen=True)
class Pair:
    """Two runs of one model, and its place among the models."""

    model: int
    first: Subject
    second: Subject

    @property
    def also_differ(self) -> list[str]:
        """What differs beside the form, in words: it may have a part in the difference."""
        return [
            f"{name} ({before}, {after})"
            for name, before, after in differences(
                self.first.scored.run.settings, self.second.scored.run.settings
            )
            if not name.startswith(_FORM)
        ]


def models_of(runs: Sequence[Subject]) -> dict[str, dict[Form, Subject]]:
    """The runs by model and form. Raises `UsageError` where a model has two of one form."""
    models: dict[str, dict[Form, Subject]] = {}
    for run in runs:
        model = run.scored.run.settings.model
        name = f"{model.name} {model.checkpoint} {model.revision}"
        form = (run.scores.evaluator, run.scores.strategy)
        known = models.setdefault(name, {}).setdefault(form, run)
        if known is not run:
            raise UsageError(
                f"{known.label} and {run.label} are of one model and in one form; leave one out"
            )
    return models


def contrasts_of(runs: Sequence[Subject]) -> dict[Contrast, list[Pair]]:
    """All-at-once runs beside polling ones, and chains of thought beside direct ones.

    Runs that are paired are of one model, and in all else of one form. Raises `UsageError` where
    there are none.
    """
    found: dict[Contrast, list[Pair]] = {}
    for number, forms in enumerate(models_of(runs).values()):
        for contrast, base, other in _possible():
            if base in forms and other in forms:
                found.setdefault(contrast, []).append(Pair(number, forms[base], forms[other]))
    if not found:
        given = "; ".join(
            f"{run.label} ({run.scores.evaluator}, {run.scores.strategy})" for run in runs
        )
        raise UsageError(
            "--kind forms needs two runs of one model that differ in --evaluator or in --strategy, "
            f"one of them polling or direct; here are: {given}"
        )
    order = {contrast: place for place, (contrast, _, _) in enumerate(_possible())}
    return {contrast: found[contrast] for contrast in sorted(found, key=order.__getitem__)}


def _possible() -> Iterator[tuple[Contrast, Form, Form]]:
    specs = load_tasks()
    every = frozenset(spec.key for spec in specs)
    # The other tasks are asked the same in both forms.
    together = frozenset(spec.key for spec in specs if spec.all_at_once)
    for strategy, name in STRATEGIES.items():
        alike = "" if strategy == "direct" else name
        contrast = Contrast("polling", EVALUATORS["all-at-once"], alike, together)
        yield contrast, ("polling", strategy), ("all-at-once", strategy)
    for evaluator, name in EVALUATORS.items():
        alike = "" if evaluator == "polling" else name
        for strategy in ("cot", "mcot"):
            contrast = Contrast("direct", STRATEGIES[strategy], alike, every)
            yield contrast, (evaluator, "direct"), (evaluator, strategy)
