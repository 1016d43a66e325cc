"""What each model family's answers mean: a corpus, one file a dialect in ``corpus/``.

The answers were written for these tests, in the forms that the families' documentation shows and
in the ways in which models stray from them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migbench.asking.mentions import image_mentions
from migbench.asking.questions import Purpose, Turn
from migbench.data.annotations import Annotations
from migbench.dialects import (
    Dialect,
    ParseFailure,
    ask,
    find_dialect,
    load_dialects,
    parse,
)
from migbench.dialects.refusals import is_refusal
from migbench.errors import DataError, ModelError, UsageError
from migbench.messages import ImageFile, Size
from migbench.util.yaml_files import as_record, read_yaml

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.yaml"))


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer and what it means. Images count from 1 here, as in the answers themselves."""

    name: str
    answer: str
    truncated: bool = False
    asked: int | None = None
    """The image that the question asks for, if it names one."""
    target: int = 1
    """The image in which a box that names none is taken to lie."""
    box: tuple[float, float, float, float] | None = None
    """The box that counts, in 0-1 of the original image."""
    image: int | None = None
    """The image in which the answer puts that box."""
    boxes: int = 1
    unread: ParseFailure | None = None
    named: int | None = None
    """The first image that the answer names, where it is not ``image``."""
    declared: dict[str, Any] | None = None
    """A convention declared by the user."""


class Corpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file."""

    cases: list[Case]
    sizes: list[tuple[int, int]] | None = None


CORPORA = {path.stem: as_record(read_yaml(path), Corpus, path) for path in CORPUS}
CASES = [
    pytest.param(dialect, case, id=f"{dialect}-{case.name}")
    for dialect, corpus in CORPORA.items()
    for case in corpus.cases
]


def declared(**convention: Any) -> Dialect:
    texts = {"name": "custom", "title": "Declared", "source": "the user", "format": ""}
    return msgspec.convert(texts | convention, Dialect)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_answer(name: str, case: Case) -> None:
    dialect = declared(**case.declared) if case.declared else find_dialect(name)
    sizes = CORPORA[name].sizes
    parsed = parse(
        dialect,
        case.answer,
        truncated=case.truncated,
        sizes=[Size(*size) for size in sizes] if sizes else None,
        default_images=[case.target - 1],
    )
    chosen = parsed.select_box(None if case.asked is None else case.asked - 1)
    named = case.named or case.image
    assert parsed.failure == case.unread
    if case.box is None:
        assert chosen is None
    else:
        assert chosen is not None
        assert chosen.box == pytest.approx(case.box, abs=1e-9)
        assert chosen.label == (None if case.image is None else case.image - 1)
        assert len(parsed.boxes) == case.boxes
    if case.named or len(parsed.boxes) < 2:
        assert parsed.named_image == (None if named is None else named - 1)


def test_every_dialect_has_a_corpus_of_a_dozen_answers_or_more() -> None:
    assert set(CORPORA) == {*load_dialects(), "custom"}
    for name, corpus in CORPORA.items():
        names = [case.name for case in corpus.cases]
        assert len(names) == len(set(names)) >= 12, name
        outcomes = {case.unread for case in corpus.cases}
        assert outcomes == {None, *ParseFailure}, name


def test_a_case_says_what_is_to_be_read_or_why_nothing_is() -> None:
    for corpus in CORPORA.values():
        for case in corpus.cases:
            assert (case.box is None) == (case.unread is not None), case.name


def test_a_box_is_found_where_it_stands_in_the_raw_answer() -> None:
    answer = "<think>（1，2），（3，4）</think>第二张图：（120，230），（560，780）。"
    (found,) = parse(find_dialect("qwen2-vl"), answer).boxes
    assert answer[found.start : found.end] == "（120，230），（560，780）"


def test_pixel_answers_without_sizes_are_refused_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"qwen2\.5-vl counts in pixels.*--images"):
        parse(find_dialect("qwen2.5-vl"), "[1, 2, 3, 4]")


def test_an_unknown_dialect_is_a_usage_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'gpt-2'.*gemini.*qwen3-vl.*custom"):
        find_dialect("gpt-2")


def test_pixel_bounds_of_a_run_replace_the_processors_own() -> None:
    dialect = find_dialect("qwen2.5-vl").with_pixels(None, 28 * 28 * 100)
    (found,) = parse(dialect, "[140, 140, 280, 280]", sizes=[Size(1000, 1000)]).boxes
    assert found.box == (0.5, 0.5, 1.0, 1.0)


def test_bounds_mean_nothing_to_a_dialect_without_a_resized_frame() -> None:
    dialect = find_dialect("qwen2-vl")
    assert dialect.with_pixels(1, 2) is dialect


def test_bounds_that_leave_no_image_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"qwen2\.5-vl.*5000 to 100 pixels"):
        find_dialect("qwen2.5-vl").with_pixels(5000, 100)


# --- which image an answer speaks of --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("Image-2", [2]),
        ("Image 2.", [2]),
        ("image2:", [2]),
        ("image (2)", [2]),
        ("Picture #3", [3]),
        ("**Image** 2", [2]),
        ("image number 4", [4]),
        ('"image": 2,', [2]),
        ('"image": "2"', [2]),
        ('"image_id": 2', [2]),
        ('{"image_index": 0}, {"image_index": 1}', [1]),
        ("image_0, not the second image", [2]),
        ("the third image", [3]),
        ("the 2th picture", [2]),
        ("the second input image", [2]),
        ("First frame, then the fourth frame", [1, 4]),
        ("Image-1 and Image-3", [1, 3]),
        ("第二张图", [2]),
        ("第 3 幅图像", [3]),
        ("第三帧", [3]),
        ("图2中", [2]),
        ("图片 2：", [2]),
        ("图一中的狗", [1]),
        # Numbers beside an image that are no image's number:
        ("an image 640x480", []),
        ("an image 64 x 48", []),
        ("image_size: 1024", []),
        ("frame 30fps", []),
        ("image 50%", []),
        ("image 2.5", []),
        ("in the image (12,40),(50,60)", []),
        ("image: 12, 40, 50, 60", []),
        ("image 2024", []),
        ("图片1024x768", []),
        ("两张图一样", []),
        ("第一张桌子", []),
        ("the second dog", []),
        ("two images", []),
        ("", []),
    ],
)
def test_mentions(text: str, images: list[int]) -> None:
    assert [mention.image + 1 for mention in image_mentions(text)] == images


def test_plain_numbers_count_from_what_is_declared_and_ordinals_from_one() -> None:
    text = "image_0, image 2 and the second image"
    assert [mention.image for mention in image_mentions(text, first=0)] == [0, 2, 1]


# --- who refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "I cannot determine the location.",
        "I can’t find it",
        "I could not locate the object",
        "The object could not be found.",
        "It doesn't appear in this image",
        "I don't see a dog",
        "No such object.",
        "No differences.",
        "Unfortunately, it is not present here.",
        "I am not able to process images.",
        "The two images are identical.",
        "N/A",
        "null",
        "无法识别",
        "图中看不到狗",
        "なし。検出できません",
        "Não consigo ver",
        "Es tut mir leider leid",
        "Non vedo il cane",
        "К сожалению, его нет",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the dog on the left",
        "(100,200",
        "A scan not found in the annotated notes",
        "The nonexistent",
        "It can be found at the notable site",
        "左边的狗",
        "[100, 200]",
        "none of them is taller than the dog",
    ],
)
def test_other_texts_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


# Structural tokens


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("qwen2-vl", "<|image_pad|>"),
        ("qwen2.5-vl", "<|im_end|>"),
        ("internvl", "<IMG_CONTEXT>"),
        ("llava-onevision", "<image>"),
        ("mplug-owl3", "<|image|>"),
        ("minicpm-v", "<slice>"),
        ("mantis", "<|eot_id|>"),
    ],
)
def test_a_question_with_a_structural_token_is_refused_by_its_name(name: str, token: str) -> None:
    turn = Turn(Purpose.DIRECT, f"Find {token} in image-2.", (0, 1))
    with pytest.raises(ModelError, match=re.escape(token)):
        ask(find_dialect(name), turn, [ImageFile("a.png"), ImageFile("b.png")])


def test_the_published_questions_hold_no_structural_token(
    original: Annotations, revised: Annotations
) -> None:
    tokens = {token for each in load_dialects().values() for token in each.structural_tokens}
    assert len(tokens) > 20
    for published in (original, revised):
        for instance in published.instances:
            assert not [token for token in tokens if token in instance.question]
