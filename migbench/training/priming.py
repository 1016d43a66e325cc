"""Priming: a fresh language model whose heads compare what the tower's tokens show.

The paper starts from Qwen2-VL-7B-Instruct, which finds like things in other images already; that
the miniature's vision tower sees is not yet that its language model compares. What can be read off
the tower's tokens by a linear map is laid into the heads that take the looks (see
`migbench.training.pointing.HEADS`), from the bottom up:

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
from migbench.training.encoding import Aim
from migbench.training.labels import MEANINGS
from migbench.training.pointing import HEADS
from migbench.training.seeing import edge_digits

KIND_NUMBERS, COLOUR_NUMBERS = 18, 7
"""So many numbers tell kinds and colours apart."""
PICTURES = 10
"""Numbers of pictures are single digits."""
LIKE = 7.0
"""What two things of one kind, or one colour, add to the score of a look, in nats."""
NEAR = 2.5
"""Square root of what one rotary frequency adds to the score of the tokens just before."""
COPIED, NUMBERED, NAMED, SOUGHT = 0.3, 0.1, 0.15, 0.7
"""Gains: of what is handed on, of picture numbers, of asking by name and by what was found."""
ANY_DIGIT = 4.0
"""How much an image asks for digits as such."""
PLACES = (KIND_NUMBERS, COLOUR_NUMBERS, PICTURES, 1)
"""A head's numbers for kinds, colours, pictures and digits as such, from the steadiest on."""
STEADY = 13
"""From this rotary frequency on, a head's numbers are hardly turned within an image set."""
NEAR_TURNS = (1, 8)
"""The rotary frequencies that tell how far apart two tokens are."""
NOISE_FLOOR = 0.01
"""Of the mean variance within classes, added to each direction's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A linear map of tokens, shape (numbers, width), that tells classes apart.

    ``zero`` (numbers,) is what it reads off the mean of the classes, ``classes`` are the values
    that occur, ``centres`` (classes, numbers) what it reads off each beyond that.
    """

    weight: Tensor
    zero: Tensor
    classes: Tensor
    centres: Tensor

    @property
    def gain(self) -> Tensor:
        """The factor by which both sides of a comparison are to be enlarged, in a head of 64."""
        like = self.centres.square().sum(1).mean()
        gain: Tensor = (LIKE * 64**0.5 / like).sqrt()
        return gain


def read_classes(tokens: Tensor, classes: Tensor, numbers: int) -> Reading:
    """Fisher's linear discriminants of tokens, shape (n, width), by their classes, shape (n,)."""
    found, place = torch.unique(classes, return_inverse=True)
    means = torch.stack([tokens[place == each].mean(0) for each in range(len(found))])
    apart = tokens - means[place]
    within = apart.T @ apart / len(apart)
    floor = NOISE_FLOOR * within.diagonal().mean()
    spread, directions = torch.linalg.eigh(within + floor * torch.eye(len(within)))
    even = directions * spread.rsqrt() @ directions.T
    middle = means.mean(0)
    *_, widest = torch.linalg.svd((means - middle) @ even, full_matrices=False)
    weight = widest[:numbers] @ even
    return Reading(weight, weight @ middle, found, (means - middle) @ weight.T)


class _Layer:
    """One layer's attention, whose heads are told what to ask for, what to show, what to hand on.

    Heads that share keys and values show and hand on the same.
    """

    def __init__(self, attention: Any, sharing: int) -> None:
        self._attention = attention
        self._sharing = sharing
        self._size = attention.head_dim
        self._handed: dict[int, int] = {}

    def asks(self, head: int, places: Sequence[int], weight: Tensor, bias: Tensor | float) -> None:
        """The query's numbers at these places of a head."""
        _lay(self._attention.q_proj, head * self._size, places, weight, bias)

    def shows(self, head: int, places: Sequence[int], weight: Tensor, bias: Tensor | float) -> None:
        """The key's, as this head sees it."""
        start = head // self._sharing * self._size
        _lay(self._attention.k_proj, start, places, weight, bias)

    def hands_on(self, head: int, read: Tensor, write: Tensor) -> None:
        """What the head reads off the tokens that it looks at is written into its own token."""
        group = head // self._sharing
        start = self._handed.get(group, 0)
        self._handed[group] = start + len(read)
        first = group * self._size + start
        self._attention.v_proj.weight[first : first + len(read)] = read
        output = self._attention.o_proj.weight
        for each in range(group * self._sharing, (group + 1) * self._sharing):
            columns = slice(each * self._size + start, each * self._size + start + len(read))
            output[:, columns] = write.T if each == head else 0.0


