"""Scoring: from stored answers to outcomes and accuracies. Pure; no model, no network, no torch."""

from migbench.scoring.bootstrap import Bootstrap
from migbench.scoring.comparison import Comparison, Paired, compare, compare_groups
from migbench.scoring.coverage import Coverage, coverage_of
from migbench.scoring.difficulty import DifficultySplit, Level, Rule, read_split
from migbench.scoring.intervals import with_intervals
from migbench.scoring.joining import RunToCompare
from migbench.scoring.metrics import HIT, METRICS, SHARES
from migbench.scoring.outcomes import Flag, Outcome
from migbench.scoring.protocols import DEFAULT_PROTOCOL, PROTOCOLS
from migbench.scoring.scorer import HIT_AT, Protocol, SampleScore, Scorer
from migbench.scoring.summary import (
    Scores,
    TaskScores,
    macro_average,
    summarise_levels,
    summarise_tasks,
)
from migbench.scoring.uncertainty import Interval

__all__ = [
    "DEFAULT_PROTOCOL",
    "HIT",
    "HIT_AT",
    "METRICS",
    "PROTOCOLS",
    "SHARES",
    "Bootstrap",
    "Comparison",
    "Coverage",
    "DifficultySplit",
    "Flag",
    "Interval",
    "Level",
    "Outcome",
    "Paired",
    "Protocol",
    "Rule",
    "RunToCompare",
    "SampleScore",
    "Scorer",
    "Scores",
    "TaskScores",
    "compare",
    "compare_groups",
    "coverage_of",
    "macro_average",
    "read_split",
    "summarise_levels",
    "summarise_tasks",
    "with_intervals",
]
