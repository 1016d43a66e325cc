"""Structured initialisation: a fresh language model whose attention heads compare tokens.

The paper starts from Qwen2-VL-7B-Instruct, whose language model compares objects of several images
already. Here linear probes of the vision encoder's tokens are written into the query, key and
value-output projections of the heads that attention supervision trains
(`migtrain.miniature.attention_supervision.HEADS`), from the bottom up:

- An image takes up the number that the chat gives it, the end of a name the words before it.
- Likenesses and names query by class and colour; their values are the numbers of the images in
  which these were found, or what was found.
- The value of the reference is what it shows, that of the number asked for which it is; the target
  is queried by both, and its value is its box.

All of it is a beginning: training changes every weight. Probes lie in those dimensions of a head
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
from migtrain.miniature.attention_supervision import HEADS
from migtrain.miniature.cell_labels import CLASS_NAMES
from migtrain.miniature.encoding import TargetType
from migtrain.miniature.linear_probes import (
    LinearProbe,
    fit_box_directions,
    fit_class_probe,
    quietest,
    span,
)

SIZE, SHARING = 64, 2
"""Dimensions of a head, and how many heads share their keys."""
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
"""What two objects of one kind, or one colour, add to the score of a target, in nats."""
COPIED, NUMBERED, NAMED, SOUGHT = 0.3, 0.1, 0.15, 0.7
"""Gains: of values, of picture numbers, of queries by name and by what was found."""
ANY_DIGIT = 4.0
"""How strongly an image queries for digits as such."""


class _Layer:
    """One layer's attention, whose projections are set head by head.

    Heads that share keys and values have the same of both.
    """

    def __init__(self, attention: Any) -> None:
        self._attention = attention
        self._filled: dict[int, int] = {}

    def set_query(
        self, head: int, places: Sequence[int], weight: Tensor | float, bias: Tensor | float
    ) -> None:
        """The query projection's rows at these places of a head."""
        _lay(self._attention.q_proj, head * SIZE, places, weight, bias)

    def set_key(
        self, head: int, places: Sequence[int], weight: Tensor | float, bias: Tensor | float
    ) -> None:
        """The key projection's rows, as this head sees them."""
        start = head // SHARING * SIZE
        _lay(self._attention.k_proj, start, places, weight, bias)

    def set_value_output(self, head: int, read: Tensor, write: Tensor) -> None:
        """Value rows that ``read`` attended tokens, output columns that ``write`` the query's."""
        group = head // SHARING
        start = self._filled.get(group, 0)
        self._filled[group] = start + len(read)
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

    kind: LinearProbe
    colour: LinearProbe
    box: Tensor
    content: Tensor
    digit: Tensor
    picture: Tensor
    kinds_in: Tensor
    likes_in: Tensor
    word: Tensor

    @property
    def probes(self) -> tuple[tuple[Sequence[int], LinearProbe], ...]:
        """Kind and colour, and where a head has them."""
        return (BY_KIND, self.kind), (BY_COLOUR, self.colour)


@torch.no_grad()
def initialise(
    language_model: Any,
    tokens: Tensor,
    classes: Tensor,
    colours: Tensor,
    boxes: Tensor,
    token_id: Callable[[str], int],
    seed: int,
) -> None:
    """Initialise a language model anew.

    ``tokens`` (n, width) are a tower's, of the objects of many scenes and of the background; the
    labels, of shapes (n,), (n,), (n, 4), are those of `migtrain.miniature.cell_labels.CellLabels`.
    Raises `UsageError` where the model's heads are too small or too few for it.
    """
    config = language_model.config
    heads = (config.num_attention_heads, config.num_key_value_heads)
    layers = [_Layer(each.self_attn) for each in language_model.layers]
    if heads != (4, 2) or config.hidden_size != 4 * SIZE or len(layers) < 4:
        raise UsageError(
            "'structured_initialisation' takes at least 4 layers with 4 heads of 64, 2 of keys"
        )
    _renew(language_model, config.initializer_range, seed)
    tokens = tokens * (tokens.square().mean(1, keepdim=True) + config.rms_norm_eps).rsqrt()
    known = _learn(tokens, classes, colours, boxes)
    _name(language_model.embed_tokens.weight, token_id, known)
    placed = {target_type: (layers[layer], head) for target_type, (layer, head) in HEADS.items()}
    _initialise_numbers_and_names(placed, known)
    _initialise_likenesses(placed, known)
    _initialise_answers(placed, known)


