"""What a figure shows: scored runs and published rows, each under a label and in a colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from migbench.errors import UsageError
from migbench.reporting.palette import MODELS
from migbench.reporting.published import PublishedRow, PublishedTable, load_tables
from migbench.reporting.published.reproduction import row_of
from migbench.reporting.tables import run_labels, run_notes
from migbench.scoring import Bootstrap, Scores
from migbench.scoring.scored_run import ScoredRun
from migbench.tasks import find_task, load_tasks
from migbench.util.escaping import visible


@dataclass(frozen=True)
class Subject:
    """One scored run."""

    label: str
    colour: str
    scored: ScoredRun

    @property
    def scores(self) -> Scores:
        """The run's scores."""
        return self.scored.scores


@dataclass(frozen=True)
class Printed:
    """One published row; that of the same model and form as the run ``of``, if it is of one."""

    label: str
    colour: str
    row: PublishedRow
    source: str
    of: Subject | None = None

    @property
    def about(self) -> str:
        """Where it is printed, and what its figures need to be understood."""
        row = self.row
        parts = [f"{self.source}, as printed"]
        if row.corrections:
            parts.append(f"corrections {row.corrections}")
        if row.sampled:
            columns = ", ".join(find_task(key).column for key in row.sampled)
            parts.append(f"{columns} measured on a random 20 % of the task")
        return "; ".join(parts)


@dataclass(frozen=True)
class Plot:
    """Everything that is to be drawn. All of it is on one annotation file.

    ``width`` is that of the figure in inches, None for the kind's own.
    """

    runs: tuple[Subject, ...]
    published: tuple[Printed, ...] = ()
    width: float | None = None
    bootstrap: Bootstrap | None = None
    seed: int = 0

    @property
    def notes(self) -> Iterator[str]:
        """What the caption of any figure must say: how the runs were made and scored."""
        for printed in self.published:
            yield f"{printed.label}: {printed.about}."
        if len({run.scores.macro.n for run in self.runs}) > 1:
            counts = ", ".join(f"{run.label} {run.scores.macro.n}" for run in self.runs)
            yield f"The runs were asked for different numbers of targets: {counts}."
        yield from run_notes((run.label, run.scores) for run in self.runs)

    def refuse_incomplete(self) -> None:
        """Raise `UsageError` where a run has targets without an answer, and so no average."""
        for run in self.runs:
            if run.scores.macro.at_50 is None:
                raise UsageError(
                    f"{run.label}: {run.scores.model_errors} targets have no answer yet; go on "
                    "with the run, or count them as misses with --accept-model-errors"
                )


def make_plot(
    folders: Sequence[Path],
    scored: Sequence[ScoredRun],
    *,
    own_rows: bool = False,
    rows: Sequence[str] = (),
    width: float | None = None,
    bootstrap: Bootstrap | None = None,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Plot:
    """Give scored runs their labels and colours, and published rows beside them.

    ``names`` are what the user calls the runs, in their order. ``own_rows`` adds the published row
    of every run that has one, in the run's colour, and ``rows`` those of these names.

    Raises `UsageError` where runs are on different annotation files, or are more than there are
    colours for, and for rows that do not exist on that file.
    """
    if len(scored) + len(rows) > len(MODELS):
        raise UsageError(
            f"{len(scored) + len(rows)} runs and rows are too many to be told apart in one figure; "
            f"choose up to {len(MODELS)}"
        )
    scores = [run.scores for run in scored]
    labels = [visible(label) for (label,) in run_labels(folders, scores, names=names)]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(
                f"two runs are called {label} and could not be told apart; name each run once, or "
                "rename its folder"
            )
    runs = tuple(map(Subject, labels, MODELS, scored))
    _refuse_different_annotations(runs)
    own = _own(runs) if own_rows else []
    free = MODELS[len(runs) :]
    named = [_named(name, runs[0], colour) for name, colour in zip(rows, free, strict=False)]
    return Plot(runs, (*own, *named), width, bootstrap, seed)


def _refuse_different_annotations(runs: Sequence[Subject]) -> None:
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = first.scores.annotations, run.scores.annotations
        if not ours.is_same(theirs):
            raise UsageError(
                f"{first.label} (on {ours.label}) and {run.label} (on {theirs.label}) are on "
                "different annotations; draw one figure for each annotation file"
            )


def _named(name: str, run: Subject, colour: str) -> Printed:
    tables = _tables(run.scores)
    for table in tables:
        for row in table.rows:
            if name in (row.label, row.model):
                return Printed(f"{row.label} (published)", colour, row, table.title)
    known = "; ".join(dict.fromkeys(row.label for table in tables for row in table.rows))
    raise UsageError(
        f"--row {name}: no published row of this name is on {run.scores.annotations.label} "
        f"annotations, as {run.label} is, and others cannot be compared; "
        f"there {f'are: {known}' if known else 'is none'}"
    )


def _own(runs: Sequence[Subject]) -> list[Printed]:
    found = []
    for run in runs:
        for table in _tables(run.scores):
            if (row := row_of(table, run.scores)) is not None:
                found.append(Printed(f"{row.label} (published)", run.colour, row, table.title, run))
                break
    if not found:
        labels = ", ".join(run.label for run in runs)
        raise UsageError(
            f"--published: nothing is published of {labels} in the same form on "
            f"{runs[0].scores.annotations.label} annotations; name other rows with --row"
        )
    return found


def _tables(scores: Scores) -> list[PublishedTable]:
    """The published tables of all tasks on a run's annotations."""
    tasks = {spec.key for spec in load_tasks()}
    return [
        table
        for table in load_tables()
        if table.annotations == scores.annotations.version and tasks == set(table.columns)
    ]