def _lay(
    projection: Any, start: int, places: Sequence[int], weight: Tensor, bias: Tensor | float
) -> None:
    rows = start + torch.tensor(places)
    projection.weight[rows] = weight
    projection.bias[rows] = bias


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
    labels, of shapes (n,), (n,), (n, 4), are those of `migbench.training.labels.CellLabels`.
    Raises `UsageError` where the model's heads are too small or too few for it.
    """
    config = language_model.config
    sharing = config.num_attention_heads // config.num_key_value_heads
    layers = [_Layer(each.self_attn, sharing) for each in language_model.layers]
    size, width = language_model.layers[0].self_attn.head_dim, config.hidden_size
    if (size, sharing, config.num_key_value_heads) != (64, 2, 2) or len(layers) < 4:
        raise UsageError(
            "'primed' takes a model of at least 4 layers with 4 heads of 64, 2 of keys"
        )
    _renew(language_model, config.initializer_range, seed)

    tokens = tokens * (tokens.square().mean(1, keepdim=True) + config.rms_norm_eps).rsqrt()
    is_thing = meanings >= 0
    things = tokens[is_thing]
    kind = read_classes(things, meanings[is_thing], KIND_NUMBERS)
    colour = read_classes(things, colours[is_thing], COLOUR_NUMBERS)
    box = _read_boxes(things, boxes[is_thing], size)
    content, _ = torch.linalg.qr(torch.cat([kind.weight, colour.weight]).T)
    content = content.T
    names = len(FAMILIAR) + len(COLOURS)
    digit, picture, kinds_in, likes_in, word = torch.split(
        _quietest(tokens, content), [PICTURES] * 4 + [names]
    )
    asked_by_name = _words(language_model, token_id, digit, word, kind, colour)

    steady = [place for turn in range(31, STEADY - 1, -1) for place in (turn, turn + size // 2)]
    by_kind, by_colour, by_picture, by_digit = (
        steady[slice(*ends)] for ends in pairwise(accumulate((0, *PLACES)))
    )
    readings = ((by_kind, kind), (by_colour, colour))
    near, nothing = range(*NEAR_TURNS), torch.zeros(1, width)
    at = {aim: head for aim, (_, head) in HEADS.items()}
    of = {aim: layers[layer] for aim, (layer, _) in HEADS.items()}

    low, beside = of[Aim.PICTURE], at[Aim.PICTURE] + 1
    for head in (at[Aim.PICTURE], beside):
        low.shows(head, near, nothing, NEAR)
        low.asks(head, near, nothing, NEAR)
    low.shows(beside, by_digit, digit.sum(0, keepdim=True), 0.0)
    low.asks(at[Aim.PICTURE], by_digit, nothing, ANY_DIGIT)
    low.hands_on(at[Aim.PICTURE], digit, NUMBERED * picture)
    low.hands_on(beside, word, COPIED * word)

    for aim in (Aim.COLOUR, Aim.NAME, Aim.MATCH, Aim.ANSWER):
        for places, each in readings:
            of[aim].shows(at[aim], places, each.gain * each.weight, -each.gain * each.zero)
    for aim in (Aim.NAME, Aim.MATCH, Aim.ANSWER):
        of[aim].shows(at[aim], by_picture, picture, 0.0)
    likenesses = ((Aim.KIND, readings[:1]), (Aim.COLOUR, readings[1:]), (Aim.MATCH, readings))
    for aim, compared in likenesses:
        for places, each in compared:
            of[aim].asks(at[aim], places, each.gain * each.weight, -each.gain * each.zero)
        of[aim].asks(at[aim], near, nothing, -NEAR)  # not in the same image
        of[aim].shows(at[aim], near, nothing, NEAR)
    for (places, each), named in zip(readings, asked_by_name, strict=True):
        of[Aim.NAME].asks(at[Aim.NAME], places, NAMED * each.gain * named, 0.0)
        of[Aim.ANSWER].asks(at[Aim.ANSWER], places, SOUGHT * each.gain * each.weight, 0.0)
    of[Aim.ANSWER].asks(at[Aim.ANSWER], by_picture, picture, 0.0)

    of[Aim.NAME].hands_on(at[Aim.NAME], content, COPIED * content)
    of[Aim.NUMBER].hands_on(at[Aim.NUMBER], digit, NUMBERED * picture)
    of[Aim.KIND].hands_on(at[Aim.KIND], picture, NUMBERED * kinds_in)
    of[Aim.MATCH].hands_on(at[Aim.MATCH], picture, NUMBERED * likes_in)
    of[Aim.CLUE].hands_on(at[Aim.CLUE], content, COPIED * content)
    of[Aim.ANSWER].hands_on(at[Aim.ANSWER], box, COPIED * box)


def _renew(language_model: Any, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in language_model.named_parameters():
        if parameter.ndim == 2:
            parameter.normal_(0.0, spread, generator=generator)
        else:
            parameter.fill_(1.0 if "norm" in name else 0.0)


def _read_boxes(things: Tensor, boxes: Tensor, numbers: int) -> Tensor:
    """The directions, shape (numbers, width), in which tokens tell their things' boxes best."""
    digits = edge_digits(boxes).unbind(1)
    told = [read_classes(things, each, PICTURES - 1).weight for each in digits]
    ones = torch.cat([things, torch.ones(len(things), 1)], 1)
    edges = torch.linalg.lstsq(ones, torch.cat([boxes, boxes.square()], 1)).solution[:-1].T
    widest: Tensor = torch.linalg.svd(torch.cat([*told, 20.0 * edges]), full_matrices=False)[2]
    return widest[:numbers]


