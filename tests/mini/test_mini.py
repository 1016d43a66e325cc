"""What MIG-Mini promises: the same bytes every time, exact boxes, one answer a question."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from migbench.errors import UsageError
from migbench.messages import Size
from migbench.mini import (
    FILE_NAME,
    SPLITS,
    TASKS,
    ImageSet,
    Plan,
    Split,
    plan,
    render,
    scene,
    scenes,
)
from migbench.mini.backdrops import PALETTES, PATTERNS, Backdrop
from migbench.mini.composites import COMPOSITES, FUNCTIONS
from migbench.mini.drawing import MARKER, draw_page, marker_width
from migbench.mini.scene import Ask, Box, Cutting, Item, Look, Page, View
from migbench.mini.shapes import COLOURS, FAMILIAR, NOVEL, OUTLINES
from migbench.mini.splits import named_looks, nameless_looks, stream

EVERY_TASK = pytest.mark.parametrize("task", TASKS)
EVERY_SPLIT = pytest.mark.parametrize("split", SPLITS)

NAMELESS = (
    "diff",
    "view_diff",
    "common_object",
    "object_tracking",
    "multi_view",
    "region",
    "refer_grounding",
)
NAMED = ("group_grounding", "reasoning")
MARKED = ("object_tracking", "multi_view", "correspondence")

PLAIN = Backdrop("linen", "plain", tilt=0.0, shade=0.2, contrast=0.0, phase=0.0)

Pixels = NDArray[np.uint8]


@cache
def drawn(task: str, split: Split = "test") -> tuple[ImageSet, ...]:
    return tuple(scene(task, index, split=split) for index in range(4))


@cache
def planned(task: str, split: Split = "test") -> tuple[Plan, ...]:
    return tuple(plan(task, index, split=split) for index in range(25))


def pages(plan: Plan) -> list[Page]:
    return [page for page in plan.pages if isinstance(page, Page)]


def target_items(plan: Plan, ask: Ask) -> list[Item]:
    page = plan.pages[ask.page]
    assert isinstance(page, Page)
    assert isinstance(ask.target, tuple)
    return [page.items[place] for place in ask.target]


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def around(mask: NDArray[np.bool_]) -> NDArray[np.int_]:
    """left, top, right, bottom of the true pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def in_pixels(answer: tuple[float, ...], image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(np.array(answer) * np.array([*image.size, *image.size]))


def reference_box(text: str) -> tuple[float, ...]:
    found = re.search(r"<\|box_start\|>\((\d+),(\d+)\),\((\d+),(\d+)\)<\|box_end\|>", text)
    assert found, text
    return tuple(int(value) / 1000 for value in found.groups())


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=3)
    return folder


def records(folder: Path) -> list[dict[str, object]]:
    loaded = json.loads((folder / FILE_NAME).read_text("utf-8"))
    assert isinstance(loaded, list)
    return loaded


