"""What becomes of answers beyond their boxes: reasons, thoughts, and images that they name."""

from __future__ import annotations

import msgspec
import pytest

from migbench.boxes import Box
from migbench.dialects import Dialect, ParseFailure, Reason, explain, find_dialect, parse
from migbench.dialects.lenient_json import find_objects
from migbench.dialects.thoughts import ThinkingMarks, final_part
from migbench.messages import Size
from migbench.scoring import Outcome

QWEN2 = find_dialect("qwen2-vl")
QWEN25 = find_dialect("qwen2.5-vl")
QWEN3 = find_dialect("qwen3-vl")


# --- JSON as it is written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        '{"bbox_2d": [100, 200, 500, 700]}',
        '[\n        {\n            "bbox_2d": [\n                100,\n                200,\n'
        "                500,\n                700\n            ]\n        }\n]",
        '{"bbox_2d": ["100", "200", "500", "700"]}',
        '{"bbox_2d": "100, 200, 500, 700"}',
        '{"bbox_2d": "[100 200 500 700]"}',
        '{"bbox_2d": [100, 200, 500, 700,],}',
        "{'bbox_2d': [100, 200, 500, 700], 'label': 'the dog's bowl'}",
        '{"label": "a 12\\" pipe", "bbox_2d": [100, 200, 500, 700]}',
        '{"label": "a "big" dog", "bbox_2d": [100, 200, 500, 700]}',
        "{bbox_2d: [100, 200, 500, 700]}",
        '{"bbox_2d": [100, 200, /* right */ 500, 700]} // the dog',
        '{"bbox_2d": [100.00000000000000001, 2e2, 500, 700]}',
        '{"bbox_2d": [[100, 200], [500, 700]]}',
        '{"BBox 2D": [100, 200, 500, 700]}',
        '{"bbox_2d": {"y2": 700, "x2": 500, "y1": 200, "x1": 100}}',
        '{"bbox_2d": [100, 200, 500, 700], "label": "mu',
        '{"objects": [{"bbox_2d": [100, 200, 500, 700]}',
        '{"answer": "{\\"bbox_2d\\": [100, 200, 500, 700]}"}',
        '{"confidence": 0.9, "bbox_2d": [100, 200, 500, 700], "point_2d": [300, 450]}',
    ],
)
def test_json_is_read_however_it_is_written(answer: str) -> None:
    (found,) = parse(QWEN3, answer).boxes
    assert found.box == pytest.approx(Box(0.1, 0.2, 0.5, 0.7))


def test_whole_objects_before_a_cut_are_kept() -> None:
    answer = (
        '```json\n[{"bbox_2d": [100, 200, 500, 700]}, {"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5'
    )
    assert len(parse(QWEN3, answer, truncated=True).boxes) == 2


def test_a_box_is_found_where_its_value_stands() -> None:
    answer = 'Here: {"label": "[1, 2, 3, 4]", "bbox_2d": [100, 200, 500, 700]}'
    (found,) = parse(QWEN3, answer).boxes
    assert answer[found.start : found.end] == "[100, 200, 500, 700]"


def test_objects_tell_where_they_stand() -> None:
    text = "no {'a': {b: [1, 2]}} and {}"
    outer, inner = find_objects(text)
    assert (text[outer.start : outer.end], text[inner.start : inner.end]) == (
        "{'a': {b: [1, 2]}}",
        "{b: [1, 2]}",
    )
    assert (inner.parent, inner.key) == (outer, "a")


# --- What is no box -------------------------------------------------------------------------------

