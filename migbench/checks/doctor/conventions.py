"""The conventions that the doctor tries, and how each is declared on the command line.

The candidates are every order, with every known scale, in every frame: all kinds of frame that
`migbench.boxes` has, with the numbers that dialects and profiles give them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import get_args

import msgspec
from msgspec.structs import replace as with_fields

from migbench.boxes import SCALES, Convention, EdgeLimited, Frame, Order, Original, SmartResized
from migbench.checks.doctor.answers import holds_box
from migbench.checks.doctor.scenes import SIDES
from migbench.dialects import Dialect, PromptSet, load_dialects
from migbench.dialects.dialect import wording
from migbench.errors import UsageError
from migbench.models.resolving import load_profiles


def candidates(declared: Convention) -> tuple[Convention, ...]:
    """Every convention worth trying, each that reads differently once; the declared one is first.

    >>> [str(each) for each in candidates(Convention())][:2]
    ['xyxy, 0-1000', 'xyxy, 0-1']
    """
    known = [dialect.convention.scale for dialect in load_dialects().values()]
    scales = dict.fromkeys([*SCALES, *known, declared.scale])
    frames = dict.fromkeys([*known_frames(), declared.frame])
    every = (Convention(*parts) for parts in product(Order, scales, frames))
    # An offset of half a bin is tried where it is declared: it moves boxes by less than matters.
    return tuple(dict.fromkeys(plain(each) for each in (declared, *every)))


def known_frames() -> tuple[Frame, ...]:
    """Kinds without numbers, and the others as dialects, profiles or documents declare them."""
    dialects = load_dialects().values()
    bounds = {(profile.pixels.min, profile.pixels.max) for profile in load_profiles().values()}
    under_bounds = [
        dialect.with_pixels(smallest, largest).frame
        for dialect in dialects
        if isinstance(dialect.frame, SmartResized)
        for smallest, largest in sorted(bounds, key=str)
    ]
    plain_kinds = [kind() for kind in get_args(Frame) if not kind.__struct_fields__]
    declared = [dialect.frame for dialect in dialects if _is_seen(dialect.frame)]
    return tuple(dict.fromkeys([*plain_kinds, *declared, *under_bounds]))


def _is_seen(frame: Frame) -> bool:
    """Whether a frame changes any scene; a limit beyond them all would read like no limit."""
    largest = max(longest for _, longest in SIDES)
    return not isinstance(frame, EdgeLimited) or frame.longest < largest


def plain(convention: Convention) -> Convention:
    """The same convention, without its frame where that makes no difference."""
    return convention if convention.needs_size else replace(convention, frame=Original())


def frame_text(frame: Frame) -> str:
    """A frame as ``--box-frame`` takes it.

    >>> frame_text(EdgeLimited(longest=1568))
    'edge-limited:1568'
    """
    numbers = [str(each) for each in msgspec.structs.astuple(frame) if each is not None]
    return ":".join([str(frame.__struct_config__.tag), *numbers])


def scale_text(scale: float | None) -> str:
    """A scale as ``--box-scale`` takes it."""
    return "pixels" if scale is None else f"{scale:g}"


def described(convention: Convention) -> str:
    """One line that tells every convention from all others.

    >>> described(Convention(Order.YXYX, None, EdgeLimited(longest=1568)))
    'yxyx, pixels of edge-limited:1568'
    """
    scale = "pixels" if convention.scale is None else f"0-{scale_text(convention.scale)}"
    scale += f" + {convention.offset:g}" if convention.offset else ""
    if isinstance(convention.frame, Original) or not convention.needs_size:
        return f"{convention.order}, {scale}"
    return f"{convention.order}, {scale} of {frame_text(convention.frame)}"


def flags(
    dialect: Dialect,
    convention: Convention,
    syntax: tuple[str, ...],
    prompts: PromptSet,
    samples: Sequence[str] = (),
) -> tuple[str, ...]:
    """How to declare a convention for a model that has this dialect now; alternatives, best first.

    A known dialect that reads boxes in one of these ways, or other pixel bounds where nothing else
    differs; else a custom dialect that asks in the same words. Either reads all ``samples``, which
    are answers in this syntax.
    """
    if bounds := _bounds(dialect, convention):
        return (bounds,)
    known = tuple(
        f"--dialect {each.name}"
        for each in load_dialects().values()
        if plain(each.convention) == plain(convention)
        and set(syntax) <= set(each.syntax)
        and not each.unsupported
        and _reads(each, samples)
    )
    return known or (_custom(dialect, convention, syntax, prompts, samples),)


def _reads(dialect: Dialect, samples: Sequence[str]) -> bool:
    return all(holds_box(dialect, sample) for sample in samples)


def _bounds(dialect: Dialect, convention: Convention) -> str | None:
    frame = convention.frame
    if not isinstance(frame, SmartResized) or not isinstance(dialect.frame, SmartResized):
        return None
    try:
        moved = dialect.with_pixels(frame.min_pixels, frame.max_pixels)
    except UsageError:
        return None
    if moved.convention != convention or moved == dialect:
        return None
    return f"--min-pixels {frame.min_pixels} --max-pixels {frame.max_pixels}"


def _custom(
    dialect: Dialect,
    convention: Convention,
    syntax: tuple[str, ...],
    prompts: PromptSet,
    samples: Sequence[str],
) -> str:
    spellings = (dialect, *load_dialects().values())
    readers = (each for each in spellings if _reads(with_fields(each, syntax=syntax), samples))
    words = ["--dialect", "custom", "--box-order", convention.order.value]
    words += ["--box-scale", scale_text(convention.scale)]
    if not isinstance(convention.frame, Original):
        words += ["--box-frame", frame_text(convention.frame)]
    words += _each("--box-syntax", syntax)
    if convention.offset:
        words += ["--box-offset", f"{convention.offset:g}"]
    words += _spelling(next(readers, dialect))
    words += ["--box-format", wording(dialect.format, prompts)]
    return shlex.join(words)


def _each(flag: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (flag, str(value))]


def _spelling(dialect: Dialect) -> list[str]:
    """What else a dialect declares of how boxes are written, as options."""
    usual = Dialect(name="", title="", source="", syntax=(), format="")
    words: list[str] = []
    for flag, field in (
        ("--box-tag", "tags"),
        ("--box-brackets", "brackets"),
        ("--box-key", "keys"),
        ("--image-field", "image_fields"),
    ):
        if (values := getattr(dialect, field)) != getattr(usual, field):
            words += _each(flag, values)
    words += _each("--box-corners", map(",".join, dialect.corners))
    if dialect.images_from != usual.images_from:
        words += ["--images-from", str(dialect.images_from)]
    if dialect.thinking_marks != usual.thinking_marks:
        for mark in dialect.thinking_marks:
            words += ["--thinking-marks", mark.start, mark.end]
    return words + ["--thought-opened"] * dialect.thought_opened_by_template
