"""Readers on any text: they never raise, take linear time, and read back what is written."""

from __future__ import annotations

import gc
import math
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from migbench.boxes import Box, Original, iou
from migbench.dialects import Dialect, PromptSet, load_dialects, parse
from migbench.dialects.asking import rewrite
from migbench.dialects.syntax import Syntax
from migbench.messages import ImageFile, Size
from migbench.scoring.protocols.released import parse as parse_released
from migbench.yaml_files import read_yaml

FAMILIES = load_dialects()
EVERY_SYNTAX = Dialect(
    name="custom",
    title="Every syntax at once",
    source="the user",
    scale="pixels",
    syntax=tuple(Syntax),
    format="",
)
DIALECTS = [*FAMILIES.values(), EVERY_SYNTAX]
SIZES = [Size(640, 480), Size(31, 1999), Size(1, 1)]

by_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


# --- any text -------------------------------------------------------------------------------------

CORPUS = (Path(__file__).parent / "dialect_corpus").glob("*.yaml")
FRAGMENTS = sorted(
    {
        fragment
        for path in CORPUS
        for case in read_yaml(path)["cases"]
        for fragment in re.findall(r"<[^>]*>|\w+|\s+|\W", case["answer"])
    }
)
"""Tags, words, numbers and marks of realistic answers, to be put together in any order."""
ODDITIES = ["٣", "²", "İ", "ſ", "1e9", "99999999", "-", "+.5", "\u3000", "\u00a0", "\x00", "\ud800"]
texts = st.text(max_size=40) | st.lists(st.sampled_from(FRAGMENTS + ODDITIES)).map("".join)


@examples(6)
@given(
    dialect=st.sampled_from(DIALECTS), text=texts, truncated=st.booleans(), image=st.integers(0, 2)
)
def test_parsing_any_text_gives_boxes_or_a_reason(
    dialect: Dialect, text: str, truncated: bool, image: int
) -> None:
    parsed = parse(dialect, text, truncated=truncated, sizes=SIZES, default_images=[image])
    assert bool(parsed.boxes) == (parsed.failure is None)
    assert parsed.named_image is None or parsed.named_image >= 0
    previous_end = 0
    for found in parsed.boxes:
        assert all(math.isfinite(edge) for edge in found.box)
        assert found.label is None or found.label >= 0
        assert previous_end <= found.start < found.end <= len(text)
        previous_end = found.end


@examples(3)
@given(texts)
def test_the_released_parser_takes_any_text(text: str) -> None:
    for box in parse_released(text):
        assert 0 <= float(iou(box, (0.1, 0.2, 0.3, 0.4))) <= 1


def test_the_released_parser_takes_numbers_of_any_length() -> None:
    (box,) = parse_released(f"({'9' * 400},1),({'9' * 400},2)")
    assert float(iou(box, box)) == 0


# --- write, then read -----------------------------------------------------------------------------

THOUSANDTHS = (139, 305, 495, 743)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> ImageFile:
    path = tmp_path_factory.mktemp("images") / "photo.png"
    Image.new("RGB", (1000, 700)).save(path)
    return ImageFile("photo.png", path)


@pytest.mark.parametrize("dialect", FAMILIES.values(), ids=lambda dialect: dialect.name)
def test_a_family_reads_boxes_as_its_questions_write_them(
    dialect: Dialect, photo: ImageFile
) -> None:
    x1, y1, x2, y2 = THOUSANDTHS
    question = f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"
    written = rewrite(dialect, question, [photo], PromptSet.PAPER)
    if dialect.box is None:
        assert written == ""
        written = rewrite(FAMILIES["mantis"], question, [photo], PromptSet.PAPER)
    (found,) = parse(dialect, written, sizes=[photo.size()]).boxes
    expected = [edge / 1000 for edge in THOUSANDTHS]
    half_a_pixel = 0.501 / 700
    rounding = half_a_pixel if dialect.convention.scale is None else 1e-9
    assert found.box == pytest.approx(expected, abs=rounding)


WRITERS: dict[Syntax, Callable[..., str]] = {
    Syntax.CORNER_PAIRS: "({0},{1}),({2},{3})".format,
    Syntax.QUAD: "[{0}, {1}, {2}, {3}]".format,
    Syntax.BOX_TAG: "<box>{0} {1} {2} {3}</box>".format,
    Syntax.LOCATION_TOKENS: "<loc{0}><loc{1}><loc{2}><loc{3}>".format,
    Syntax.ATTRIBUTES: 'x1="{0}" y1="{1}" x2="{2}" y2="{3}"'.format,
}
edges = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
boxes = st.builds(Box, edges, edges, edges, edges)


