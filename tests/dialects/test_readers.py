"""Readers on any text: they never raise, take linear time, and read back what is written."""

from __future__ import annotations

import gc
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.examples import examples

from migbench.boxes import Box, Order, Original, iou
from migbench.dialects import Dialect, PromptSet, load_dialects, parse
from migbench.dialects.asking import rewrite
from migbench.dialects.syntax import Syntax
from migbench.messages import ImageFile, Size
from migbench.scoring.protocols.released import parse as parse_released
from migbench.util.yaml_files import read_yaml

FAMILIES = load_dialects()
EVERY_SYNTAX = Dialect(
    name="custom",
    title="Every syntax at once",
    source="the user",
    scale="pixels",
    syntax=tuple(Syntax),
    tags=("box", "bbox", "point_box", "|det|", "|begin_of_box|"),
    brackets=("[]", "()", "<>", "{}"),
    image_fields=("asset_idx",),
    thought_opened_by_template=True,
    format="",
)
DIALECTS = [*FAMILIES.values(), EVERY_SYNTAX]
SIZES = [Size(640, 480), Size(31, 1999), Size(1, 1)]

by_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


# --- any text -------------------------------------------------------------------------------------

CORPUS = (Path(__file__).parent / "corpus").glob("*.yaml")
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


@pytest.mark.parametrize(
    "dialect",
    [each for each in FAMILIES.values() if not each.unsupported],
    ids=lambda dialect: dialect.name,
)
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
    scale = dialect.convention.scale
    half_a_step = 0.501 / (scale or 700)
    is_exact = scale in (1, 1000) and not dialect.offset
    assert found.box == pytest.approx(expected, abs=1e-9 if is_exact else half_a_step)


def in_brackets(dialect: Dialect, *numbers: str) -> str:
    opening, closing = dialect.brackets[-1]
    return f"{opening}{', '.join(numbers)}{closing}"


def in_tags(dialect: Dialect, *numbers: str) -> str:
    tag = dialect.tags[-1]
    closing = {"|det|": "|/det|", "|begin_of_box|": "|end_of_box|"}.get(tag, f"/{tag}")
    return f"<{tag}>{' '.join(numbers)}<{closing}>"


def under_a_key(dialect: Dialect, *numbers: str) -> str:
    return f'[{{"label": "the 3 mugs", "{dialect.keys[0]}": [{", ".join(numbers)}]}}]'


WRITERS: dict[Syntax, Callable[..., str]] = {
    Syntax.JSON: under_a_key,
    Syntax.CORNER_PAIRS: lambda dialect, a, b, c, d: f"({a},{b}),({c},{d})",
    Syntax.QUAD: in_brackets,
    Syntax.DECIMAL_QUAD: in_brackets,
    Syntax.BOX_TAG: in_tags,
    Syntax.BARE: lambda dialect, *numbers: ", ".join(numbers),
    Syntax.LOCATION_TOKENS: lambda dialect, *bins: "".join(f"<loc{each}>" for each in bins),
    Syntax.NUMBER_TOKENS: lambda dialect, *bins: "".join(f"<{each}>" for each in bins),
    Syntax.ATTRIBUTES: lambda dialect, a, b, c, d: f'x1="{a}" y1="{b}" x2="{c}" y2="{d}"',
}
TOKENS = (Syntax.LOCATION_TOKENS, Syntax.NUMBER_TOKENS)
edges = st.integers(1, 999).map(lambda thousandths: thousandths / 1000)
boxes = st.builds(Box, edges, edges, edges, edges)
sizes = st.builds(Size, st.integers(28, 3000), st.integers(28, 3000))


