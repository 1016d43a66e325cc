"""What becomes of a target: its outcome, the flags beside it, and which box and truth count."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.answer_lines import answer_line
from support.sample_scores import RIGHT, TRUTH, WRONG, instance, sample_score

from migbench.asking.evaluators.polling import polling
from migbench.asking.questions import Asked, Purpose, Question, Strategy, Turn
from migbench.asking.strategies import find_strategy
from migbench.boxes import Box
from migbench.dialects import find_dialect
from migbench.errors import DataError
from migbench.messages import ImageFile
from migbench.models.corrections import Correction
from migbench.runs.answer_lines import AnswerLine
from migbench.scoring import PROTOCOLS, Flag, Outcome, Scorer
from migbench.tasks import Noun

SCALING = Correction(y1=1.05, y2=1.10, max=0.999, digits=3)

every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


# --- outcomes: the first that applies -------------------------------------------------------------


@every_protocol
@pytest.mark.parametrize(
    ("text", "truncated", "outcome"),
    [
        pytest.param(None, False, Outcome.MODEL_ERROR, id="no-answer"),
        pytest.param(None, True, Outcome.MODEL_ERROR, id="no-answer-outranks-all"),
        pytest.param("(200,200),(60", True, Outcome.TRUNCATED, id="cut-off"),
        pytest.param("I cannot find it, as", True, Outcome.TRUNCATED, id="cut-off-in-a-refusal"),
        pytest.param("I cannot find it.", False, Outcome.REFUSED, id="refusal"),
        pytest.param("The dog sits left.", False, Outcome.UNREADABLE, id="no-box"),
        pytest.param("", False, Outcome.UNREADABLE, id="empty"),
        pytest.param(RIGHT, False, Outcome.HIT, id="hit"),
        pytest.param(RIGHT, True, Outcome.HIT, id="hit-before-the-cut"),
        pytest.param(f"Sorry for the wait: {RIGHT}", False, Outcome.HIT, id="polite-hit"),
        pytest.param(WRONG, False, Outcome.MISS, id="miss"),
    ],
)
def test_outcome(protocol: str, text: str | None, truncated: bool, outcome: Outcome) -> None:
    sample = sample_score(text, truncated=truncated, protocol=protocol)
    assert sample.outcome is outcome
    assert (sample.prediction.box is None) == (outcome not in (Outcome.HIT, Outcome.MISS))
    assert sample.iou == pytest.approx(1 if outcome is Outcome.HIT else 0)


@every_protocol
def test_an_iou_of_exactly_one_half_is_a_hit(protocol: str) -> None:
    whole = instance(box=Box(0, 0, 1, 1))
    half, less = "(0,0),(500,1000)", "(0,0),(499,1000)"
    assert sample_score(half, target=whole, protocol=protocol).outcome is Outcome.HIT
    assert sample_score(less, target=whole, protocol=protocol).outcome is Outcome.MISS


def test_a_question_that_was_never_asked_has_no_answer() -> None:
    scorer = Scorer(PROTOCOLS["standard"], find_dialect("qwen2-vl"), find_strategy("direct"))
    (sample,) = scorer.score(polling([instance()]), {})
    assert sample.outcome is Outcome.MODEL_ERROR
    assert sample.line is None


def two_turns(question: Question) -> Strategy:
    described = yield Turn(Purpose.DIRECT, "Describe the target.", (0,))
    yield Turn(Purpose.DIRECT, f"Find {described}.", (0, 1), grounds=(0,))


def test_the_last_turns_answer_is_the_one_that_counts() -> None:
    scorer = Scorer(PROTOCOLS["standard"], find_dialect("qwen2-vl"), two_turns)
    (question,) = polling([instance()])
    first = answer_line(question.id, turn=0, text=RIGHT)
    last = answer_line(question.id, turn=1, text=WRONG)
    failed = answer_line(question.id, turn=1, error="out of memory")

    def outcome(*lines: AnswerLine) -> Outcome:
        (sample,) = scorer.score([question], {(one.question, one.turn): one for one in lines})
        return sample.outcome

    assert outcome(first, last) is Outcome.MISS
    assert outcome(first, failed) is Outcome.MODEL_ERROR
    assert outcome(first) is Outcome.MODEL_ERROR


# --- flags change nothing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "outcome", "flags"),
    [
        pytest.param(RIGHT, Outcome.HIT, (), id="none"),
        pytest.param(RIGHT + WRONG, Outcome.HIT, (Flag.EXTRA_BOXES,), id="extra"),
        pytest.param(f"In the third image: {RIGHT}", Outcome.HIT, (Flag.WRONG_IMAGE,), id="image"),
        pytest.param(f"In the second image: {RIGHT}", Outcome.HIT, (), id="right-image"),
        pytest.param("(200,-10),(600,600)", Outcome.HIT, (Flag.OUTSIDE_IMAGE,), id="outside"),
        pytest.param("(200,200),(200,600)", Outcome.MISS, (Flag.ZERO_AREA,), id="zero-area"),
        pytest.param(
            "Image-1: (0,0),(0,2000) (1,1),(2,2)",
            Outcome.MISS,
            (Flag.EXTRA_BOXES, Flag.WRONG_IMAGE, Flag.OUTSIDE_IMAGE, Flag.ZERO_AREA),
            id="all-at-once",
        ),
    ],
)
def test_flags(text: str, outcome: Outcome, flags: tuple[Flag, ...]) -> None:
    sample = sample_score(text)
    assert sample.outcome is outcome
    assert sample.flags == flags


@pytest.mark.parametrize("protocol", ["released", "univg"])
def test_the_published_protocols_flag_further_boxes(protocol: str) -> None:
    assert sample_score(RIGHT + WRONG, protocol=protocol).flags == (Flag.EXTRA_BOXES,)
    assert sample_score(RIGHT, protocol=protocol).flags == ()


# --- which box counts -----------------------------------------------------------------------------


def test_the_box_labelled_with_the_asked_image_outranks_the_first() -> None:
    answer = f"Image-1: {WRONG} Image-2: {RIGHT}"
    assert sample_score(answer).outcome is Outcome.HIT
    assert sample_score(answer, protocol="released").outcome is Outcome.MISS


def test_without_labels_the_first_box_counts() -> None:
    assert sample_score(WRONG + RIGHT).outcome is Outcome.MISS
    assert sample_score(RIGHT + WRONG).outcome is Outcome.HIT


@pytest.mark.parametrize("target_image", [0, 1, 2])
@pytest.mark.parametrize("truth", [TRUTH, Box(0.7, 0.7, 0.9, 0.9), Box(0, 0, 0.1, 0.1)])
def test_where_the_question_names_no_image_neither_it_nor_the_truth_chooses_the_box(
    target_image: int, truth: Box
) -> None:
    """Group grounding: to find the image is part of the task."""
    target = instance(
        task="group_grounding", target_image=target_image, asked_image=None, box=truth
    )
    answer = f"Image-1: {WRONG} Image-2: {RIGHT} Image-3: (0,0),(100,100)"
    prediction = sample_score(answer, target=target).prediction
    assert prediction.box == pytest.approx((0.7, 0.7, 0.9, 0.9))
    assert prediction.named_image == 0


def test_standard_reads_the_final_answer_and_released_the_whole_text() -> None:
    answer = f"<think>{WRONG}?</think><answer>{RIGHT}</answer>"
    assert sample_score(answer).outcome is Outcome.HIT
    assert sample_score(answer, protocol="released").outcome is Outcome.MISS


def test_standard_keeps_to_the_declared_convention_and_released_guesses() -> None:
    thousandths = "[200, 200, 600, 600]"
    assert sample_score(thousandths).outcome is Outcome.UNREADABLE
    assert sample_score(thousandths, protocol="released").outcome is Outcome.HIT
    assert sample_score(thousandths, dialect="mantis").outcome is Outcome.MISS
    assert sample_score(thousandths, dialect="mantis", protocol="released").outcome is Outcome.HIT


@pytest.mark.parametrize("protocol", ["released", "univg"])
def test_the_published_protocols_take_several_boxes_in_their_order(protocol: str) -> None:
    first, second = instance(target_image=0, asked_image=0), instance(id="two", index=1)
    asked = (Asked(Noun.IMAGE, 1, (first,)), Asked(Noun.IMAGE, 2, (second,)))
    scorer = Scorer(PROTOCOLS[protocol], find_dialect("qwen2-vl"), find_strategy("direct"))
    for text, outcomes in (
        (RIGHT + WRONG, [Outcome.HIT, Outcome.MISS]),
        (RIGHT, [Outcome.HIT, Outcome.MISSING]),
    ):
        lines = {("q", 0): answer_line("q", text=text)}
        samples = scorer.score([Question("q", asked, "?")], lines)
        assert [each.outcome for each in samples] == outcomes


# --- pixels ---------------------------------------------------------------------------------------

PIXEL_BOX = '{"bbox_2d": [112, 56, 336, 168]}'
"""The truth, on an image of 560 by 280 pixels."""


def test_pixels_are_read_with_the_sizes_that_the_run_kept() -> None:
    sizes = [(28, 28), (560, 280), (28, 28)]
    assert sample_score(PIXEL_BOX, dialect="qwen2.5-vl", sizes=sizes).iou == pytest.approx(1)


def test_pixels_are_read_with_the_images_where_the_run_kept_no_sizes(tmp_path: Path) -> None:
    for name, size in {"a.png": (28, 28), "b.png": (560, 280), "c.png": (28, 28)}.items():
        Image.new("RGB", size).save(tmp_path / name)
    sample = sample_score(
        PIXEL_BOX, dialect="qwen2.5-vl", image=lambda name: ImageFile(name, tmp_path / name)
    )
    assert sample.iou == pytest.approx(1)


def test_pixels_without_sizes_or_images_cannot_be_scored_and_the_error_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"qwen2\.5-vl counts in pixels.*pass --images"):
        sample_score(PIXEL_BOX, dialect="qwen2.5-vl")


def test_other_dialects_look_at_no_image() -> None:
    def unwanted(name: str) -> ImageFile:
        raise AssertionError(name)

    assert sample_score(RIGHT, image=unwanted).outcome is Outcome.HIT


# --- defective truth ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "defective", [Box(0.6, 0.2, 0.2, 0.6), Box(0.2, 0.6, 0.6, 0.2)], ids=["x", "y"]
)
def test_inverted_truth_is_repaired_in_standard_alone(defective: Box) -> None:
    target = instance(box=defective)
    assert sample_score(RIGHT, target=target).outcome is Outcome.HIT
    assert sample_score(RIGHT, target=target).truth == TRUTH
    assert sample_score(RIGHT, target=target, protocol="released").outcome is Outcome.MISS
    assert sample_score(RIGHT, target=target, protocol="released").truth == defective


def test_truth_beyond_the_image_is_clipped_in_standard_alone() -> None:
    target = instance(box=Box(0, 0, 1.25, 1))
    assert sample_score("(0,0),(1000,1000)", target=target).iou == pytest.approx(1)
    released = sample_score("(0,0),(1000,1000)", target=target, protocol="released")
    assert released.iou == pytest.approx(0.8)


# --- corrections ----------------------------------------------------------------------------------


@every_protocol
def test_a_correction_scales_y_of_a_single_box(protocol: str) -> None:
    sample = sample_score("(200,200),(600,500)", protocol=protocol, correction=SCALING)
    assert sample.prediction.box == pytest.approx((0.2, 0.21, 0.6, 0.55))


@every_protocol
def test_a_correction_stops_short_of_the_edge(protocol: str) -> None:
    sample = sample_score("(200,980),(600,990)", protocol=protocol, correction=SCALING)
    assert sample.prediction.box == pytest.approx((0.2, 0.999, 0.6, 0.999))


@every_protocol
def test_of_several_boxes_only_the_fork_corrects_one(protocol: str) -> None:
    sample = sample_score(f"(200,200),(600,500) {WRONG}", protocol=protocol, correction=SCALING)
    corrected = protocol == "univg"
    expected = (0.2, 0.21, 0.6, 0.55) if corrected else (0.2, 0.2, 0.6, 0.5)
    assert sample.prediction.box == pytest.approx(expected)
