"""Which conventions the doctor tries, and how each is declared on the command line.

The candidates are every order, with every known scale, in every frame: all kinds of frame that
`migbench.boxes` has, with the numbers that dialects and profiles give them.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import product
from typing import get_args

import msgspec

from migbench.boxes import SCALES, Convention, EdgeLimited, Frame, Order, Original, SmartResized
from migbench.dialects import Dialect, PromptSet, load_dialects
from migbench.dialects.dialect import wording
from migbench.dialects.syntax import Syntax
from migbench.errors import UsageError
from migbench.models import load_profiles

DOCUMENTED_FRAMES: tuple[Frame, ...] = (EdgeLimited(longest=1568),)
"""Of kinds that no dialect file declares: the limit that Claude's vision guide documents."""


def candidates(declared: Convention) -> tuple[Convention, ...]:
    """Every convention worth trying, each that reads differently once; the declared one is first.

    >>> [str(each) for each in candidates(Convention())][:2]
    ['xyxy, 0-1000', 'xyxy, 0-1']
    """
    known = [dialect.convention.scale for dialect in load_dialects().values()]
    scales = dict.fromkeys([*SCALES, *known, declared.scale])
    frames = dict.fromkeys([*known_frames(), declared.frame])
    every = (Convention(*parts) for parts in product(Order, scales, frames))
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
    declared = [dialect.frame for dialect in dialects]
    return tuple(dict.fromkeys([*plain_kinds, *declared, *under_bounds, *DOCUMENTED_FRAMES]))


def plain(convention: Convention) -> Convention:
    """The same convention, without its frame where that makes no difference."""
    return convention if convention.needs_size else replace(convention, frame=Original())


def frame_text(frame: Frame) -> str:
    """A frame as ``--box-frame`` takes it.

    >>> frame_text(EdgeLimited(longest=1568))
    'edge-limited:1568'
    """
    return ":".join([str(frame.__struct_config__.tag), *map(str, msgspec.structs.astuple(frame))])


def scale_text(scale: float | None) -> str:
    """A scale as ``--box-scale`` takes it."""
    return "pixels" if scale is None else f"{scale:g}"


def described(convention: Convention) -> str:
    """One line that tells every convention from all others.

    >>> described(Convention(Order.YXYX, None, EdgeLimited(longest=1568)))
    'yxyx, pixels of edge-limited:1568'
    """
    scale = "pixels" if convention.scale is None else f"0-{scale_text(convention.scale)}"
    if isinstance(convention.frame, Original) or not convention.needs_size:
        return f"{convention.order}, {scale}"
    return f"{convention.order}, {scale} of {frame_text(convention.frame)}"


def flags(
    dialect: Dialect, convention: Convention, syntax: tuple[Syntax, ...], prompts: PromptSet
) -> tuple[str, ...]:
    """How to declare a convention for a model that has this dialect now; alternatives, best first.

    A known dialect that reads boxes in one of these ways, or other pixel bounds where nothing else
    differs; else a custom dialect that asks in the same words.
    """
    if bounds := _bounds(dialect, convention):
        return (bounds,)
    known = tuple(
        f"--dialect {each.name}"
        for each in load_dialects().values()
        if plain(each.convention) == plain(convention) and set(syntax) <= set(each.syntax)
    )
    return known or (_custom(dialect, convention, syntax, prompts),)


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
    dialect: Dialect, convention: Convention, syntax: tuple[Syntax, ...], prompts: PromptSet
) -> str:
    words = ["--dialect", "custom", "--box-order", convention.order.value]
    words += ["--box-scale", scale_text(convention.scale)]
    if not isinstance(convention.frame, Original):
        words += ["--box-frame", frame_text(convention.frame)]
    for each in syntax:
        words += ["--box-syntax", each.value]
    words += ["--box-format", wording(dialect.format, prompts)]
    return shlex.join(words)
