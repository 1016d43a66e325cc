"""The record of a dialect, and the families that migbench knows."""

from __future__ import annotations

from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import msgspec

from migbench.boxes import Convention, Frame, Order, Original, SmartResized
from migbench.dialects.syntax import Syntax
from migbench.errors import UsageError
from migbench.yaml_files import as_record, read_yaml

FAMILIES = Path(__file__).parent / "families"


class PromptSet(StrEnum):
    """Whose wording is used where the paper and its script differ."""

    RELEASED = "released"
    """The published script's, misprints included; Table 1 was made with it."""
    PAPER = "paper"
    """The paper's appendix."""


class Wording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template in both prompt sets."""

    released: str
    paper: str


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How one model family is asked and how it answers.

    Templates use ``str.format`` fields. ``phrase`` has ``{phrase}``. ``box`` has ``{x1} {y1} {x2}
    {y2}`` (edges as the family writes them), ``{w} {h}``, and ``{raw_x1}``... (the question's own
    digits); None removes a reference box from the question together with its parentheses.
    """

    name: str
    title: str
    source: str
    """Where the convention is documented."""
    status: Literal["verified", "second-hand", "by-protocol", "declared"] = "declared"
    order: Order = Order.XYXY
    scale: float | Literal["pixels"] = 1000
    frame: Frame = Original()
    syntax: tuple[Syntax, ...]
    """How four numbers are recognised as a box; all of these are accepted."""
    image: str = "{image}"
    """What stands for each image: ``{image}`` and its number ``{k}``, from 1."""
    image_token: str = ""
    """What the family's own prompt string has where an image stands."""
    structural_tokens: tuple[str, ...] = ()
    """What the tokenizer takes for an image, a role or the end; no question may hold it."""
    phrase: str = "{phrase}"
    box: str | Wording | None = None
    format: str | Wording
    """The sentence after the question that asks for the answer's format."""
    format_of_step_2: str | Wording | None = None
    """The same after a chain of thought's second step; ``format`` where none is published."""
    dropped_from_step_2: tuple[str, ...] = ()
    """Strategies under which the published script drops ``-`` and ``x`` from step 2's answers."""
    model_types: tuple[str, ...] = ()
    """``model_type`` (config.json) of checkpoints that speak this dialect unless told otherwise."""

    @cached_property
    def convention(self) -> Convention:
        """Order, scale and frame, as geometry."""
        scale = None if self.scale == "pixels" else float(self.scale)
        return Convention(self.order, scale, self.frame)

    def with_pixels(self, min_pixels: int | None, max_pixels: int | None) -> Dialect:
        """The same dialect under other bounds of the image area, where its frame has any.

        Raises `UsageError` for bounds that leave no image.
        """
        if not isinstance(self.frame, SmartResized):
            return self
        try:
            frame = SmartResized(
                factor=self.frame.factor,
                min_pixels=min_pixels or self.frame.min_pixels,
                max_pixels=max_pixels or self.frame.max_pixels,
            )
        except ValueError as error:
            raise UsageError(f"pixel bounds of dialect {self.name}: {error}") from error
        return msgspec.structs.replace(self, frame=frame)


def wording(template: str | Wording, prompts: PromptSet) -> str:
    """The template in one prompt set; a plain text serves both."""
    return template if isinstance(template, str) else getattr(template, prompts.value)


@cache
def load_dialects() -> dict[str, Dialect]:
    """All known dialects by name. Raises `DataError` for a malformed file."""
    records = (_read_family(path) for path in sorted(FAMILIES.glob("*.yaml")))
    return {dialect.name: dialect for dialect in records}


def _read_family(path: Path) -> Dialect:
    return as_record({"name": path.stem, **read_yaml(path)}, Dialect, path)


def find_dialect(name: str) -> Dialect:
    """The dialect of this name. Raises `UsageError` naming the choices."""
    dialects = load_dialects()
    if name not in dialects:
        raise UsageError(
            f"no dialect is called {name!r}; choose from {', '.join(dialects)}, custom"
        )
    return dialects[name]