class TestFiles:
    def test_the_same_seed_gives_the_same_bytes(self, mini: Path, tmp_path: Path) -> None:
        assert render(tmp_path, per_task=3) == tmp_path / FILE_NAME
        assert digests(tmp_path) == digests(mini)

    def test_fewer_instances_are_the_first_ones_of_more(self, mini: Path, tmp_path: Path) -> None:
        render(tmp_path, per_task=2)
        more, fewer = records(mini), records(tmp_path)
        for number, task in enumerate(TASKS):
            assert fewer[2 * number : 2 * number + 2] == more[3 * number : 3 * number + 2], task
        images = {name: d for name, d in digests(tmp_path).items() if name.endswith(".png")}
        assert images.items() <= digests(mini).items()

    def test_every_task_has_exactly_as_many_instances_as_asked_for(self, mini: Path) -> None:
        assert [record["task"] for record in records(mini)] == [
            task for task in TASKS for _ in range(3)
        ]

    def test_records_have_the_keys_and_types_of_mig_data(self, mini: Path) -> None:
        for record in records(mini):
            assert list(record) == [
                "task",
                "images",
                "question",
                "answer",
                "additional_info",
                "need_format",
            ]
            answer, task = record["answer"], record["task"]
            assert isinstance(answer, list)
            assert all(isinstance(value, float) and value == round(value, 3) for value in answer)
            assert record["need_format"] is (task not in ("object_tracking", "group_grounding"))

    def test_the_file_has_one_record_a_line(self, mini: Path) -> None:
        first, *lines, last = (mini / FILE_NAME).read_text("utf-8").splitlines()
        assert (first, last) == ("[", "]")
        assert [json.loads(line.rstrip(",")) for line in lines] == records(mini)

    def test_every_named_image_is_there_and_no_other(self, mini: Path) -> None:
        named: set[str] = set()
        for record in records(mini):
            paths = record["images"]
            assert isinstance(paths, list)
            assert all(str(path).startswith(f"./images/{record['task']}/") for path in paths)
            named |= {str(path).removeprefix("./") for path in paths}
        assert {name for name in digests(mini) if name != FILE_NAME} == named
        for name in named:
            with Image.open(mini / name) as image:
                assert (image.format, image.mode) == ("PNG", "RGB")

    def test_rendering_again_changes_nothing_and_restores_lost_images(self, tmp_path: Path) -> None:
        render(tmp_path, per_task=1)
        before = digests(tmp_path)
        (tmp_path / "images" / "diff" / "00000_2.png").unlink()
        render(tmp_path, per_task=1)
        assert digests(tmp_path) == before

    def test_another_mini_in_the_folder_is_kept_and_the_remedy_named(self, tmp_path: Path) -> None:
        (tmp_path / FILE_NAME).write_text("[]", "utf-8")
        with pytest.raises(UsageError, match=r"another MIG-Mini.*choose an empty folder"):
            render(tmp_path, per_task=1)
        assert digests(tmp_path).keys() == {FILE_NAME}
        assert records(tmp_path) == []

    def test_an_empty_file_is_no_obstacle(self, tmp_path: Path) -> None:
        (tmp_path / FILE_NAME).touch()
        render(tmp_path, per_task=1)
        assert len(records(tmp_path)) == len(TASKS)


class TestScenes:
    @EVERY_TASK
    def test_seed_split_and_index_each_give_other_scenes(self, task: str) -> None:
        sets = (
            *drawn(task)[:2],
            scene(task, 0, seed=1),
            scene(task, 0, split="train"),
        )
        images = {image.tobytes() for each in sets for image in each.images}
        assert len(images) == sum(len(each.images) for each in sets)
        assert len({each.questions for each in sets}) == len(sets)

    def test_they_are_drawn_in_any_order_and_from_any_place(self) -> None:
        late = next(scenes("region", start=4))
        third, fourth, fifth = itertools.islice(scenes("region", start=2), 3)
        assert late.questions == fifth.questions == scene("region", 4).questions
        assert [i.tobytes() for i in late.images] == [i.tobytes() for i in fifth.images]
        assert len({third.questions, fourth.questions, fifth.questions}) == 3


class TestUsage:
    def test_impossible_requests_are_refused_before_anything_is_written(
        self, tmp_path: Path
    ) -> None:
        with pytest.raises(UsageError, match="ask for 1 or more"):
            render(tmp_path, per_task=0)
        with pytest.raises(UsageError, match="from 0 on"):
            render(tmp_path, seed=-1)
        with pytest.raises(UsageError, match="test or train"):
            render(tmp_path, split="validation")  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())

    def test_unknown_tasks_are_named(self) -> None:
        with pytest.raises(UsageError, match=r"no task 'tracking'.*object_tracking"):
            scene("tracking", 0)


