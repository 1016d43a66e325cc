"""The doctor's parts by themselves: flags, ranking, estimates, statistics of numbers."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from migbench.boxes import Box, Convention, Frame, Order
from migbench.checks.doctor.bias import FEWEST, estimate_bias, median, slope
from migbench.checks.doctor.conventions import (
    candidates,
    described,
    flags,
    frame_text,
    known_frames,
)
from migbench.checks.doctor.numbers import BoxNumbers, number_statistics
from migbench.checks.doctor.ranking import AnsweredBox, helps, rank
from migbench.cli.model_options import _frame, chosen_dialect, dialect_options
from migbench.dialects import Dialect, PromptSet, find_dialect, load_dialects
from migbench.dialects.syntax import Syntax
from migbench.messages import Size

EVERY = candidates(Convention())
PAIRS = (Syntax.CORNER_PAIRS,)


def test_nothing_that_scores_knows_the_doctor() -> None:
    code = (
        "import sys, migbench.scoring.scored_run, migbench.reporting.tables, migbench.dialects;"
        "print([name for name in sys.modules if name.startswith('migbench.checks.doctor')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- Flags ----------------------------------------------------------------------------------------


@click.command
@dialect_options
def parse(**options: object) -> Dialect | None:
    return chosen_dialect(options)


@pytest.mark.parametrize("frame", known_frames(), ids=frame_text)
def test_a_frame_is_written_as_the_command_line_reads_it(frame: Frame) -> None:
    assert _frame(frame_text(frame)) == frame


@pytest.mark.parametrize("dialect", load_dialects().values(), ids=lambda each: each.name)
def test_every_flag_declares_the_convention_that_it_is_for(dialect: Dialect) -> None:
    for convention in EVERY:
        for syntax in ((Syntax.QUAD,), PAIRS, dialect.syntax):
            for text in flags(dialect, convention, syntax, PromptSet.RELEASED):
                if text.startswith("--min-pixels"):
                    _, smallest, _, largest = text.split()
                    parsed: Dialect | None = dialect.with_pixels(int(smallest), int(largest))
                else:
                    parsed = parse.main(shlex.split(text), standalone_mode=False)
                assert parsed is not None
                assert parsed.convention == convention
                assert set(syntax) <= set(parsed.syntax) or text.startswith("--min-pixels")


# --- Ranking --------------------------------------------------------------------------------------

edges = st.floats(0.01, 0.99)
true_boxes = (
    st.tuples(edges, edges, edges, edges)
    .map(lambda four: Box(*four).repaired())
    .filter(lambda box: box.x2 - box.x1 > 0.05 and box.y2 - box.y1 > 0.05)
)
sizes = st.builds(Size, st.integers(50, 2000), st.integers(50, 2000))


@examples(0.3)
@given(st.lists(st.tuples(true_boxes, sizes), min_size=2, max_size=6), st.sampled_from(EVERY))
def test_exact_answers_fit_their_convention_wholly(
    scenes: list[tuple[Box, Size]], convention: Convention
) -> None:
    samples = [
        AnsweredBox(convention.from_unit(box, size), size, box, place)
        for place, (box, size) in enumerate(scenes)
    ]
    ranking = rank(samples, candidates(convention))
    assert ranking.best.convention == convention
    assert ranking.best.mean_iou == pytest.approx(1)
    assert all(each.mean_iou <= 1 for each in ranking.ranked)


@pytest.mark.parametrize("convention", EVERY[::4], ids=described)
@pytest.mark.parametrize("y", [(1, 1), (1.05, 1.10), (1 / 1.05, 1 / 1.10)], ids=str)
def test_a_model_of_middling_skill_is_not_accused(
    convention: Convention, y: tuple[float, float]
) -> None:
    """It misses a third of its targets, and is off by 3 % of the image elsewhere."""
    rng = np.random.default_rng(6)
    samples = []
    for place in range(60):
        size = Size(*(int(side) for side in np.exp(rng.uniform(np.log(80), np.log(2000), 2))))
        truth, other = (
            np.hstack([corner, corner + sides])
            for corner, sides in zip(
                rng.uniform(0.03, 0.5, (2, 2)), rng.uniform(0.18, 0.45, (2, 2)), strict=True
            )
        )
        seen = (other if rng.random() < 1 / 3 else truth) * (1, y[0], 1, y[1])
        answered = Box(*(seen + rng.normal(0, 0.03, 4)).tolist())
        samples.append(
            AnsweredBox(convention.from_unit(answered, size), size, Box(*truth.tolist()), place)
        )
    ranking = rank(samples, candidates(convention))
    assert not ranking.is_chance
    assert not ranking.of_declared.is_wrong
    if y == (1, 1):
        assert abs(ranking.of_declared.mean_iou - ranking.best.mean_iou) < 0.02


def test_pixels_and_thousandths_coincide_on_images_of_a_thousand_pixels() -> None:
    rng = np.random.default_rng(0)
    size = Size(1000, 1000)
    samples = []
    for place in range(30):
        x, y = rng.uniform(0, 0.6, 2)
        box = Box(x, y, x + 0.3, y + 0.2)
        samples.append(AnsweredBox(Convention().from_unit(box), size, box, place))
    ranking = rank(samples, EVERY)
    assert ranking.best.convention == Convention()
    equal = {tied.name for tied in ranking.tied}
    assert "xyxy, pixels" in equal
    assert "yxyx, 0-1000" not in equal


def test_one_scene_tells_nothing_of_others() -> None:
    box = Box(0.1, 0.2, 0.4, 0.9)
    ranking = rank([AnsweredBox((100, 200, 400, 900), Size(500, 300), box, 0)], EVERY)
    assert ranking.best.gap is None
    assert all(not each.is_worse for each in ranking.ranked)
    assert ranking.is_chance


# --- Estimates ------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40))
def test_a_medians_interval_holds_it(values: list[float]) -> None:
    found = median(np.array(values))
    assert min(values) <= found.low <= found.value <= found.high <= max(values)


@pytest.mark.parametrize("estimate", ["median", "slope"])
def test_intervals_hold_the_true_value_19_times_in_20(estimate: str) -> None:
    rng = np.random.default_rng(1)
    times = 400
    held = 0
    for _ in range(times):
        x = rng.uniform(0, 1, 30)
        noise = rng.standard_t(3, 30) * 0.02
        held += median(noise).holds(0) if estimate == "median" else slope(2 * x + noise, x).holds(2)
    assert 0.93 <= held / times <= 0.99


def test_a_planted_scaling_lies_in_its_intervals_19_times_in_20_whatever_the_noise() -> None:
    rng = np.random.default_rng(5)
    times = 60
    held = {"factor": 0, "scale": 0}
    false_alarms = 0
    planted = np.array([1, 1.05, 1, 1.10])
    for _ in range(times):
        corner, sides = rng.uniform(0.05, 0.5, (30, 2)), rng.uniform(0.18, 0.45, (30, 2))
        truths = np.hstack([corner, corner + sides])
        answers = truths / planted + rng.normal(0, 0.02, (30, 4))
        bias = estimate_bias(
            [Box(*each) for each in answers], [Box(*each) for each in truths], range(30), None
        )
        assert bias is not None
        assert helps(bias.y)
        false_alarms += helps(bias.x)
        for edge, factor in zip(bias.edges, planted, strict=True):
            held["factor"] += edge.factor.holds(factor)
            held["scale"] += edge.scale.holds(1 / factor)
    for count in held.values():
        assert 0.93 <= count / (4 * times) <= 0.99, held
    assert false_alarms <= 2


def test_estimates_shrug_at_wild_answers() -> None:
    rng = np.random.default_rng(2)
    truths = [Box(x, y, x + 0.2, y + 0.2) for x, y in rng.uniform(0.05, 0.7, (40, 2))]
    answers = [Box(x1, y1 / 1.05, x2, y2 / 1.10) for x1, y1, x2, y2 in truths]
    for place in range(0, 40, 8):
        answers[place] = Box(0, 0, 1, 1)
    bias = estimate_bias(answers, truths, range(40), None)
    assert bias is not None
    assert [round(edge.factor.value, 3) for edge in bias.edges] == [1, 1.05, 1, 1.1]


def test_a_shift_is_told_from_a_scale() -> None:
    rng = np.random.default_rng(3)
    truths = [Box(x, y, x + 0.2, y + 0.2) for x, y in rng.uniform(0.1, 0.7, (40, 2))]
    answers = [Box(x1 + 0.05, y1, x2 + 0.05, y2) for x1, y1, x2, y2 in truths]
    bias = estimate_bias(answers, truths, range(40), None)
    assert bias is not None
    for edge in (bias.edges[0], bias.edges[2]):
        assert edge.shift.value == pytest.approx(5)
        assert edge.offset == pytest.approx(5)
        assert edge.scale.value == pytest.approx(1)
    assert helps(bias.x)
    assert not helps(bias.y)


@examples(0.3)
@given(st.lists(st.tuples(*[st.sampled_from([-1.0, 0.0, 0.5, 1.0, 9999.0])] * 4), min_size=12))
def test_no_answer_is_too_odd_for_an_estimate(answers: list[tuple[float, ...]]) -> None:
    rng = np.random.default_rng(0)
    truths = [Box(x, y, x + 0.2, y + 0.2) for x, y in rng.uniform(0, 0.8, (len(answers), 2))]
    bias = estimate_bias([Box(*each) for each in answers], truths, range(len(answers)), None)
    assert bias is not None
    assert len(bias.edges) == 4


def test_few_boxes_make_no_estimate() -> None:
    boxes = [Box(0.1, 0.2, 0.3, 0.4)] * (FEWEST - 1)
    assert estimate_bias(boxes, boxes, range(len(boxes)), None) is None


# --- Numbers without known boxes ------------------------------------------------------------------


def boxes_on_images(convention: Convention, count: int = 300) -> list[BoxNumbers]:
    """Boxes of all sorts, written in a convention, on images of all sizes."""
    rng = np.random.default_rng(4)
    found = []
    for place in range(count):
        size = Size(*(int(side) for side in rng.integers(200, 900, 2)))
        x, y = rng.uniform(0.02, 0.6, 2)
        wide, high = rng.uniform(0.1, 0.38, 2)
        numbers = convention.from_unit(Box(x, y, x + wide, y + high), size)
        found.append(BoxNumbers(numbers, size, place // 2))
    return found


def test_numbers_that_are_what_they_should_be() -> None:
    found = number_statistics(boxes_on_images(Convention()), Convention())
    assert found is not None
    assert found.beyond == 0
    assert found.decimals == 0
    assert found.corner is not None
    assert found.corner < 50
    assert found.upright is not None
    assert found.upright[Order.XYXY] == 100
    assert found.elasticity is not None
    assert found.elasticity.holds(0)


def test_pixels_grow_with_the_image_whatever_they_are_read_as() -> None:
    pixels = boxes_on_images(Convention(scale=None))
    for declared in (Convention(), Convention(scale=None)):
        found = number_statistics(pixels, declared)
        assert found is not None
        assert found.elasticity is not None
        assert found.elasticity.holds(1)
        assert found.elasticity.low > 0.5


def test_resized_pixels_grow_with_the_resized_image() -> None:
    """Bounds of area leave every image about as large; its aspect still shows."""
    declared = find_dialect("qwen2.5-vl").with_pixels(3136, 100_000).convention
    found = number_statistics(boxes_on_images(declared), declared)
    assert found is not None
    assert found.elasticity is not None
    assert found.elasticity.holds(1)
    as_thousandths = number_statistics(boxes_on_images(declared), Convention())
    assert as_thousandths is not None
    assert as_thousandths.elasticity is not None
    assert as_thousandths.elasticity.low > 0.25
    assert as_thousandths.elasticity.high < 1


def test_without_sizes_there_is_no_elasticity_and_pixels_have_no_place() -> None:
    bare = [BoxNumbers(each.numbers, None, each.cluster) for each in boxes_on_images(Convention())]
    relative, pixels = (
        number_statistics(bare, Convention()),
        number_statistics(bare, Convention(scale=None)),
    )
    assert relative is not None
    assert pixels is not None
    assert relative.corner is not None
    assert (relative.elasticity, pixels.elasticity) == (None, None)
    assert (pixels.beyond, pixels.corner, pixels.upright) == (None, None, None)
    assert pixels.sizes_known == 0


def test_no_numbers_say_nothing() -> None:
    assert number_statistics([], Convention()) is None


def test_words_of_a_box_do_not_make_an_answer_verbose() -> None:
    from migbench.checks.doctor.answers import VERBOSE_WORDS, words_beside_box

    answer = '```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "the small red star"}]\n```'
    assert words_beside_box(answer, find_dialect("qwen3-vl")) < VERBOSE_WORDS
