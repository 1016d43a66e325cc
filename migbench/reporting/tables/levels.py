"""The layout of the paper's Table 7: accuracy by the levels of a difficulty split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from migbench.reporting.published import load_table
from migbench.reporting.tables.layouts import Column, Layout, decimals_of
from migbench.reporting.tables.printed import published_notes, published_sections
from migbench.reporting.tables.rows import Section, Table
from migbench.reporting.tables.runs import metric_note, run_row
from migbench.scoring import HIT, Interval, Level, Scores
from migbench.scoring.summary import DifficultyScores


def level_table(
    scored: Sequence[tuple[str, Scores]],
    *,
    published: bool = False,
    intervals: bool = False,
    metric: str = HIT,
) -> Table:
    """Runs scored by one split, each with its label, and the published rows if wanted.

    Published rows are on the authors' own split, so they are never ranked with the runs.
    """
    columns = (
        Column(
            level,
            level.capitalize(),
            _figure(level, metric),
            _interval(level, metric),
            decimals=decimals_of(metric),
        )
        for level in Level
    )
    layout = Layout(tuple(columns), (load_table("table7"),), metric=metric)
    split = _by_level(scored[0][1])
    instances = f"{scored[0][1].annotations.label}, split {split.split}"
    rows = [
        replace(
            run_row(layout, scores, (_marked(label, scores),), intervals=intervals),
            annotations=instances,
        )
        for label, scores in scored
    ]
    sections = [Section(f"On {instances}", tuple(rows))]
    notes = [*_notes(split, scored, metric)]
    if published:
        sections += published_sections(layout)
        notes += published_notes(layout)
        notes.append(f"Published counts: {_counted(load_table('table7').counts)}.")
    return Table(layout, tuple(sections), tuple(notes))


MADE_SPLIT = "‡"
"""Behind the names of runs that the split was made from."""


def _marked(label: str, scores: Scores) -> str:
    return label + MADE_SPLIT * _by_level(scores).made_from_this


def _figure(level: Level, metric: str) -> Callable[[Scores], float | None]:
    return lambda scores: _by_level(scores).levels[level].figure(metric)


def _interval(level: Level, metric: str) -> Callable[[Scores], Interval | None]:
    return lambda scores: _by_level(scores).levels[level].interval(metric)


def _notes(
    split: DifficultyScores, scored: Sequence[tuple[str, Scores]], metric: str
) -> Iterator[str]:
    yield (
        f"{metric_note(metric)} by level; split {split.split} by the rule {split.rule}, not the "
        f"authors' own: {_counted(split.counts)}."
    )
    if split.made_from:
        yield f"The split was made from {', '.join(split.made_from)}."
    if any(_by_level(scores).made_from_this for _, scores in scored):
        yield (
            f"{MADE_SPLIT} is one of these runs: its own hits and misses decided on the levels, so "
            "that its figures by level follow from the split."
        )
    for label, scores in scored:
        counts = {level: figures.n for level, figures in _by_level(scores).levels.items()}
        if counts != split.counts:
            yield f"{label}: on a part of the instances: {_counted(counts)}."


def _by_level(scores: Scores) -> DifficultyScores:
    assert scores.difficulty is not None
    return scores.difficulty


def _counted(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{counts[level]} {level}" for level in Level)
