"""What a stored manifest may say: types are checked as it is decoded, and here the rest.

Whoever reads a run reads its manifest first, so what passes here never surprises a command later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import TYPE_CHECKING, Any

import msgspec

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.strategies import STRATEGIES
from migbench.dialects import Dialect, PromptSet
from migbench.runs.settings import Settings

if TYPE_CHECKING:
    from migbench.runs.manifest import Manifest

_DEEPEST = 32
"""Levels of mappings and lists in the adapter's settings."""

_BOX_FIELDS = frozenset({"x1", "y1", "x2", "y2", "w", "h", "raw_x1", "raw_y1", "raw_x2", "raw_y2"})


def problems_of(manifest: Manifest) -> Iterator[str]:
    """What no run says, each in a sentence that begins with the field's name."""
    settings = manifest.settings
    yield from _forms(settings)
    yield from _numbers(manifest)
    yield from (f"settings.model.dialect.{problem}" for problem in _dialect(settings.model.dialect))
    if _depth(settings.model.settings) > _DEEPEST:
        yield f"settings.model.settings is nested deeper than {_DEEPEST} levels"
    if not settings.tasks:
        yield "settings.tasks names no task"
    annotations = settings.annotations
    if annotations.content_sha256 is None and annotations.sha256 is None:
        yield "settings.annotations has no hash"


def _forms(settings: Settings) -> Iterator[str]:
    known = {
        "evaluator": (settings.evaluator, [*EVALUATORS]),
        "strategy": (settings.strategy, [*STRATEGIES]),
        "prompts": (settings.prompts, [prompts.value for prompts in PromptSet]),
    }
    for form, (name, names) in known.items():
        if name not in names:
            yield f"settings.{form} {name!r} is none of {', '.join(names)}"
    if settings.shard and not 1 <= settings.shard.number <= settings.shard.of:
        yield f"settings.shard: there can be no shard {settings.shard}"


def _numbers(manifest: Manifest) -> Iterator[str]:
    settings, model = manifest.settings, manifest.settings.model
    generation, pixels = model.generation, model.pixels
    at_least: dict[str, tuple[float | None, float]] = {
        "questions": (manifest.questions, 0),
        "answered": (manifest.answered, 0),
        "failed": (manifest.failed, 0),
        "wall_seconds": (manifest.wall_seconds, 0),
        "seal.lines": (manifest.seal.lines if manifest.seal else None, 0),
        "settings.limit": (settings.limit, 1),
        "settings.model.generation.max_new_tokens": (generation.max_new_tokens, 1),
        "settings.model.generation.num_beams": (generation.num_beams, 1),
        "settings.model.generation.temperature": (generation.temperature, 0),
        "settings.model.generation.top_p": (generation.top_p, 0),
        "settings.model.pixels.min": (pixels.min, 1),
        "settings.model.pixels.max": (pixels.max, 1),
    }
    for name, (number, least) in at_least.items():
        if number is not None and number < least:
            yield f"{name} is {number}, and at least {least} is possible"
    if not settings.annotations.scale > 0:
        yield f"settings.annotations.scale is {settings.annotations.scale}, not above 0"


def _dialect(dialect: Dialect) -> Iterator[str]:
    if not isinstance(dialect.scale, str) and not (0 < dialect.scale < math.inf):
        yield f"scale is {dialect.scale}, not above 0"
    if not dialect.syntax:
        yield "syntax names no way of writing a box"
    if dialect.image.count("{image}") != 1:
        yield "image does not hold {image} once"
    yield from _template("image", dialect.image, frozenset({"image", "k"}))
    yield from _template("phrase", dialect.phrase, frozenset({"phrase"}))
    box = dialect.box
    for text in (box,) if isinstance(box, str) else (box.released, box.paper) if box else ():
        yield from _template("box", text, _BOX_FIELDS)


def _template(name: str, text: str, fields: frozenset[str]) -> Iterator[str]:
    """Only fields that there are, without attributes, items, conversions and widths."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        yield f"{name} is no template ({error})"
        return
    for _, field, form, conversion in parts:
        if field is not None and (field not in fields or form or conversion):
            yield f"{name} has a field {{{field}}} that is none of {', '.join(sorted(fields))}"


def _depth(value: Any) -> int:
    """How many mappings and lists lie in each other, counted no further than is needed."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, Mapping):
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = [each for each in inner if isinstance(each, Mapping | list)]
        depth += 1
    return depth


class _Version(msgspec.Struct):
    schema: int = 1


def schema_of(content: bytes) -> int:
    """Which schema a manifest follows. Raises `msgspec.DecodeError` for what is no JSON object."""
    return msgspec.json.decode(content, type=_Version).schema