NOTHING = [
    "There are none.",
    "None.",
    "No such object",
    "Not found.",
    "[]",
    "[[]]",
    "{}",
    '{"bbox_2d": null}',
    '{"bbox_2d": []}',
    '{"bbox_2d": [null, null, null, null]}',
    '{"bbox_2d": "none"}',
    '[{"bbox_2d": null, "label": "the 2 mugs"}]',
    '{"objects": []}',
    '{"found": false, "count": 0}',
    "```json\n[]\n```",
]
OTHERS = {
    "": Reason.EMPTY,
    "  \n": Reason.EMPTY,
    "<think>It is at (1,2),(3,4).</think>": Reason.THOUGHT_ONLY,
    "<think>Where is it": Reason.THOUGHT_ONLY,
    "<point>723 417</point>": Reason.POINT,
    '<points x1="485" y1="607" alt="': Reason.POINT,
    '{"point_2d": [925, 618], "label": "none of the mugs"}': Reason.POINT,
    '{"bbox_2d": [925, 618]}': Reason.POINT,
    "(925, 618)": Reason.POINT,
    "<|quad_start|>(1,2),(5,2),(5,7),(1,7)<|quad_end|>": Reason.POLYGON,
    "(1,2), (5,2), (5,7)": Reason.POLYGON,
    "[1, 2, 5, 2, 5, 7, 1, 7]": Reason.POLYGON,
    '{"polygon": [[1, 2], [5, 2], [5, 7]]}': Reason.POLYGON,
    '{"bbox_2d": [[1, 2], [5, 2], [5, 7], [1, 7]]}': Reason.POLYGON,
    "The dog on the left.": Reason.NO_NUMBERS,
    "(x1,y1),(x2,y2)": Reason.NO_NUMBERS,
    "from 12 to 40 pixels": Reason.OTHER_SYNTAX,
    "x=1 y=2 z=3 w=4": Reason.OTHER_SYNTAX,
}


@pytest.mark.parametrize("dialect", [QWEN2, QWEN3], ids=lambda each: each.name)
@pytest.mark.parametrize("answer", NOTHING)
def test_nothing_found_is_refused_in_every_dialect(dialect: Dialect, answer: str) -> None:
    parsed = parse(dialect, answer)
    assert (parsed.failure, parsed.reason) == (ParseFailure.REFUSED, None)


@pytest.mark.parametrize("dialect", [QWEN2, QWEN3], ids=lambda each: each.name)
@pytest.mark.parametrize(("answer", "reason"), OTHERS.items())
def test_every_unreadable_answer_has_its_reason(
    dialect: Dialect, answer: str, reason: Reason
) -> None:
    parsed = parse(dialect, answer)
    assert (parsed.failure, parsed.reason) == (ParseFailure.UNREADABLE, reason)


def test_a_zero_box_is_a_box() -> None:
    assert len(parse(QWEN3, '{"bbox_2d": [0, 0, 0, 0]}').boxes) == 1


def test_failures_are_outcomes_of_the_same_names() -> None:
    assert {each.value for each in ParseFailure} <= {each.value for each in Outcome}
    assert explain("(1,2", truncated=True) == (ParseFailure.TRUNCATED, None)


# --- Thoughts -------------------------------------------------------------------------------------

DRAFT = "So, the mug should be around [100, 200, 500, 700]. But wait"


def test_a_draft_in_a_thought_that_the_template_opened_is_no_answer() -> None:
    assert parse(QWEN3, DRAFT, truncated=True).failure is ParseFailure.TRUNCATED
    assert len(parse(QWEN3, DRAFT).boxes) == 1, "it ended of its own accord: no thought"
    closed = msgspec.structs.replace(QWEN3, thought_opened_by_template=False)
    assert len(parse(closed, DRAFT, truncated=True).boxes) == 1


@pytest.mark.parametrize(
    "answer",
    ["[100, 200, 500, 700], which", '{"bbox_2d": [100, 200, 500, 700], "la', "```json\n[1"],
)
def test_an_answer_that_begins_with_its_box_was_not_thought_over(answer: str) -> None:
    assert not final_part(answer, opened_by_template=True, truncated=True).is_thought