@by_dialect
@given(
    data=st.data(),
    box=boxes,
    size=sizes,
    before=st.sampled_from(["", "It is here: ", "The 3 dogs, ", "<think>(1,2),(3,4)</think>"]),
    after=st.sampled_from(["", ".", " Done.", "\n```"]),
)
def test_every_syntax_of_a_dialect_reads_what_its_convention_writes(
    dialect: Dialect, data: st.DataObject, box: Box, size: Size, before: str, after: str
) -> None:
    form = data.draw(st.sampled_from(dialect.forms))
    syntax = Syntax(data.draw(st.sampled_from(form.syntax)))
    convention = form.convention
    if syntax is Syntax.ATTRIBUTES:
        convention = replace(convention, order=Order.XYXY)  # Names say what a number is.
    numbers = convention.from_unit(box, size)
    digits = 0 if syntax in TOKENS else 6
    answer = WRITERS[syntax](dialect, *(f"{abs(number):.{digits}f}" for number in numbers))
    if syntax is not Syntax.BARE:
        answer = before + answer + after
    (found,) = parse(dialect, answer, sizes=[size]).boxes
    step = 1e-6 if digits else 0.501 / (convention.scale or min(size))
    assert found.box == pytest.approx(box, abs=step)


TEMPLATES = [
    "{}_{}_{}_{}",
    "[{},{};{},{}]",
    "{{{}|{}|{}|{}}}",
    "<b {} {} {} {}>",
    "{} to {} / {} {}",
]


@given(template=st.sampled_from(TEMPLATES), box=boxes, spaces=st.sampled_from(["", " ", "\n"]))
def test_a_template_reads_what_it_writes(template: str, box: Box, spaces: str) -> None:
    dialect = msgspec.structs.replace(EVERY_SYNTAX, syntax=(template,), scale=1000)
    answer = "Here: " + template.format(*(f"{1000 * edge:.0f}" for edge in box)) + spaces
    (found,) = parse(dialect, answer, sizes=SIZES).boxes
    assert found.box == pytest.approx(box)


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
    "objects": '{"a": 1} ',
    "nested-objects": '{"a": {"b": 1}, ',
    "open-objects": '{"bbox_2d": [1, ',
    "fields-that-are-objects": '"a": {"image": 1}, ',
    "open-strings": '{"a": "b\\\\" ',
    "quotes": '"',
    "single-quotes": "{'a': 'it's ",
    "backslashes": '{"\\\\',
    "comments": "{/* ",
    "line-comments": "{// ",
    "closing-of-the-wrong-kind": "[{]}",
    "corners-in-a-row": "(1,2),",
    "number-tokens": "<1>",
    "elements": '<collection asset_idx="0"><point_box>',
    "thinking-marks": "◁think▷[THINK]",
    "named-corners": "x1=1 x2=2 ",
    "semicolons": "1,2,3,4;",
    "labels": '{"label": "image 1 ", "bbox": [1,2,3,4]} ',
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
    if name == "fields-that-are-objects":
        return "{" + HOSTILE[name] * (length // len(HOSTILE[name]))
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
    "every-syntax": partial(parse, EVERY_SYNTAX, sizes=SIZES, image_is_asked=True),
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


@by_dialect
def test_a_megabyte_of_a_dialects_own_delimiters_takes_linear_time(dialect: Dialect) -> None:
    """Whole boxes in each of its ways, their first half, and their delimiters without numbers."""
    numbers = ["12", "34", "56", "78"]
    ways = [Syntax(each) for form in dialect.forms for each in form.syntax]
    texts = [WRITERS[way](dialect, *numbers) for way in ways]
    halves = [text[: len(text) // 2] for text in texts]
    delimiters = [re.sub(r"\d+", "", text) for text in texts]
    marks = [mark for each in dialect.thinking_marks for mark in (each.start, each.end)]
    text = "".join([*texts, *halves, *delimiters, *marks])
    before = 0.0
    for length in (10_000, 100_000, 1_000_000):
        took = seconds(partial(parse, dialect, sizes=SIZES), text * (length // len(text)))
        assert took < 25 * before + 0.5, length
        before = took
