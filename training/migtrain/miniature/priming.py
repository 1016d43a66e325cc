"""Priming: a fresh language model whose heads compare what the tower's tokens show.

The paper starts from Qwen2-VL-7B-Instruct, which finds like things in other images already; that
the miniature's vision tower sees is not yet that its language model compares. What can be read off
the tower's tokens by a linear map is laid into the heads that take the looks (see
`migtrain.miniature.pointing.HEADS`), from the bottom up:

- An image takes up the number that the chat gives it, the end of a name the words before it.
- Likenesses and names ask for the readings of kind and colour, and hand on in which pictures they
  were found, or what was found.
- The clue hands on what it is, the number asked for which it is; the target is asked for by both
  and hands on its box.

All of it is a beginning: training changes every weight. Readings lie in those numbers of a head
that rotary positions hardly turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from migbench.errors import UsageError
from migbench.mini.shapes import COLOURS, FAMILIAR
from migtrain.miniature.discriminants import Reading, quietest, read_boxes, read_classes, span
from migtrain.miniature.encoding import Aim
from migtrain.miniature.labels import MEANINGS
from migtrain.miniature.pointing import HEADS

SIZE, SHARING = 64, 2
"""The numbers of a head, and how many heads share their keys."""
KIND_NUMBERS, COLOUR_NUMBERS, PICTURES = 18, 7, 10
"""So many tell kinds, colours and the numbers of pictures apart, which are single digits."""
STEADY = 13
"""From this rotary frequency on, they are hardly turned within an image set."""
_HALF = SIZE // 2
_STEADY = [place for turn in range(_HALF - 1, STEADY - 1, -1) for place in (turn, turn + _HALF)]
BY_KIND, BY_COLOUR, BY_PICTURE, BY_DIGIT = (
    _STEADY[start:stop]
    for start, stop in pairwise(accumulate((0, KIND_NUMBERS, COLOUR_NUMBERS, PICTURES, 1)))
)
"""A head's places for kinds, colours, pictures and digits as such, kinds on the steadiest."""
NEAR_TURNS = range(1, 8)
"""The rotary frequencies that tell how far apart two tokens are."""
NEAR = 2.5
"""Square root of what each of them adds to the score of the tokens just before."""
LIKE = 7.0
"""What two things of one kind, or one colour, add to the score of a look, in nats."""
COPIED, NUMBERED, NAMED, SOUGHT = 0.3, 0.1, 0.15, 0.7
"""Gains: of what is handed on, of picture numbers, of asking by name and by what was found."""
ANY_DIGIT = 4.0
"""How much an image asks for digits as such."""


class _Layer:
    """One layer's attention, whose heads are told what to ask for, what to show, what to hand on.

    Heads that share keys and values show and hand on the same.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._handed: dict[int, int] = {}

    def asks(
        self, head: int, places: Sequence[int], weight: Tensor | float, bias: Tensor | float
    ) -> None:
        """The query's numbers at these places of a head."""
        _lay(self._attention.q_proj, head * SIZE, places, weight, bias)

    def shows(
        self, head: int, places: Sequence[int], weight: Tensor | float, bias: Tensor | float
    ) -> None:
        """The key's, as this head sees it."""
        start = head // SHARING * SIZE
        _lay(self._attention.k_proj, start, places, weight, bias)

    def hands_on(self, head: int, read: Tensor, write: Tensor) -> None:
        """What the head reads off the tokens that it looks at is written into its own token."""
        group = head // SHARING
        start = self._handed.get(group, 0)
        self._handed[group] = start + len(read)
        first = group * SIZE + start
        self._attention.v_proj.weight[first : first + len(read)] = read
        output = self._attention.o_proj.weight
        for each in range(group * SHARING, (group + 1) * SHARING):
            columns = slice(each * SIZE + start, each * SIZE + start + len(read))
            output[:, columns] = write.T if each == head else 0.0


def _lay(
    projection: Any,
    start: int,
    places: Sequence[int],
    weight: Tensor | float,
    bias: Tensor | float,
) -> None:
    rows = start + torch.tensor(places)
    projection.weight[rows] = weight
    projection.bias[rows] = bias


@dataclass(frozen=True, slots=True)
class _Known:
    """What the tower's tokens show, and directions of the language model's own; (n, width) each."""

    kind: Reading
    colour: Reading
    box: Tensor
    content: Tensor
    digit: Tensor
    picture: Tensor
    kinds_in: Tensor
    likes_in: Tensor
    word: Tensor

    @property
    def readings(self) -> tuple[tuple[Sequence[int], Reading], ...]:
        """Kind and colour, and where a head has them."""
        return (BY_KIND, self.kind), (BY_COLOUR, self.colour)