def _quietest(tokens: Tensor, content: Tensor) -> Tensor:
    """Directions beside the content, in which images' tokens vary least: for digits and words."""
    beside = torch.eye(tokens.shape[1]) - content.T @ content
    spread = beside @ (tokens.T @ tokens / len(tokens)) @ beside
    directions: Tensor = torch.linalg.eigh(spread + 1e3 * content.T @ content)[1]
    return directions.T[: 4 * PICTURES + len(FAMILIAR) + len(COLOURS)]


def _words(
    language_model: Any,
    token_id: Callable[[str], int],
    digit: Tensor,
    word: Tensor,
    kind: Reading,
    colour: Reading,
) -> tuple[Tensor, Tensor]:
    """Give digits and names directions of their own; the maps from names to what is read there."""
    embeddings = language_model.embed_tokens.weight
    for number, direction in enumerate(digit):
        embeddings[token_id(str(number))] += direction
    for name, direction in zip((*FAMILIAR, *COLOURS), word, strict=True):
        embeddings[token_id(f"Ġ{name}")] += direction
    places = (tuple(MEANINGS.index(name) for name in FAMILIAR), tuple(range(len(COLOURS))))
    maps = []
    for reading, values, own in zip(
        (kind, colour), places, (word[: len(FAMILIAR)], word[len(FAMILIAR) :]), strict=True
    ):
        known = torch.isin(torch.tensor(values), reading.classes)
        rows = torch.searchsorted(reading.classes, torch.tensor(values)[known])
        maps.append(reading.centres[rows].T @ own[known])
    return maps[0], maps[1]