WORDINGS = {
    "diff": r"Compare these two images carefully and give me the coordinates of their "
    r"difference\. ",
    "view_diff": r"Compare these two images carefully and give me the coordinates of their real "
    r"difference in the second image\.  Find it and locate it in the second image\. ",
    "common_object": r"These images share one object in common\. Recognize and locate this object "
    r"in the (\d)th image\. ",
    "object_tracking": r"These are a sequence of images containing moving objects\. For the object "
    r"in the first image marked with red bounding box\(<\|box_start\|>\(\d+,\d+\),\(\d+,\d+\)"
    r"<\|box_end\|>\), please locate it in the (\d)th image\. ",
    "multi_view": r"These images share one object in common\(the object marked with red bounding "
    r"box in the first image\(<\|box_start\|>\(\d+,\d+\),\(\d+,\d+\)<\|box_end\|>\)\. Recognize "
    r"and locate this object in the (\d)th image\. ",
    "region": r"You are given a source image followed by its several regions\. Please locate the "
    r"(\d)th region picture in the source image\. ",
    "refer_grounding": r"Find and locate where does the object in image-1 locate in the image-2\.",
    "group_grounding": r".*: <\|object_ref_start\|>an? [a-z ]+<\|object_ref_end\|>\.",
    "reasoning": r".*Image-1.*\? Find it and locate it in the second image\. ",
    "correspondence": r"You are now presented with two objects\. For the area marked by the red "
    r"bounding box in the first image, identify and locate the corresponding area in the second "
    r"image that serves a similar function or shares a similar meaning\. ",
}


class TestQuestions:
    @EVERY_TASK
    def test_the_wording_is_mig_benchs(self, task: str) -> None:
        for image_set in drawn(task):
            for question in image_set.questions:
                assert re.fullmatch(WORDINGS[task], question.text)

    @EVERY_TASK
    def test_every_image_that_can_be_asked_for_is_asked_for(self, task: str) -> None:
        for image_set in drawn(task):
            count = len(image_set.images)
            numbers = [
                int(found[1])
                for question in image_set.questions
                if (found := re.fullmatch(WORDINGS[task], question.text)) and found.re.groups
            ]
            asked = [question.image for question in image_set.questions]
            if task == "common_object":
                assert numbers == list(range(1, count + 1))
                assert asked == list(range(count))
            elif task in ("object_tracking", "multi_view"):
                assert numbers == list(range(2, count + 1))
                assert asked == list(range(1, count))
            elif task == "region":
                assert numbers == list(range(1, count))
                assert asked == [0] * (count - 1)
            elif task == "group_grounding":
                assert asked == list(range(count))
            elif task == "diff":
                assert asked in ([0], [1])
            else:
                assert asked == [1]

    @pytest.mark.parametrize(
        ("task", "counts"),
        [
            ("diff", {2}),
            ("view_diff", {2}),
            ("common_object", {3, 4, 5}),
            ("object_tracking", {6}),
            ("multi_view", {2, 3, 4, 5, 6}),
            ("region", {2, 3, 4}),
            ("refer_grounding", {2}),
            ("group_grounding", {3, 4, 5}),
            ("reasoning", {2}),
            ("correspondence", {2}),
        ],
    )
    def test_sets_have_as_many_images_as_in_mig_bench(self, task: str, counts: set[int]) -> None:
        assert {len(each.pages) for each in planned(task)} == counts

    def test_group_grounding_names_image_and_box_beside_the_question(self) -> None:
        ordinals = ("first", "second", "third", "fourth", "fifth")
        for image_set in drawn("group_grounding"):
            for question in image_set.questions:
                x1, y1, x2, y2 = (round(1000 * value) for value in question.answer)
                assert question.additional_info == (
                    f"It is in the {ordinals[question.image]} image. "
                    f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>. "
                )

    def test_reasoning_repeats_its_rule_without_the_suffix(self) -> None:
        for image_set in drawn("reasoning"):
            for question in image_set.questions:
                suffix = " Find it and locate it in the second image. "
                assert question.additional_info + suffix == question.text


