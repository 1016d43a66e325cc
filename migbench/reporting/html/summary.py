"""What the page says of whole runs: tables, outcomes, comparisons, provenance."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import msgspec

from migbench.data.annotations import Instance
from migbench.errors import UsageError
from migbench.reporting.html.gathering import LabelledRun
from migbench.reporting.tables import (
    COSTS_HEADER,
    LAYOUTS,
    OUTCOME_COLUMNS,
    Table,
    comparison_cells,
    costs_cells,
    group_cells,
    interval_note,
    level_table,
    results_table,
    scores_cells,
)
from migbench.reporting.tables.rows import ends, shown
from migbench.scoring import (
    Bootstrap,
    Comparison,
    DifficultySplit,
    Outcome,
    Paired,
    RunToCompare,
    compare,
    compare_groups,
    coverage_of,
)
from migbench.scoring.usage import measured_usage
from migbench.tasks import find_task
from migbench.util.plain_text import encodable


@dataclass(frozen=True)
class Cells:
    """A plain table: its header, and lines of which the first column names the line."""

    header: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Bar:
    """One outcome's part of a task's bar: its share in percent, and how many targets."""

    outcome: Outcome
    share: float
    count: int


@dataclass(frozen=True)
class RunSummary:
    """One run: its figures, its outcomes by task, and how it was made."""

    label: str
    complete: bool
    figure: str
    interval: str
    warning: str | None
    scores: Cells
    bars: Sequence[tuple[str, Sequence[Bar]]]
    facts: Sequence[tuple[str, str]]
    manifest: str


@dataclass(frozen=True)
class Matrix:
    """Who hits how many targets of both runs; ``unanswered`` in either are left out of the four."""

    both: int
    wins: int
    losses: int
    neither: int
    unanswered: int


@dataclass(frozen=True)
class PairSummary:
    """A run set against an earlier one, by their places; or the reason why it cannot be."""

    first: int
    second: int
    labels: tuple[str, str]
    problem: str | None = None
    matrix: Matrix | None = None
    tables: Sequence[Cells] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Summary:
    """Everything on the page that is not about single targets."""

    tables: Sequence[Table]
    runs: Sequence[RunSummary]
    costs: Cells
    pairs: Sequence[PairSummary]


def summarise(
    runs: Sequence[LabelledRun],
    *,
    published: bool = True,
    difficulty: DifficultySplit | None = None,
    bootstrap: Bootstrap | None = None,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Summary:
    """Summarise scored runs; every two of them that can be compared are."""
    labelled = [(run.label, run.scored.scores) for run in runs]
    scores = [run.scored.scores for run in runs]
    folders = [run.scored.run.folder for run in runs]
    table = results_table(
        LAYOUTS["table1"](),
        folders,
        scores,
        published=published,
        intervals=True,
        names=names,
    )
    tables = [table]
    if difficulty:
        tables.append(level_table(labelled, published=published, intervals=True))
    costs = costs_cells((run.label, run.scored.scores, measured_usage(run.scored)) for run in runs)
    pairing = _Pairing(runs, difficulty, bootstrap, seed)
    return Summary(
        tables=tables,
        runs=[*map(_run_summary, runs)],
        costs=Cells(COSTS_HEADER, costs),
        pairs=[pairing.summary(*pair) for pair in combinations(range(len(runs)), 2)],
    )


def _run_summary(run: LabelledRun) -> RunSummary:
    scores, manifest = run.scored.scores, run.scored.run.manifest
    return RunSummary(
        label=run.label,
        complete=manifest.status == "complete",
        figure=shown(scores.macro.at_50),
        interval=ends(scores.macro.interval()),
        warning=_warning(run),
        scores=Cells(*scores_cells(scores)),
        bars=[
            (
                find_task(task).column,
                [
                    Bar(outcome, 100 * count / figures.n, count)
                    for outcome in OUTCOME_COLUMNS
                    if (count := figures.outcomes[outcome])
                ],
            )
            for task, figures in scores.tasks.items()
        ],
        facts=[*_facts(run)],
        manifest=msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode(),
    )


NO_BOX = (Outcome.UNREADABLE, Outcome.REFUSED, Outcome.TRUNCATED)
"""What answers without a box that could be read come to."""
MANY = 0.5
"""Of a run's answers: where as many hold no box, its figures may say nothing of the model."""


def _warning(run: LabelledRun) -> str | None:
    """What must be known before any figure of a run is read, if there is something."""
    outcomes = run.scored.scores.macro.outcomes
    answered = sum(outcomes.values()) - outcomes[Outcome.MODEL_ERROR]
    without = {each.value: outcomes[each] for each in NO_BOX if outcomes[each]}
    count = sum(without.values())
    if not answered or count < MANY * answered:
        return None
    parts = ", ".join(f"{number:,} {name}" for name, number in without.items())
    return (
        f"{run.label}: {count:,} of {answered:,} answers hold no box that can be read ({parts}). "
        "Its accuracies may say more of the declared dialect than of the model: "
        f"migbench doctor --run {shlex.quote(encodable(str(run.scored.run.folder)))}"
    )


