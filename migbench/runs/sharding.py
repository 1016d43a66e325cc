"""Shards: parts of a run's questions, for jobs that share its work.

Questions on one image set stay together, so that a model that caches prefixes still sees every
image set once. The split depends on the questions and on nothing else: every job comes to the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from migbench.asking.questions import Question, image_sets
from migbench.errors import UsageError


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One part, by its number from 1, of as many as ``of`` says."""

    number: int
    of: int

    def __str__(self) -> str:
        """As ``--shard`` takes it."""
        return f"{self.number}/{self.of}"


def read_shard(text: str) -> Shard:
    """The shard that ``i/n`` means. Raises `UsageError` for anything else.

    >>> read_shard("2/3")
    Shard(number=2, of=3)
    """
    numbers = re.fullmatch(r"([0-9]+)/([0-9]+)", text.strip())
    number, of = map(int, numbers.groups()) if numbers else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--shard {text}: give it as i/n, from 1/n to n/n")
    return Shard(number=number, of=of)


def share_of(shard: Shard, questions: Iterable[Question]) -> list[Question]:
    """The shard's questions, in their order.

    The largest image set goes first, each to the shard with the fewest questions; so no two shards
    differ by more questions than the largest image set has. Raises `UsageError` where there are
    fewer image sets than shards.
    """
    every = list(questions)
    sets = image_sets(every)
    if len(sets) < shard.of:
        raise UsageError(f"--shard {shard}: there are only {len(sets)} image sets to share out")
    sizes = [0] * shard.of
    mine: set[tuple[str, ...]] = set()
    for group in sorted(sets, key=len, reverse=True):
        smallest = sizes.index(min(sizes))
        sizes[smallest] += len(group)
        if smallest == shard.number - 1:
            mine.add(group[0].images)
    return [question for question in every if question.images in mine]