def _renew(language_model: Any, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in language_model.named_parameters():
        if parameter.ndim == 2:
            parameter.normal_(0.0, spread, generator=generator)
        else:
            parameter.fill_(1.0 if "norm" in name else 0.0)


def _learn(tokens: Tensor, classes: Tensor, colours: Tensor, boxes: Tensor) -> _Known:
    is_object = classes >= 0
    objects, score = tokens[is_object], LIKE * SIZE**0.5
    kind = fit_class_probe(objects, classes[is_object], KIND_NUMBERS).scaled(score)
    colour = fit_class_probe(objects, colours[is_object], COLOUR_NUMBERS).scaled(score)
    content = span(kind, colour)
    counts = [PICTURES] * 4 + [len(FAMILIAR) + len(COLOURS)]
    own = torch.split(quietest(tokens, content, sum(counts)), counts)
    return _Known(kind, colour, fit_box_directions(objects, boxes[is_object], SIZE), content, *own)


def _name(embeddings: Tensor, token_id: Callable[[str], int], known: _Known) -> None:
    """Give digits and names directions of their own."""
    for number, direction in enumerate(known.digit):
        embeddings[token_id(str(number))] += direction
    for name, direction in zip((*FAMILIAR, *COLOURS), known.word, strict=True):
        embeddings[token_id(f"Ġ{name}")] += direction


Heads = dict[TargetType, tuple[_Layer, int]]
"""The layer and the head of each type of target."""


def _initialise_numbers_and_names(heads: Heads, known: _Known) -> None:
    """An image takes up the digit just before it, and each token the names just before it."""
    layer, head = heads[TargetType.PICTURE]
    beside = head + 1
    for each in (head, beside):
        layer.set_key(each, NEAR_TURNS, 0.0, NEAR)
        layer.set_query(each, NEAR_TURNS, 0.0, NEAR)
    layer.set_key(head, BY_DIGIT, known.digit.sum(0, keepdim=True), 0.0)
    layer.set_query(head, BY_DIGIT, 0.0, ANY_DIGIT)
    layer.set_value_output(head, known.digit, NUMBERED * known.picture)
    layer.set_value_output(beside, known.word, COPIED * known.word)


def _initialise_likenesses(heads: Heads, known: _Known) -> None:
    """Objects query for their likes in other images, names for what they name."""
    compared = {
        TargetType.KIND: known.probes[:1],
        TargetType.COLOUR: known.probes[1:],
        TargetType.MATCH: known.probes,
    }
    for target_type, probes in compared.items():
        layer, head = heads[target_type]
        for places, each in probes:
            layer.set_key(head, places, each.weight, -each.zero)
            layer.set_query(head, places, each.weight, -each.zero)
        layer.set_key(head, NEAR_TURNS, 0.0, NEAR)
        layer.set_query(head, NEAR_TURNS, 0.0, -NEAR)  # not in the same image
    layer, head = heads[TargetType.NAME]
    kinds, colours = known.word[: len(FAMILIAR)], known.word[len(FAMILIAR) :]
    values = [CLASS_NAMES.index(name) for name in FAMILIAR], range(len(COLOURS))
    for (places, each), value, own in zip(known.probes, values, (kinds, colours), strict=True):
        layer.set_key(head, places, each.weight, -each.zero)
        layer.set_query(head, places, NAMED * _meant(each, torch.tensor(value), own), 0.0)
    layer.set_value_output(head, known.content, COPIED * known.content)
    for target_type, own in ((TargetType.KIND, known.kinds_in), (TargetType.MATCH, known.likes_in)):
        layer, head = heads[target_type]
        layer.set_value_output(head, known.picture, NUMBERED * own)


def _meant(probe: LinearProbe, values: Tensor, own: Tensor) -> Tensor:
    """The map, (numbers, width), from words' own directions to the probe where they are true."""
    known = torch.isin(values, probe.classes)
    rows = torch.searchsorted(probe.classes, values[known])
    return probe.centres[rows].T @ own[known]


def _initialise_answers(heads: Heads, known: _Known) -> None:
    """What is asked for, and where, tells the target; the target tells its box."""
    layer, head = heads[TargetType.NUMBER]
    layer.set_value_output(head, known.digit, NUMBERED * known.picture)
    layer, head = heads[TargetType.REFERENCE]
    layer.set_value_output(head, known.content, COPIED * known.content)
    layer, head = heads[TargetType.ANSWER]
    for places, each in known.probes:
        layer.set_key(head, places, each.weight, -each.zero)
        layer.set_query(head, places, SOUGHT * each.weight, 0.0)
    layer.set_key(head, BY_PICTURE, known.picture, 0.0)
    layer.set_query(head, BY_PICTURE, known.picture, 0.0)
    layer.set_value_output(head, known.box, COPIED * known.box)