@given(
    family=st.sampled_from(list(FAMILIES.values())),
    box=boxes,
    size=st.tuples(st.integers(28, 3000), st.integers(28, 3000)),
    before=st.sampled_from(["", "It is here: ", "The 3 dogs, ", "<think>(1,2),(3,4)</think>"]),
    after=st.sampled_from(["", ".", " Done.", "\n```"]),
)
def test_every_syntax_of_a_family_reads_what_its_convention_writes(
    family: Dialect, box: Box, size: tuple[int, int], before: str, after: str
) -> None:
    numbers = [f"{number:.6f}" for number in family.convention.from_unit(box, size)]
    for syntax in family.syntax:
        answer = before + WRITERS[syntax](*numbers) + after
        (found,) = parse(family, answer, sizes=[Size(*size)]).boxes
        assert found.box == pytest.approx(box, abs=1e-6)


def test_every_syntax_has_a_writer_here() -> None:
    assert set(WRITERS) == set(Syntax)


@given(st.tuples(*[st.integers(0, 1023)] * 4))
def test_location_tokens_are_read_back(bins: tuple[int, int, int, int]) -> None:
    changes: dict[str, Any] = {"scale": 1023.0, "frame": Original()}
    dialect = msgspec.structs.replace(EVERY_SYNTAX, **changes)
    (found,) = parse(dialect, "".join(f"<loc{number:04}>" for number in bins)).boxes
    assert found.box == pytest.approx([number / 1023 for number in bins])


# --- time -----------------------------------------------------------------------------------------

HOSTILE = {
    "open-parentheses": "(",
    "open-brackets": "[",
    "open-braces": "{",
    "digits": "1",
    "decimal-points": ".1",
    "spaces": " ",
    "digits-and-spaces": "1 ",
    "half-a-corner-pair": "(1,2),",
    "half-a-corner-pair-and-spaces": "(1, 2)  ,  ",
    "corner-pair-then-a-long-gap": "(1,2)," + " " * 1000,
    "three-of-four": "[1, 2, 3, ",
    "box-tags": "<box>1 2 3 ",
    "attributes": "x1=1 y1=2 ",
    "location-tokens": "<loc0001>",
    "boxes": "[1,2,3,4]",
    "labelled-boxes": "Image 1: {(1,2),(3,4)} ",
    "image-words": "image ",
    "image-numbers": "image 1 ",
    "ordinals": "the first 第一张",
    "open-thoughts": "<think>",
    "closed-thoughts": "</think>",
    "answers": "<answer>(1,2),(3,4)",
    "half-refusals": "there is cannot no ",
    "full-width": "（１，",
    "other-digits": "٣",
}
LONG_RUNS = {
    "a-long-number": ("({},1),(2,3)", "7"),
    "a-long-decimal": ("[0.{}, 0.1, 0.2, 0.3]", "7"),
    "a-long-gap-between-numbers": ("(1,{}2),(3,4)", " "),
    "a-long-gap-between-corners": ("(1,2){}(3,4)", " "),
    "a-long-gap-in-a-tag": ("<box>1{}2 3 4</box>", " "),
    "a-long-gap-after-a-noun": ("image{}1", " "),
    "a-long-gap-in-a-list": ("[{}]", " "),
}
JUNK = [*HOSTILE, *LONG_RUNS]
KILOBYTE = 1000


def junk(name: str, length: int) -> str:
    if name in HOSTILE:
        return HOSTILE[name] * (length // len(HOSTILE[name]))
    template, filling = LONG_RUNS[name]
    return template.format(filling * length)


def seconds(work: Callable[[str], object], text: str) -> float:
    """Time of this work alone: neither other processes count, nor what other tests left in memory.

    The latter is gone through whenever objects are collected.
    """
    gc.disable()
    try:
        before = time.process_time()
        work(text)
        return time.process_time() - before
    finally:
        gc.enable()


READERS: dict[str, Callable[[str], object]] = {
    "every-syntax": partial(parse, EVERY_SYNTAX, sizes=SIZES),
    "released": parse_released,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", JUNK)
def test_a_megabyte_of_junk_takes_linear_time(name: str, reader: str) -> None:
    work = READERS[reader]
    work(junk(name, KILOBYTE))  # Compiles patterns.
    before = 0.0
    for kilobytes in (1, 10, 100, 1000):  # Step by step, so that a slow reader fails and not hangs.
        took = seconds(work, junk(name, kilobytes * KILOBYTE))
        # Ten times the text: ten times the time if linear, a hundred times if quadratic.
        assert took < 25 * before + 0.5, f"{kilobytes} kB"
        before = took


@by_dialect
def test_every_dialect_reads_junk_quickly(dialect: Dialect) -> None:
    for name in JUNK:
        took = seconds(partial(parse, dialect, sizes=SIZES), junk(name, 20 * KILOBYTE))
        assert took < 1, name