class TestAnswers:
    @EVERY_TASK
    @EVERY_SPLIT
    def test_boxes_lie_in_the_image_with_sorted_corners(self, task: str, split: Split) -> None:
        for image_set in drawn(task, split):
            for question in image_set.questions:
                x1, y1, x2, y2 = question.answer
                assert 0 <= x1 < x2 <= 1
                assert 0 <= y1 < y2 <= 1

    @EVERY_TASK
    @EVERY_SPLIT
    def test_targets_are_neither_tiny_nor_found_by_the_whole_image(
        self, task: str, split: Split
    ) -> None:
        boxes = np.array(
            [question.answer for each in drawn(task, split) for question in each.questions]
        )
        sides = boxes[:, 2:] - boxes[:, :2]
        assert sides.min() > (0.12 if task == "correspondence" else 0.15)
        assert np.mean(sides.prod(axis=1) >= 0.5) < 0.1
        assert sides.prod(axis=1).max() < 0.35

    @pytest.mark.parametrize("kind", OUTLINES)
    def test_a_box_is_the_extent_of_what_was_drawn(self, kind: str) -> None:
        for width, height, turn, colour in ((23, 31, 0.0, "red"), (70, 58, 17.0, "black")):
            box = Box(9, 14, 9 + width, 14 + height)
            item = Item(Look(kind, colour), box, turn)
            empty, _ = draw_page(Page(Size(100, 90), PLAIN, ()))
            image, (extent,) = draw_page(Page(Size(100, 90), PLAIN, (item,)))
            seen = around((pixels(image) != pixels(empty)).any(axis=2))
            measured = np.array([extent.left, extent.top, extent.right, extent.bottom])
            assert np.abs(seen - measured).max() <= 1
            assert np.abs(seen - [box.left, box.top, box.right, box.bottom]).max() <= 1

    def test_a_box_leaves_out_what_is_covered(self) -> None:
        below = Item(Look("square", "red"), Box(10, 10, 50, 50))
        above = Item(Look("square", "blue"), Box(30, 5, 70, 60))
        _, (left_over, whole) = draw_page(Page(Size(100, 90), PLAIN, (below, above)))
        assert left_over == Box(10, 10, 30, 50)
        assert whole == above.box

    @pytest.mark.parametrize("task", [task for task in TASKS if task != "region"])
    @EVERY_SPLIT
    def test_an_answer_is_where_the_image_would_change_without_the_target(
        self, task: str, split: Split
    ) -> None:
        for each, image_set in zip(planned(task, split)[:2], drawn(task, split), strict=False):
            for ask, question in zip(each.asks[-2:], image_set.questions[-2:], strict=True):
                page = each.pages[ask.page]
                assert isinstance(page, Page)
                targets = target_items(each, ask)
                others = tuple(item for item in page.items if item not in targets)
                without, _ = draw_page(replace(page, items=others, marked=()))
                image = image_set.images[question.image]
                changed = around((pixels(image) != pixels(without)).any(axis=2))
                assert np.abs(changed - in_pixels(question.answer, image)).max() <= 1.2

    def test_diff_is_where_the_pixels_differ(self) -> None:
        for image_set in (*drawn("diff"), *drawn("diff", "train")):
            before, after = image_set.images
            (question,) = image_set.questions
            changed = around((pixels(before) != pixels(after)).any(axis=2))
            assert np.abs(changed - in_pixels(question.answer, after)).max() <= 1

    def test_tracking_follows_the_only_thing_of_its_colour(self) -> None:
        for each, image_set in zip(
            planned("object_tracking"), drawn("object_tracking"), strict=False
        ):
            (target,) = target_items(each, each.asks[0])
            for question in image_set.questions:
                image = image_set.images[question.image]
                painted = around(_has_colour(pixels(image), target.look.colour))
                # Sharp tips are too thin to show the pure colour.
                assert np.abs(painted - in_pixels(question.answer, image)).max() < 4

    def test_a_region_picture_is_its_box_in_the_source_pixel_for_pixel(self) -> None:
        for image_set in drawn("region"):
            source, *cuttings = image_set.images
            for question, cutting in zip(image_set.questions, cuttings, strict=True):
                left, top, right, bottom = np.rint(in_pixels(question.answer, source)).astype(int)
                expected = pixels(source)[top:bottom, left:right]
                assert np.array_equal(pixels(cutting), expected)

    @pytest.mark.parametrize("task", MARKED)
    def test_the_red_box_encloses_the_reference_and_agrees_with_the_question(
        self, task: str
    ) -> None:
        for each, image_set in zip(planned(task), drawn(task), strict=False):
            first = image_set.images[0]
            width = marker_width(Size(*first.size))
            red = (pixels(first) == MARKER).all(axis=2)
            inner = around(red) + np.array([width, width, -width, -width])
            page = pages(each)[0]
            _, extents = draw_page(page)
            expected = extents[page.marked[0]]
            for place in page.marked[1:]:
                expected = expected.joined(extents[place])
            assert list(inner) == [expected.left, expected.top, expected.right, expected.bottom]
            if task == "correspondence":
                continue
            for question in image_set.questions:
                written = in_pixels(reference_box(question.text), first)
                assert np.abs(inner - written).max() <= 1

    @EVERY_TASK
    def test_nothing_but_the_marker_is_pure_red(self, task: str) -> None:
        for image_set in drawn(task):
            marked = [bool((pixels(i) == MARKER).all(axis=2).any()) for i in image_set.images]
            assert marked == [task in MARKED, *[False] * (len(marked) - 1)]


