"""Dialects: how each model family is asked, and how it writes a box.

A dialect is data, one YAML file a family under ``families/``, and two pure functions over it:
`ask` makes a request from a turn, `parse` makes boxes, or the reason why there are none, from an
answer. Nothing here looks at a model, the network or the ground truth.
"""

from migbench.dialects.asking import ask
from migbench.dialects.dialect import (
    Dialect,
    PromptSet,
    find_dialect,
    load_dialects,
    undeclared_families,
)
from migbench.dialects.failures import ParseFailure, Reason, explain
from migbench.dialects.parsing import FoundBox, ParsedAnswer, parse

__all__ = [
    "Dialect",
    "FoundBox",
    "ParseFailure",
    "ParsedAnswer",
    "PromptSet",
    "Reason",
    "ask",
    "explain",
    "find_dialect",
    "load_dialects",
    "parse",
    "undeclared_families",
]