@pytest.mark.parametrize("mark", QWEN3.thinking_marks, ids=lambda mark: mark.start)
def test_a_thought_is_left_out_in_all_known_marks(mark: ThinkingMarks) -> None:
    thought = f"{mark.start}maybe [1, 2, 3, 4]?"
    (found,) = parse(QWEN3, f"{thought}{mark.end}[100, 200, 500, 700]").boxes
    assert found.box == pytest.approx(Box(0.1, 0.2, 0.5, 0.7))
    assert parse(QWEN3, thought, truncated=True).failure is ParseFailure.TRUNCATED
    assert parse(QWEN3, thought).reason is Reason.THOUGHT_ONLY


def test_thinking_marks_are_not_empty() -> None:
    with pytest.raises(ValueError, match="neither of them empty"):
        ThinkingMarks("", "</think>")


# --- Images ---------------------------------------------------------------------------------------

SIZES = [Size(1008, 504), Size(560, 1120)]
IN_SECOND = Box(0.25, 0.25, 0.75, 0.75)


@pytest.mark.parametrize(
    "answer",
    [
        '[{"bbox_2d": [140, 280, 420, 840], "label": "the object in image-1"}]',
        '{"bbox_2d": [140, 280, 420, 840], "label": "image-1"}',
        "In image-2, the object shown in image-1 is located at [140, 280, 420, 840].",
        "The object in image-1 is located at [140, 280, 420, 840].",
        "[140, 280, 420, 840] matches the object in the first image",
        '{"image": 2, "label": "the object in image-1", "bbox_2d": [140, 280, 420, 840]}',
    ],
)
def test_naming_the_reference_image_does_not_move_the_box_that_was_asked_for(answer: str) -> None:
    parsed = parse(QWEN25, answer, sizes=SIZES, default_images=[1], image_is_asked=True)
    assert parsed.boxes[0].box == pytest.approx(IN_SECOND)
    is_label = "label" in answer and '"image"' not in answer
    if is_label or "image-2" in answer:
        assert parsed.boxes[0].label in (None, 1)


def test_a_field_of_its_own_and_a_box_of_the_asked_image_beside_it_do_move_a_box() -> None:
    own = '{"image": 1, "bbox_2d": [252, 126, 756, 378]}'
    both = "Image-1: [252, 126, 756, 378] Image-2: [140, 280, 420, 840]"
    for answer in (own, both):
        parsed = parse(QWEN25, answer, sizes=SIZES, default_images=[1], image_is_asked=True)
        assert parsed.boxes[0].label == 0
        assert parsed.boxes[0].box == pytest.approx(IN_SECOND)


def test_where_the_question_leaves_the_image_open_the_answer_says_it() -> None:
    parsed = parse(QWEN25, "Image-2: [140, 280, 420, 840]", sizes=SIZES, default_images=[0])
    assert (parsed.boxes[0].box, parsed.boxes[0].label) == (pytest.approx(IN_SECOND), 1)


# --- Manifests of older runs ----------------------------------------------------------------------


def test_a_dialect_as_older_manifests_hold_it_is_decoded() -> None:
    stored = {
        "name": "qwen2.5-vl",
        "title": "Qwen2.5-VL",
        "source": "somewhere",
        "status": "verified",
        "order": "xyxy",
        "scale": "pixels",
        "frame": {
            "type": "smart-resized",
            "factor": 28,
            "min_pixels": 3136,
            "max_pixels": 12845056,
        },
        "syntax": ["quad", "attributes"],
        "image": "{image}",
        "image_token": "",
        "phrase": "{phrase}",
        "box": "[{x1}, {y1}, {x2}, {y2}]",
        "format": {"released": "a", "paper": "b"},
        "format_of_step_2": None,
        "dropped_from_step_2": [],
        "model_types": ["qwen2_5_vl"],
    }
    dialect = msgspec.convert(stored, Dialect)
    (found,) = parse(dialect, "[140, 280, 420, 840]", sizes=[Size(560, 1120)]).boxes
    assert found.box == pytest.approx(IN_SECOND, abs=1e-2)
    assert msgspec.convert({**stored, "frame": {"type": "edge-limited", "longest": 9}}, Dialect)