def _has_colour(image: Pixels, name: str) -> NDArray[np.bool_]:
    """Whether a pixel is a tone of the colour: from a thing's dark rim to its light upper side."""
    colour = np.array(COLOURS[name], dtype=np.float64)
    tone = image @ colour / (colour @ colour)
    apart = np.abs(image - tone[..., None] * colour).max(axis=2)
    return np.asarray((apart < 5) & (tone > 0.4) & (tone < 1.1))


class TestOneAnswer:
    # The parts of a composite touch: their boxes are measured on what is visible.
    @pytest.mark.parametrize("task", [task for task in TASKS if task != "correspondence"])
    @EVERY_SPLIT
    def test_nothing_hides_a_target(self, task: str, split: Split) -> None:
        for each in planned(task, split):
            for ask in each.asks:
                if isinstance(ask.target, Box):
                    continue
                page = each.pages[ask.page]
                assert isinstance(page, Page)
                (target,) = target_items(each, ask)
                others = [item for item in page.items if item is not target]
                assert all(target.box.overlap(item.box) == 0 for item in others)
                assert target.box.fits(page.size)

    def test_diff_edits_one_thing_in_three_ways(self) -> None:
        ways = set()
        for each in planned("diff"):
            before, after = pages(each)
            gone, come = set(before.items) - set(after.items), set(after.items) - set(before.items)
            ways.add((len(gone), len(come)))
            (target,) = target_items(each, each.asks[0])
            assert target in gone | come
            assert (before.size, before.backdrop) == (after.size, after.backdrop)
            for old, new in zip(gone, come, strict=False):
                assert (old.box, old.turn, old.look.kind) == (new.box, new.turn, new.look.kind)
        assert ways == {(0, 1), (1, 0), (1, 1)}

    def test_view_diff_changes_the_view_and_one_thing(self) -> None:
        for each in planned("view_diff"):
            before, after = pages(each)
            assert before.view == View() != after.view
            assert before.size != after.size
            (target,) = target_items(each, each.asks[0])
            old = {item.look for item in before.items}
            new = {item.look for item in after.items}
            assert new - old == {target.look}
            assert len(old - new) <= 1

    @EVERY_SPLIT
    def test_common_object_has_one_common_kind_once_an_image(self, split: Split) -> None:
        for each in planned("common_object", split):
            kinds = [[item.look.kind for item in page.items] for page in pages(each)]
            colours = [{item.look.colour for item in page.items} for page in pages(each)]
            targets = [target_items(each, ask)[0].look for ask in each.asks]
            (common,) = set.intersection(*map(set, kinds))
            assert {look.kind for look in targets} == {common}
            assert all(names.count(common) == 1 for names in kinds)
            shared = set.intersection(*colours)
            assert shared == ({targets[0].colour} if len(set(targets)) == 1 else set())

    def test_tracked_things_differ_in_colour_and_really_move(self) -> None:
        for each in planned("object_tracking"):
            frames = pages(each)
            assert len({(frame.size, frame.backdrop, frame.view) for frame in frames}) == 1
            assert 2 <= len(frames[0].items) <= 5
            for frame in frames:
                assert len({item.look.colour for item in frame.items}) == len(frame.items)
            (place,) = frames[0].marked
            track = [frame.items[place].box for frame in frames]
            assert track[0].overlap(track[-1]) < 0.3 * track[0].area
            steps = [
                np.hypot(*np.subtract(b.centre, a.centre)) for a, b in itertools.pairwise(track)
            ]
            assert max(steps) < 0.45 * max(frames[0].size)

    def test_multi_view_shows_the_marked_thing_once_in_every_view(self) -> None:
        for each in planned("multi_view"):
            first, *_ = pages(each)
            (marked,) = (first.items[place].look for place in first.marked)
            for page in pages(each):
                assert [item.look for item in page.items].count(marked) == 1
            assert all(target_items(each, ask)[0].look == marked for ask in each.asks)
            assert len({page.view for page in pages(each)}) == len(each.pages)

    def test_regions_of_one_source_show_different_things(self) -> None:
        for each in planned("region"):
            (source,) = pages(each)
            assert len({item.look for item in source.items}) == len(source.items)
            boxes = [cutting.box for cutting in each.pages if isinstance(cutting, Cutting)]
            held = [
                {item.look for item in source.items if box.overlap(item.box) == item.box.area}
                for box in boxes
            ]
            assert all(held)
            assert len(set(map(frozenset, held))) == len(held)

    def test_refer_grounding_lures_with_the_same_kind_and_the_same_colour(self) -> None:
        for each in planned("refer_grounding"):
            alone, crowd = pages(each)
            (item,) = alone.items
            looks = [other.look for other in crowd.items]
            assert len(looks) >= 5
            assert looks.count(item.look) == 1
            assert target_items(each, each.asks[0])[0].look == item.look
            others = [look for look in looks if look != item.look]
            assert item.look.kind in {look.kind for look in others}
            assert item.look.colour in {look.colour for look in others}

    @EVERY_SPLIT
    def test_a_description_fits_one_thing_of_the_whole_group(self, split: Split) -> None:
        words = set()
        for each in planned("group_grounding", split):
            for ask in each.asks:
                phrase = re.search(r"start\|>an? (.+)<\|", ask.wording)
                assert phrase
                *size_word, colour, kind = phrase[1].split()
                words |= set(size_word)
                fitting = [
                    item
                    for page in pages(each)
                    for item in page.items
                    if item.look == Look(kind, colour)
                    and _called(item.box, page.size) in (size_word or ["small", "", "large"])
                ]
                assert fitting == target_items(each, ask)
        assert words == {"small", "large"}

    def test_pairs_told_apart_by_size_alone_differ_plainly(self) -> None:
        pairs = 0
        for each in planned("group_grounding"):
            for page in pages(each):
                for one, other in itertools.combinations(page.items, 2):
                    if one.look == other.look:
                        pairs += 1
                        areas = sorted((one.box.area, other.box.area))
                        assert areas[1] > 1.8 * areas[0]
        assert pairs >= 5

    @EVERY_SPLIT
    def test_every_rule_of_reasoning_yields_the_answer_and_no_other(self, split: Split) -> None:
        used = set()
        for each in planned("reasoning", split):
            (ask,) = each.asks
            first, second = pages(each)
            (rule,) = (begin for begin in RULES if ask.wording.startswith(begin))
            used.add(rule)
            assert RULES[rule](ask.wording, first, second) == target_items(each, ask)
        assert used == set(RULES)

    @EVERY_SPLIT
    def test_corresponding_parts_do_the_same_job(self, split: Split) -> None:
        jobs = set()
        for each in planned("correspondence", split):
            first, second = pages(each)
            marked = {_job(first.items[place]) for place in first.marked}
            found = {_job(item) for item in target_items(each, each.asks[0])}
            assert marked == found
            jobs |= found
            (job,) = found
            targets = target_items(each, each.asks[0])
            assert [item for item in second.items if _job(item) == job] == targets
            assert [i.look.kind for i in first.items] != [i.look.kind for i in second.items]
        assert jobs == set(FUNCTIONS)


