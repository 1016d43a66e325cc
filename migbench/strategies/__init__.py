"""How a question becomes turns: a strategy yields turns and receives their answers."""

from __future__ import annotations

from collections.abc import Callable

from migbench.questions import Question, Strategy
from migbench.strategies.direct import direct

STRATEGIES: dict[str, Callable[[Question], Strategy]] = {"direct": direct}
