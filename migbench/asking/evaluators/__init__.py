"""How instances become questions. An evaluator is a function from instances to questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from migbench.asking.evaluators.all_at_once import all_at_once
from migbench.asking.evaluators.polling import polling
from migbench.asking.questions import Question
from migbench.data.annotations import Instance

Evaluator = Callable[[Iterable[Instance]], Iterator[Question]]

EVALUATORS: dict[str, Evaluator] = {"polling": polling, "all-at-once": all_at_once}
