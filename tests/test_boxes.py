"""Geometry: the laws of IoU, and conventions that give back the box that they wrote."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.examples import examples

from migbench.boxes import (
    SCALES,
    Box,
    Convention,
    EdgeLimited,
    Frame,
    Order,
    Original,
    PaddedSquare,
    SmartResized,
    iou,
)

edges = st.floats(0, 1)
boxes = st.builds(Box, edges, edges, edges, edges)
sorted_boxes = boxes.map(Box.repaired)
wide_boxes = sorted_boxes.filter(lambda box: box.x2 - box.x1 > 1e-3 and box.y2 - box.y1 > 1e-3)
sides = st.integers(1, 4000)
sizes = st.tuples(sides, sides)


def overlap(box: Box, other: Box) -> float:
    return float(iou(box, other))


# --- intersection over union ----------------------------------------------------------------------


@given(boxes, boxes)
def test_iou_is_symmetric_and_within_0_and_1(box: Box, other: Box) -> None:
    assert overlap(box, other) == overlap(other, box)
    assert 0 <= overlap(box, other) <= 1


@given(wide_boxes)
def test_iou_of_a_box_with_itself_is_1(box: Box) -> None:
    assert overlap(box, box) == pytest.approx(1)


@given(sorted_boxes, sorted_boxes)
def test_disjoint_boxes_have_no_iou(box: Box, other: Box) -> None:
    beside = Box(other.x1 + box.x2, other.y1, other.x2 + box.x2, other.y2)
    below = Box(other.x1, other.y1 + box.y2, other.x2, other.y2 + box.y2)
    assert overlap(box, beside) == 0
    assert overlap(box, below) == 0


@given(wide_boxes, boxes)
def test_an_inverted_box_meets_nothing(box: Box, other: Box) -> None:
    assert overlap(Box(box.x2, box.y1, box.x1, box.y2), other) == 0
    assert overlap(Box(box.x1, box.y2, box.x2, box.y1), other) == 0
    assert overlap(Box(box.x2, box.y2, box.x1, box.y1), other) == 0


@given(wide_boxes, edges)
def test_iou_with_a_part_of_a_box_is_the_parts_share(box: Box, share: float) -> None:
    part = Box(box.x1, box.y1, box.x1 + share * (box.x2 - box.x1), box.y2)
    assert overlap(box, part) == pytest.approx(share, abs=1e-9)


def test_known_ious() -> None:
    assert overlap(Box(0, 0, 0.5, 0.5), Box(0.25, 0.25, 0.75, 0.75)) == pytest.approx(1 / 7)
    assert overlap(Box(0, 0, 1, 1), Box(0.25, 0.25, 0.75, 0.75)) == 0.25
    assert overlap(Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)) == 0
    assert overlap(Box(0.5, 0.5, 0.5, 0.5), Box(0.5, 0.5, 0.5, 0.5)) == 0


def test_iou_does_not_clip() -> None:
    assert overlap(Box(0, 0, 2, 1), Box(0, 0, 1, 1)) == 0.5


def test_iou_broadcasts() -> None:
    many = np.random.default_rng(0).random((5, 1, 4))
    others = np.random.default_rng(1).random((3, 4))
    table = iou(many, others)
    assert table.shape == (5, 3)
    for row, column in product(range(5), range(3)):
        assert table[row, column] == iou(many[row, 0], others[column])
    assert iou(np.empty((0, 4)), np.empty((0, 4))).shape == (0,)


@pytest.mark.parametrize("huge", [1e300, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", range(4))
def test_numbers_beyond_all_measure_give_an_iou_all_the_same(huge: float, place: int) -> None:
    box = [0.1, 0.1, 0.9, 0.9]
    box[place] = huge
    for other in (Box(0.2, 0.2, 0.4, 0.4), Box(*box)):
        assert 0 <= float(iou(box, other)) <= 1
        assert float(iou(box, other)) == float(iou(other, box))


# --- boxes ----------------------------------------------------------------------------------------


@given(st.builds(Box, *[st.floats(-2, 3)] * 4))
def test_a_repaired_box_is_sorted_and_inside_the_image(box: Box) -> None:
    repaired = box.repaired()
    assert not repaired.is_inverted
    assert not repaired.is_outside
    assert repaired.repaired() == repaired


@given(sorted_boxes)
def test_a_sound_box_needs_no_repair(box: Box) -> None:
    assert box.repaired() == box


def test_repair_sorts_each_direction_and_clips() -> None:
    assert Box(0.8, 0.1, 0.2, 0.9).repaired() == (0.2, 0.1, 0.8, 0.9)
    assert Box(0.1, 0.9, 0.3, 0.4).repaired() == (0.1, 0.4, 0.3, 0.9)
    assert Box(-0.1, 0.2, 1.048, 0.4).repaired() == (0, 0.2, 1, 0.4)


def test_what_can_be_said_of_a_box() -> None:
    assert Box(-0.01, 0, 1, 1).is_outside
    assert Box(0, 0, 1, 1.01).is_outside
    assert not Box(0, 0, 1, 1).is_outside
    assert Box(0.5, 0, 0.4, 1).is_inverted
    assert Box(0, 0.5, 1, 0.4).is_inverted
    assert not Box(0, 0, 1, 1).is_inverted
    assert not Box(0.5, 0, 0.5, 1).has_area
    assert not Box(0, 0.5, 1, 0.5).has_area
    assert Box(0, 0, 0.1, 0.1).has_area


# --- conventions ----------------------------------------------------------------------------------

FRAMES: tuple[Frame, ...] = (
    Original(),
    SmartResized(factor=28, min_pixels=56 * 56, max_pixels=28 * 28 * 1280),
    EdgeLimited(longest=1568),
    PaddedSquare(),
)
CONVENTIONS = [Convention(*parts) for parts in product(Order, SCALES, FRAMES)]


@examples(5)
@given(convention=st.sampled_from(CONVENTIONS), box=boxes, size=sizes)
def test_what_a_convention_writes_it_reads_back(
    convention: Convention, box: Box, size: tuple[int, int]
) -> None:
    written = convention.from_unit(box, size)
    assert convention.to_unit(written, size) == pytest.approx(box, abs=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_the_size_matters_just_where_it_is_said_to(convention: Convention) -> None:
    box = Box(0.1, 0.2, 0.6, 0.9)
    wide, tall = convention.from_unit(box, (800, 300)), convention.from_unit(box, (300, 800))
    assert (wide != pytest.approx(tall)) == convention.needs_size
    if convention.needs_size:
        with pytest.raises(ValueError, match="needs the image's size"):
            convention.to_unit(wide)
        with pytest.raises(ValueError, match="needs the image's size"):
            convention.from_unit(box)
    else:
        assert convention.from_unit(box) == wide
        assert convention.to_unit(wide) == pytest.approx(box)


@pytest.mark.parametrize(
    ("convention", "numbers"),
    [
        (Convention(Order.XYXY, 1000), (100, 200, 600, 900)),
        (Convention(Order.YXYX, 1000), (200, 100, 900, 600)),
        (Convention(Order.XYWH, 1000), (100, 200, 500, 700)),
        (Convention(Order.XYXY, 1), (0.1, 0.2, 0.6, 0.9)),
        (Convention(Order.XYXY, 100), (10, 20, 60, 90)),
        (Convention(Order.XYXY, 999), (99.9, 199.8, 599.4, 899.1)),
        (Convention(Order.XYXY, None), (80, 60, 480, 270)),
        (Convention(Order.XYWH, None), (80, 60, 400, 210)),
        (Convention(Order.XYXY, None, FRAMES[1]), (81.2, 61.6, 487.2, 277.2)),
        (Convention(Order.YXYX, None, FRAMES[1]), (61.6, 81.2, 277.2, 487.2)),
        (Convention(Order.XYXY, 1000, FRAMES[1]), (100, 200, 600, 900)),
        (Convention(Order.XYXY, None, EdgeLimited(longest=400)), (40, 30, 240, 135)),
        (Convention(Order.XYXY, None, EdgeLimited(longest=4000)), (80, 60, 480, 270)),
        (Convention(Order.XYXY, None, PaddedSquare()), (80, 310, 480, 520)),
        (Convention(Order.XYXY, 1, PaddedSquare()), (0.1, 0.3875, 0.6, 0.65)),
        (Convention(Order.XYXY, 1000, PaddedSquare()), (100, 387.5, 600, 650)),
    ],
    ids=str,
)
def test_one_box_as_conventions_write_it(
    convention: Convention, numbers: tuple[float, float, float, float]
) -> None:
    """The box on an image of 800 by 300 pixels."""
    size, box = (800, 300), Box(0.1, 0.2, 0.6, 0.9)
    assert convention.from_unit(box, size) == pytest.approx(numbers)
    assert convention.to_unit(numbers, size) == pytest.approx(box)


def test_conventions_say_what_they_are() -> None:
    assert str(Convention()) == "xyxy, 0-1000"
    assert str(Convention(Order.YXYX, None, PaddedSquare())) == "yxyx, pixels of PaddedSquare"


# --- resize rules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((1000, 500), (1008, 504)),
        ((560, 1120), (560, 1120)),
        ((2000, 1000), (1400, 700)),
        ((20, 20), (56, 56)),
        ((100, 10), (196, 28)),
    ],
)
def test_smart_resizing_by_example(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    frame = SmartResized(factor=28, min_pixels=56 * 56, max_pixels=28 * 28 * 1280)
    assert frame.canvas(*size)[:2] == canvas


factors = st.sampled_from([14, 28, 32])
pixel_bounds = st.tuples(st.integers(1, 400), st.integers(1, 4000)).map(sorted)


@pytest.fixture(scope="module")
def smart_resize() -> Callable[..., tuple[int, int]]:
    """The rule as transformers has it; its module without torchvision came later than the other."""
    family = "transformers.models.qwen2_vl"
    for module in ("image_processing_pil_qwen2_vl", "image_processing_qwen2_vl"):
        try:
            rule: Callable[..., tuple[int, int]]
            rule = importlib.import_module(f"{family}.{module}").smart_resize
        except ImportError:
            continue
        return rule
    pytest.skip("transformers is not installed, or not with what its image processor needs")


@given(size=sizes, factor=factors, bounds=pixel_bounds)
def test_smart_resizing_is_that_of_transformers(
    smart_resize: Callable[..., tuple[int, int]],
    size: tuple[int, int],
    factor: int,
    bounds: list[int],
) -> None:
    width, height = size
    assume(max(size) / min(size) < 200)  # Others are refused there.
    smallest, largest = (tokens * factor**2 for tokens in bounds)
    ours = SmartResized(factor=factor, min_pixels=smallest, max_pixels=largest)
    canvas = ours.canvas(width, height)
    theirs = smart_resize(height, width, factor, smallest, largest)
    assert (canvas.height, canvas.width) == theirs


@given(size=sizes, longest=st.integers(1, 4000))
def test_an_edge_limit_keeps_the_aspect_and_never_enlarges(
    size: tuple[int, int], longest: int
) -> None:
    canvas = EdgeLimited(longest=longest).canvas(*size)
    assert max(canvas.width, canvas.height) == min(longest, max(size))
    shrink = min(1, longest / max(size))
    for side, original in zip((canvas.width, canvas.height), size, strict=True):
        assert 1 <= side <= original
        assert abs(side - original * shrink) <= 1


@given(size=sizes)
def test_padding_centres_the_image_in_a_square(size: tuple[int, int]) -> None:
    canvas = PaddedSquare().canvas(*size)
    assert canvas.width == canvas.height == max(size)
    assert (canvas.image_width, canvas.image_height) == size
    assert canvas.left * 2 + canvas.image_width == canvas.width
    assert canvas.top * 2 + canvas.image_height == canvas.height


@pytest.mark.parametrize("bounds", [(0, 100), (200, 100), (-1, 1)])
def test_bounds_that_leave_no_image_are_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="bounds of at least 1"):
        SmartResized(factor=28, min_pixels=bounds[0], max_pixels=bounds[1])
    with pytest.raises(ValueError, match="not factor 0"):
        SmartResized(factor=0, min_pixels=1, max_pixels=2)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        EdgeLimited(longest=0)


# --- Two limits at once, and bins -----------------------------------------------------------------

CLAUDE = EdgeLimited(longest=1568, patch=28, max_patches=1568)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((1000, 800), (1000, 800)),  # Within both limits.
        ((3136, 784), (1568, 392)),  # The longer side is the limit.
        ((2000, 2000), (1092, 1092)),  # The patches are: 39 x 39 of them, and 40 x 40 are too many.
    ],
)
def test_an_image_keeps_to_two_limits_at_once(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    assert CLAUDE.canvas(*size)[:2] == resized


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_size_within_two_limits_is_the_largest(width: int, height: int) -> None:
    wide, high = (int(side) for side in CLAUDE.canvas(width, height)[:2])

    def fits(wide: int, high: int) -> bool:
        return max(wide, high) <= 1568 and -(-wide // 28) * -(-high // 28) <= 1568

    assert fits(wide, high)
    longer = max(wide, high)
    if longer < max(width, height):
        shrink = (longer + 1) / max(width, height)
        assert not fits(max(1, round(width * shrink)), max(1, round(height * shrink)))


@pytest.mark.parametrize(("patch", "most"), [(28, None), (None, 9), (0, 9), (28, 0)])
def test_limits_that_leave_no_image_are_refused(patch: int | None, most: int | None) -> None:
    with pytest.raises(ValueError, match="patch"):
        EdgeLimited(longest=9, patch=patch, max_patches=most)


@pytest.mark.parametrize("order", Order)
def test_bins_stand_for_their_middle_in_every_order(order: Order) -> None:
    convention = Convention(order, 1000, offset=0.5)
    box = Box(0.1005, 0.2005, 0.3005, 0.4005)
    assert convention.to_unit(convention.from_unit(box)) == pytest.approx(box)
    assert Convention(scale=1000, offset=0.5).to_unit([100, 200, 300, 400]) == pytest.approx(box)
