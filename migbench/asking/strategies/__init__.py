"""How a question becomes turns: a strategy yields turns and receives their answers."""

from __future__ import annotations

from collections.abc import Callable

from migbench.asking.questions import Question, Strategy
from migbench.asking.strategies.chain_of_thought import multi_image, single_image
from migbench.asking.strategies.direct import direct
from migbench.asking.strategies.script import Script

__all__ = ["STRATEGIES", "Script", "find_strategy"]

STRATEGIES: dict[str, Callable[[Question, Script], Strategy]] = {
    "direct": direct,
    "cot": single_image,
    "mcot": multi_image,
}
"""``cot``: single-image chain of thought (the paper's +CoT); ``mcot``: multi-image (+mCoT)."""


def find_strategy(
    name: str, prompts: str = "released", dialect: str = ""
) -> Callable[[Question], Strategy]:
    """The strategy of this name, with the wordings of a prompt set and a family."""
    script = Script(prompts, name, dialect)
    return lambda question: STRATEGIES[name](question, script)