def _called(box: Box, size: Size) -> str:
    share = box.area**0.5 / max(size)
    return "small" if share < 0.22 else "large" if share > 0.31 else ""


def _job(item: Item) -> str:
    jobs = {"wheel": "wheels", "lid": "lid", "rod": "handle", "grip": "handle", "hoop": "handle"}
    return jobs.get(item.look.kind.split()[0], "body")


def _same_colour(question: str, first: Page, second: Page) -> list[Item]:
    (clue,) = (item.look for item in first.items)
    assert any(item.look.kind == clue.kind for item in second.items)
    return [
        item
        for item in second.items
        if item.look.colour == clue.colour and item.look.kind != clue.kind
    ]


def _same_shape(question: str, first: Page, second: Page) -> list[Item]:
    (clue,) = (item.look for item in first.items)
    assert any(item.look.colour == clue.colour for item in second.items)
    return [
        item
        for item in second.items
        if item.look.kind == clue.kind and item.look.colour != clue.colour
    ]


def _newcomer(question: str, first: Page, second: Page) -> list[Item]:
    known = {item.look for item in first.items}
    assert known < {item.look for item in second.items}
    return [item for item in second.items if item.look not in known]


def _next_in_row(question: str, first: Page, second: Page) -> list[Item]:
    row = [item.look for item in sorted(first.items, key=lambda item: item.box.left)]
    period = row[1:].index(row[0]) + 1
    assert all(look == row[place % period] for place, look in enumerate(row))
    return [item for item in second.items if item.look == row[len(row) % period]]


