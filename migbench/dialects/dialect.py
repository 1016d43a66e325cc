"""The record of a dialect, and the families that migbench knows."""

from __future__ import annotations

from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from migbench.boxes import Convention, Frame, Order, Original, SmartResized
from migbench.dialects.json_boxes import KNOWN_KEYS
from migbench.dialects.syntax import KNOWN_CORNERS, CornerNames, check_brackets, check_syntax
from migbench.dialects.thoughts import KNOWN_MARKS, ThinkingMarks
from migbench.errors import UsageError
from migbench.util.suggestions import did_you_mean
from migbench.util.yaml_files import as_record, read_yaml

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


class OtherForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second convention of a family, told from the first by its syntax; see `Dialect`."""

    syntax: tuple[str, ...]
    order: Order = Order.XYXY
    scale: float | Literal["pixels"] = 1000
    offset: float = 0
    frame: Frame = Original()

    def __post_init__(self) -> None:
        """Raise ValueError for a syntax that is none."""
        for each in self.syntax:
            check_syntax(each)


class Form(NamedTuple):
    """Ways of writing a box, and what the numbers mean."""

    syntax: tuple[str, ...]
    convention: Convention


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
    unsupported: str = ""
    """Why the family cannot be evaluated at all, where it cannot: its answers are no boxes."""
    order: Order = Order.XYXY
    scale: float | Literal["pixels"] = 1000
    """The number written for the far edge of the frame."""
    offset: float = 0
    """What is added to every edge as written: 0.5 where numbers stand for the middle of bins."""
    frame: Frame = Original()
    syntax: tuple[str, ...]
    """How four numbers are recognised as a box; all of these are accepted. Each is the name of a
    `Syntax`, or a template with ``{}`` for every number: ``{}_{}_{}_{}``."""
    also: tuple[OtherForm, ...] = ()
    """Further conventions that the family is known to fall into, each in a syntax of its own."""
    keys: tuple[str, ...] = KNOWN_KEYS
    """Keys of JSON objects under which a box stands."""
    corners: tuple[CornerNames, ...] = ()
    """Names of the left, top, right and bottom edge, beside those that are known."""
    tags: tuple[str, ...] = ("box",)
    """Names of the tags around a box: ``box`` for ``<box>``, ``|det|`` for ``<|det|>``."""
    brackets: tuple[str, ...] = ("[]", "()")
    """Brackets around a box or a corner, each an opening and a closing sign."""
    images_from: Literal[0, 1] = 1
    """The number of the first image in answers."""
    image_fields: tuple[str, ...] = ()
    """Fields of JSON and attributes of tags that say which image a box lies in, beside those that
    are called ``image``, ``image_id`` and the like."""
    thinking_marks: tuple[ThinkingMarks, ...] = KNOWN_MARKS
    """What stands around a thought."""
    thought_opened_by_template: bool = False
    """Whether the prompt may end with the mark that opens a thought, so that answers hold its end
    alone."""
    image: str = "{image}"
    """What stands for each image: ``{image}`` and its number ``{k}``, from 1."""
    image_token: str = ""
    """What the family's own prompt string has where an image stands."""
    structural_tokens: tuple[str, ...] = ()
    """What the tokenizer takes for an image, a role or the end; no question may hold it."""
    phrase: str = "{phrase}"
    prefix: str = ""
    """What stands between the images and the question."""
    referring: str = ""
    """The family's own prompt for one image and a ``{phrase}``, where it publishes one."""
    box: str | Wording | None = None
    format: str | Wording
    """The sentence after the question that asks for the answer's format."""
    format_of_step_2: str | Wording | None = None
    """The same after a chain of thought's second step; ``format`` where none is published."""
    dropped_from_step_2: tuple[str, ...] = ()
    """Strategies under which the published script drops ``-`` and ``x`` from step 2's answers."""
    model_types: tuple[str, ...] = ()
    """``model_type`` (config.json) of checkpoints that speak this dialect unless told otherwise."""

    def __post_init__(self) -> None:
        """Raise ValueError for a syntax, a scale or brackets that are none."""
        for each in self.syntax:
            check_syntax(each)
        check_brackets(self.brackets)
        if self.scale != "pixels" and not 0 < self.scale < float("inf"):
            raise ValueError(f"scale {self.scale}: a positive number, or pixels")
        if not all(self.tags):
            raise ValueError("tags: the name of a tag is not empty")

    @cached_property
    def convention(self) -> Convention:
        """Order, scale and frame, as geometry."""
        return _convention(self)

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The declared convention with its syntaxes, and all further ones."""
        others = (Form(each.syntax, _convention(each)) for each in self.also)
        return (Form(self.syntax, self.convention), *others)

    @cached_property
    def needs_size(self) -> bool:
        """Whether answers can only be read with the images' sizes in pixels."""
        return any(form.convention.needs_size for form in self.forms)

    @cached_property
    def all_corners(self) -> tuple[CornerNames, ...]:
        """The declared names of corners, and those that are known."""
        return (*self.corners, *KNOWN_CORNERS)

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


class UndeclaredFamily(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model family about whose boxes nothing was found."""

    title: str
    model_types: tuple[str, ...] = ()
    searched: str
    """Where it was looked for."""


@cache
def undeclared_families() -> tuple[UndeclaredFamily, ...]:
    """The families that have no dialect, since nothing is published. Raises `DataError`."""
    path = FAMILIES.parent / "undeclared.yaml"
    return as_record(read_yaml(path)["families"], tuple[UndeclaredFamily, ...], path)


def find_dialect(name: str) -> Dialect:
    """The dialect of this name, or that a file describes: ``path/to/dialect.yaml``.

    Raises `UsageError` naming the choices, or `DataError` for a malformed file.
    """
    if name.endswith((".yaml", ".yml", ".json")):
        return _read_family(Path(name).expanduser())
    dialects = load_dialects()
    if name not in dialects:
        raise UsageError(
            f"no dialect is called {name!r}{did_you_mean(name, dialects)}; choose from "
            f"{', '.join(dialects)}, custom, or give the path of a YAML file that describes one"
        )
    return dialects[name]


def _convention(form: Dialect | OtherForm) -> Convention:
    scale = None if form.scale == "pixels" else float(form.scale)
    return Convention(form.order, scale, form.frame, float(form.offset))