def _facts(run: LabelledRun) -> Iterator[tuple[str, str]]:
    scores, stored = run.scored.scores, run.scored.run
    manifest, settings = stored.manifest, stored.settings
    environment, model = manifest.environment, settings.model
    yield "Run", f"{encodable(str(stored.folder))}, SHA-256 of its content {scores.run}"
    yield "Status", f"{manifest.status}, begun {manifest.created}"
    yield "Model", ", ".join(filter(None, (model.name, model.checkpoint, model.revision)))
    yield "Instances", f"{coverage_of(scores)} were asked"
    yield "Asked", f"{settings.evaluator}, {settings.strategy}, prompts {settings.prompts}"
    generation = msgspec.to_builtins(model.generation)
    yield "Generation", ", ".join(f"{name} {value}" for name, value in generation.items())
    yield "Read", f"dialect {model.dialect.name}, protocol {scores.protocol}"
    yield "Corrections in force", scores.corrections
    source = scores.annotations
    yield "Annotations", f"{source.label}, SHA-256 of its content {source.content_sha256}"
    if manifest.origin != "run":
        yield "Answers from", manifest.origin
    commit = environment.commit
    if commit:
        dirty = commit.endswith("+")
        commit = f", commit {commit.rstrip('+')}" + dirty * " with uncommitted changes"
    yield "migbench", f"{environment.migbench}{commit or ''}"
    yield "Packages", ", ".join(f"{name} {found}" for name, found in environment.packages.items())
    machine = [f"Python {environment.python}", environment.machine, *environment.accelerators]
    yield "Machine", ", ".join(machine)
    where = f" (in {environment.folder})" if environment.folder else ""
    yield "Command", shlex.join(environment.command) + where
    if manifest.others:
        yield "Further environments", f"{len(manifest.others)}, named in run.json"
    how = f"from {scores.bootstrap.draws} resamples" if scores.bootstrap else "by formula"
    yield "Intervals", f"95 %, by image cluster, {how}"


@dataclass(frozen=True)
class _Pairing:
    """Comparing runs with each other."""

    runs: Sequence[LabelledRun]
    difficulty: DifficultySplit | None
    bootstrap: Bootstrap | None
    seed: int

    def summary(self, first: int, second: int) -> PairSummary:
        """The second run against the first."""
        sides = self._side(first), self._side(second)
        labels = sides[0].label, sides[1].label
        try:
            found = compare(*sides, bootstrap=self.bootstrap, seed=self.seed)
        except UsageError as error:
            return PairSummary(first, second, labels, problem=str(error))
        counted = found.macro
        return PairSummary(
            first,
            second,
            labels,
            matrix=Matrix(
                counted.both, counted.wins, counted.losses, counted.neither, counted.unanswered
            ),
            tables=[
                Cells(*comparison_cells(found)),
                *(
                    Cells(*group_cells(name, *labels, groups))
                    for name, groups in self._groups(*sides)
                ),
            ],
            notes=[*_pair_notes(found)],
        )

    def _side(self, place: int) -> RunToCompare:
        run = self.runs[place]
        scored = run.scored
        return RunToCompare(run.label, scored.scores, scored.samples, scored.annotations.cluster_of)

    def _groups(
        self, first: RunToCompare, second: RunToCompare
    ) -> Iterator[tuple[str, dict[str, Paired]]]:
        """The difference by what targets have in common besides their task."""
        facets: dict[str, Callable[[Instance], str]] = {
            "Images shown": lambda each: str(len(each.images))
        }
        if self.difficulty:
            levels = self.difficulty.levels
            facets["Difficulty"] = lambda each: levels[each.id].value
        for name, group_of in facets.items():
            yield name, compare_groups(first, second, group_of, self.bootstrap)


def _pair_notes(comparison: Comparison) -> Iterator[str]:
    yield (
        "Acc@0.5 in percent, differences in points; wins are hits that only "
        f"{comparison.second} has, losses those that only {comparison.first} has."
    )
    yield interval_note(comparison.bootstrap)
    yield (
        "p: sign-flip permutation test over clusters; Holm: corrected for the number of lines. "
        "MDE: minimum detectable effect, found with 80 % power at the 5 % level."
    )
    if comparison.only_first or comparison.only_second:
        yield (
            f"Left out: {comparison.only_first} targets that only {comparison.first} was asked "
            f"for, {comparison.only_second} that only {comparison.second} was."
        )