def _farthest(question: str, first: Page, second: Page) -> list[Item]:
    (arrow,) = first.items
    x, y = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[round(arrow.turn)]
    assert arrow.look.kind == "arrow"

    def reach(item: Item) -> float:
        return item.box.centre[0] * x + item.box.centre[1] * y

    ranked = sorted(second.items, key=reach)
    assert reach(ranked[-1]) > reach(ranked[-2]) + 0.1 * min(second.size)
    return ranked[-1:]


def _extreme(question: str, first: Page, second: Page) -> list[Item]:
    (clue,) = (item.look for item in first.items)
    alike = [item for item in second.items if item.look.colour == clue.colour]
    alike.sort(key=lambda item: item.box.area, reverse="largest" in question)
    assert len(alike) >= 2
    return alike[:1]


RULES: dict[str, Callable[[str, Page, Page], list[Item]]] = {
    "Which object in Image-2 has the colour of the object in Image-1": _same_colour,
    "Which object in Image-2 has the shape of the object in Image-1": _same_shape,
    "All objects of Image-1 came to Image-2": _newcomer,
    "The objects in Image-1 take turns from left to right": _next_in_row,
    "Which object in Image-2 lies farthest in the direction of the arrow": _farthest,
    "Of the objects in Image-2 with the colour of the object in Image-1": _extreme,
}
"""How each rule begins, and what follows from it: solved here independently of the renderer."""


