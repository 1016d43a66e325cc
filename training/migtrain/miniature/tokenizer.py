"""The miniature's tokenizer: bytes, and BPE merges that make words of MIG-Mini's prompts tokens.

Read byte by byte, a prompt is three times as long as its images. The merges are learnt from the
wordings of all tasks by plain byte-pair encoding and kept in a file::

    python -m migtrain.miniature.tokenizer       # writes bpe_merges/mini.txt anew

Qwen2-VL's tokenizer never joins digits, so that boxes are read and written digit by digit.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from migbench.boxes import Box
from migbench.errors import DataError, UsageError
from migbench.mini import TASKS, plan
from migbench.mini.conversations import GroundedBox, build_conversation
from migbench.mini.shapes import COLOURS, FAMILIAR
from migbench.tasks import load_tasks
from model_adapters.tiny_qwen2_vl import SPECIAL_TOKENS, make_tokenizer

MERGES = Path(__file__).parent / "bpe_merges"

PLANS = 40
"""So many scenes of each task are planned for their wordings."""
RAREST = 0.0002
"""A pair becomes a token as long as it makes up this share of all tokens of the texts."""

Pair = tuple[str, str]


def read_merges(name: str | None) -> list[Pair]:
    """The packaged merges of this name; none without one. Raises `UsageError`, `DataError`."""
    if name is None:
        return []
    known = sorted(path.stem for path in MERGES.glob("*.txt"))
    if name not in known:
        raise UsageError(f"merges {name!r}: choose from {', '.join(known)}")
    merges = []
    for number, line in enumerate((MERGES / f"{name}.txt").read_text("utf-8").splitlines(), 1):
        left, _, right = line.partition(" ")
        if not left or not right:
            raise DataError(f"{MERGES / name}.txt:{number}: two tokens are expected")
        merges.append((left, right))
    return merges


def learn_merges(texts: Iterable[str]) -> list[Pair]:
    """Byte-pair encoding over the words of some texts, as Qwen's tokenizer divides them."""
    words = Counter(_words(texts))
    parts = {word: tuple(word) for word in words}
    merges: list[Pair] = []
    while True:
        pairs: Counter[Pair] = Counter()
        total = 0
        for word, tokens in parts.items():
            total += words[word] * len(tokens)
            for pair in itertools.pairwise(tokens):
                pairs[pair] += words[word]
        best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] < RAREST * total:
            return merges
        merges.append(best)
        parts = {word: _joined(tokens, best) for word, tokens in parts.items()}


def _words(texts: Iterable[str]) -> Iterator[str]:
    """The texts' words in the tokenizer's alphabet of bytes, without special tokens."""
    divide = make_tokenizer().backend_tokenizer.pre_tokenizer.pre_tokenize_str
    special = re.compile("|".join(map(re.escape, SPECIAL_TOKENS)))
    for text in texts:
        for piece in special.split(text):
            yield from (word for word, _ in divide(piece))


def _joined(tokens: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    joined: list[str] = []
    at = 0
    while at < len(tokens):
        length = 2 if tokens[at : at + 2] == pair else 1
        joined.append("".join(tokens[at : at + length]))
        at += length
    return tuple(joined)


def prompts() -> Iterator[str]:
    """What MIG-Mini's training scenes are asked with, and the tasks' other forms of asking."""
    for task in TASKS:
        for number in range(PLANS):
            for ask in plan(task, number, seed=0, split="train").asks:
                asked = [(ask.wording.replace("{mark}", ""), GroundedBox(Box(0, 0, 0.5, 0.5)))]
                (each_round,) = build_conversation("", task, [], asked).rounds
                yield each_round.question
    for spec in load_tasks():
        if form := spec.all_at_once:
            yield from (form.question, form.ground)
        if chain := spec.chain_of_thought:
            for steps in (chain.paper, chain.released):
                yield from (steps.describe, steps.ground)
    yield from ["system\nYou are a helpful assistant.", "user\n", "assistant\n"] * PLANS
    yield from ["Picture 1: "] * (10 * PLANS)
    yield from [f"a {name}" for name in (*FAMILIAR, *COLOURS)] * PLANS


def main() -> None:
    """Write the miniature's merges anew."""
    lines = [" ".join(pair) for pair in learn_merges(prompts())]
    (MERGES / "mini.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()