@torch.no_grad()
def prime(
    language_model: Any,
    tokens: Tensor,
    meanings: Tensor,
    colours: Tensor,
    boxes: Tensor,
    token_id: Callable[[str], int],
    seed: int,
) -> None:
    """Make a language model anew, its looks begun.

    ``tokens`` (n, width) are a tower's, of the things of many scenes and of the background; the
    labels, of shapes (n,), (n,), (n, 4), are those of `migtrain.miniature.labels.CellLabels`.
    Raises `UsageError` where the model's heads are too small or too few for it.
    """
    config = language_model.config
    heads = (config.num_attention_heads, config.num_key_value_heads)
    layers = [_Layer(each.self_attn) for each in language_model.layers]
    if heads != (4, 2) or config.hidden_size != 4 * SIZE or len(layers) < 4:
        raise UsageError(
            "'primed' takes a model of at least 4 layers with 4 heads of 64, 2 of keys"
        )
    _renew(language_model, config.initializer_range, seed)
    tokens = tokens * (tokens.square().mean(1, keepdim=True) + config.rms_norm_eps).rsqrt()
    known = _learn(tokens, meanings, colours, boxes)
    _name(language_model.embed_tokens.weight, token_id, known)
    looks = {aim: (layers[layer], head) for aim, (layer, head) in HEADS.items()}
    _prime_numbers_and_names(looks, known)
    _prime_likenesses(looks, known)
    _prime_answers(looks, known)


def _renew(language_model: Any, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in language_model.named_parameters():
        if parameter.ndim == 2:
            parameter.normal_(0.0, spread, generator=generator)
        else:
            parameter.fill_(1.0 if "norm" in name else 0.0)


def _learn(tokens: Tensor, meanings: Tensor, colours: Tensor, boxes: Tensor) -> _Known:
    is_thing = meanings >= 0
    things, score = tokens[is_thing], LIKE * SIZE**0.5
    kind = read_classes(things, meanings[is_thing], KIND_NUMBERS).scaled(score)
    colour = read_classes(things, colours[is_thing], COLOUR_NUMBERS).scaled(score)
    content = span(kind, colour)
    counts = [PICTURES] * 4 + [len(FAMILIAR) + len(COLOURS)]
    own = torch.split(quietest(tokens, content, sum(counts)), counts)
    return _Known(kind, colour, read_boxes(things, boxes[is_thing], SIZE), content, *own)


def _name(embeddings: Tensor, token_id: Callable[[str], int], known: _Known) -> None:
    """Give digits and names directions of their own."""
    for number, direction in enumerate(known.digit):
        embeddings[token_id(str(number))] += direction
    for name, direction in zip((*FAMILIAR, *COLOURS), known.word, strict=True):
        embeddings[token_id(f"Ġ{name}")] += direction


Looks = dict[Aim, tuple[_Layer, int]]
"""The layer and the head that take each look."""


def _prime_numbers_and_names(looks: Looks, known: _Known) -> None:
    """An image takes up the digit just before it, and each token the names just before it."""
    layer, head = looks[Aim.PICTURE]
    beside = head + 1
    for each in (head, beside):
        layer.shows(each, NEAR_TURNS, 0.0, NEAR)
        layer.asks(each, NEAR_TURNS, 0.0, NEAR)
    layer.shows(head, BY_DIGIT, known.digit.sum(0, keepdim=True), 0.0)
    layer.asks(head, BY_DIGIT, 0.0, ANY_DIGIT)
    layer.hands_on(head, known.digit, NUMBERED * known.picture)
    layer.hands_on(beside, known.word, COPIED * known.word)


def _prime_likenesses(looks: Looks, known: _Known) -> None:
    """Things ask for their likes in other images, names for what they name."""
    compared = {
        Aim.KIND: known.readings[:1],
        Aim.COLOUR: known.readings[1:],
        Aim.MATCH: known.readings,
    }
    for aim, readings in compared.items():
        layer, head = looks[aim]
        for places, each in readings:
            layer.shows(head, places, each.weight, -each.zero)
            layer.asks(head, places, each.weight, -each.zero)
        layer.shows(head, NEAR_TURNS, 0.0, NEAR)
        layer.asks(head, NEAR_TURNS, 0.0, -NEAR)  # not in the same image
    layer, head = looks[Aim.NAME]
    kinds, colours = known.word[: len(FAMILIAR)], known.word[len(FAMILIAR) :]
    values = [MEANINGS.index(name) for name in FAMILIAR], range(len(COLOURS))
    for (places, each), value, own in zip(known.readings, values, (kinds, colours), strict=True):
        layer.shows(head, places, each.weight, -each.zero)
        layer.asks(head, places, NAMED * _meant(each, torch.tensor(value), own), 0.0)
    layer.hands_on(head, known.content, COPIED * known.content)
    for aim, own in ((Aim.KIND, known.kinds_in), (Aim.MATCH, known.likes_in)):
        layer, head = looks[aim]
        layer.hands_on(head, known.picture, NUMBERED * own)


def _meant(reading: Reading, values: Tensor, own: Tensor) -> Tensor:
    """The map, (numbers, width), from words' own directions to what is read where they are true."""
    known = torch.isin(values, reading.classes)
    rows = torch.searchsorted(reading.classes, values[known])
    return reading.centres[rows].T @ own[known]


def _prime_answers(looks: Looks, known: _Known) -> None:
    """What is asked for, and where, tells the target; the target tells its box."""
    layer, head = looks[Aim.NUMBER]
    layer.hands_on(head, known.digit, NUMBERED * known.picture)
    layer, head = looks[Aim.CLUE]
    layer.hands_on(head, known.content, COPIED * known.content)
    layer, head = looks[Aim.ANSWER]
    for places, each in known.readings:
        layer.shows(head, places, each.weight, -each.zero)
        layer.asks(head, places, SOUGHT * each.weight, 0.0)
    layer.shows(head, BY_PICTURE, known.picture, 0.0)
    layer.asks(head, BY_PICTURE, known.picture, 0.0)
    layer.hands_on(head, known.box, COPIED * known.box)