class TestSplits:
    def test_random_numbers_depend_on_seed_split_task_and_index(self) -> None:
        streams = (
            stream(0, "test", "diff", 0),
            stream(1, "test", "diff", 0),
            stream(0, "train", "diff", 0),
            stream(0, "test", "region", 0),
            stream(0, "test", "diff", 1),
        )
        assert len({rng.random() for rng in streams}) == len(streams)
        assert stream(0, "test", "diff", 0).random() == stream(0, "test", "diff", 0).random()

    @pytest.mark.parametrize("task", NAMELESS)
    def test_scenes_without_names_share_no_kind(self, task: str) -> None:
        kinds = {
            split: {
                i.look.kind for each in planned(task, split) for p in pages(each) for i in p.items
            }
            for split in SPLITS
        }
        assert kinds["train"] <= set(FAMILIAR)
        assert kinds["test"] <= set(NOVEL)
        assert not set(FAMILIAR) & set(NOVEL)

    @pytest.mark.parametrize("task", NAMED)
    def test_scenes_with_names_share_no_combination_but_every_word(self, task: str) -> None:
        looks = {
            split: {i.look for each in planned(task, split) for p in pages(each) for i in p.items}
            for split in SPLITS
        }
        assert not looks["test"] & looks["train"]
        assert {look.kind for look in looks["test"]} <= {look.kind for look in looks["train"]}
        assert {look.colour for look in looks["test"]} <= {look.colour for look in looks["train"]}

    def test_composites_are_divided_and_serve_every_function_twice(self) -> None:
        assert not set(COMPOSITES["test"]) & set(COMPOSITES["train"])
        for things in COMPOSITES.values():
            for job in FUNCTIONS:
                assert sum(job in thing.functions for thing in things.values()) >= 2

    def test_there_are_enough_kinds_and_colours(self) -> None:
        assert len(FAMILIAR) >= 12
        assert len(NOVEL) >= 5
        assert len(COLOURS) >= 8
        for split in SPLITS:
            assert len(nameless_looks(split)) >= 64
            assert len(named_looks(split)) >= 32


class TestImages:
    @EVERY_TASK
    def test_sizes_are_wide_tall_and_square(self, task: str) -> None:
        sizes = [page.size for each in planned(task) for page in pages(each)]
        ratios = np.array([size.width / size.height for size in sizes])
        assert min(map(min, sizes)) >= 112
        assert max(map(max, sizes)) <= 336
        bound = 1.1 if task == "correspondence" else 1.2
        assert (ratios > bound).any()
        assert (ratios < 1 / bound).any()
        assert (np.abs(ratios - 1) < 0.06).any()
        assert len(set(sizes)) > 20

    @EVERY_TASK
    def test_images_of_a_set_differ_in_size_where_the_task_allows_it(self, task: str) -> None:
        alike = [len({image.size for image in each.images}) == 1 for each in drawn(task)]
        assert all(alike) if task in ("diff", "object_tracking") else not any(alike)

    @pytest.mark.parametrize("palette", PALETTES)
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_the_ground_tells_the_place(self, palette: str, pattern: str) -> None:
        for tilt in (-15.0, 15.0):
            backdrop = Backdrop(palette, pattern, tilt, shade=0.2, contrast=7.0, phase=1.0)
            levels = pixels(backdrop.render(Size(180, 120))).astype(np.float64)
            warmth, light = levels[..., 0] / levels.sum(axis=2), levels.sum(axis=2)
            columns = [part.mean() for part in np.array_split(warmth, 4, axis=1)]
            rows = [part.mean() for part in np.array_split(light, 4, axis=0)]
            assert columns == sorted(columns)
            assert rows == sorted(rows, reverse=True)

    def test_the_pattern_moves_with_the_view_and_the_light_stays(self) -> None:
        striped = Backdrop("linen", "stripes", 0.0, shade=0.2, contrast=7.0, phase=0.0)
        still, moved = (
            pixels(striped.render(Size(120, 120), view)) for view in (View(), View(right=0.1))
        )
        plain = pixels(PLAIN.render(Size(120, 120))).astype(np.int_)
        shifted = np.roll(still - plain, 12, axis=1)[:, 12:]
        assert np.abs(shifted - (moved - plain)[:, 12:]).max() <= 1
        assert not np.array_equal(still, moved)
