"""Scoring: from stored answers to outcomes and accuracies. Pure; no model, no network, no torch."""

from migbench.scoring.judging import Judge, Judgement, judge
from migbench.scoring.outcomes import Flag, Outcome
from migbench.scoring.protocols import PROTOCOLS, Protocol
from migbench.scoring.summary import Scores, TaskScores, macro_average, summarise_tasks

__all__ = [
    "PROTOCOLS",
    "Flag",
    "Judge",
    "Judgement",
    "Outcome",
    "Protocol",
    "Scores",
    "TaskScores",
    "judge",
    "macro_average",
    "summarise_tasks",
]
