"""How instances become questions. An evaluator is a function from instances to questions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

from migbench.asking.evaluators.all_at_once import all_at_once, shared_question
from migbench.asking.evaluators.polling import polling
from migbench.asking.questions import Question
from migbench.data.annotations import Instance

Evaluator = Callable[[Iterable[Instance]], Iterator[Question]]

EVALUATORS: dict[str, Evaluator] = {"polling": polling, "all-at-once": all_at_once}

Sharing = Callable[[Instance], Hashable]
"""What instances have in common that one question is about; None for one of its own."""

SHARED: dict[str, Sharing] = {"all-at-once": shared_question}
"""By evaluator, where questions are about several instances."""
