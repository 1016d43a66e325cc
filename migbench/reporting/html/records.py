"""What the page knows of every target: the data that its script reads."""

from __future__ import annotations

import msgspec

from migbench.reporting.html.excerpts import Piece

Edges = tuple[float, float, float, float]
"""A box in 0-1 of its image."""


class ShownRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as the page names it and as it was asked."""

    label: str
    evaluator: str
    strategy: str
    errors_are_misses: bool


class ShownTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task's key, its column in Table 1, and its title."""

    key: str
    column: str
    title: str


class Picture(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One image. Without a ``thumbnail`` a placeholder is drawn, and ``problem`` says why.

    ``width`` and ``height`` are the image's own, in pixels, where they are known. ``thumbnail`` and
    ``full`` are addresses; ``full`` is the image in its own size, where the page can have it.
    """

    name: str
    width: int | None = None
    height: int | None = None
    thumbnail: str | None = None
    full: str | None = None
    problem: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn: what was asked, about which images (from 0), and what was answered.

    ``length`` is the whole answer's, of which ``text`` may leave out parts.
    """

    purpose: str
    images: list[int]
    prompt: list[Piece] = []
    text: list[Piece] | None = None
    length: int = 0
    truncated: bool = False
    refused: bool = False
    error: list[Piece] | None = None
    tokens: int | None = None
    seconds: float | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run makes of a target.

    ``said`` are places in the run's list of turns, the one that decides last; empty where nothing
    was asked yet. ``span`` is the number of the piece of its text that the box was read from.
    ``named`` is the image, from 0, that the answer names; ``reason`` is what an unreadable answer
    holds instead of a box.
    """

    outcome: str
    iou: float
    box: Edges | None = None
    flags: list[str] = []
    reason: str | None = None
    named: int | None = None
    said: list[int] = []
    span: int | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One target: what is to be found, and what became of it in every run (None: not asked).

    The ``id`` names the annotation file too where the runs are on several.
    ``set`` is a place in the page's image sets; ``image`` is the one in the set, from 0, that holds
    the target, and ``asked`` whether the question says so. ``reference`` is a box in the first
    image that the question is about.
    """

    id: str
    task: str
    set: int
    image: int
    asked: bool
    question: list[Piece]
    truth: Edges
    repaired: bool = False
    reference: Edges | None = None
    level: str | None = None
    results: list[Result | None]


class Gallery(msgspec.Struct, frozen=True, kw_only=True):
    """All targets of the runs, and all that they share.

    ``sets`` are image sets as places in ``pictures``; ``said`` has a list for each run.
    """

    runs: list[ShownRun]
    tasks: list[ShownTask]
    pictures: list[Picture]
    sets: list[list[int]]
    targets: list[Target]
    said: list[list[Said]]
