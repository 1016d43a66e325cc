"""The doctor asks models whose faults are known: it finds each of them, and invents none."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from msgspec.structs import replace as with_fields
from support.doctor_fakes import ADAPTER, settings_of

from migbench.boxes import SCALES, Box, Convention, EdgeLimited, Frame, Order, iou
from migbench.checks.doctor import Diagnosis, Severity, diagnose, diagnosis_report, prepare
from migbench.checks.doctor.conventions import candidates, described, known_frames, plain
from migbench.checks.doctor.ranking import NEGLIGIBLE, helps
from migbench.checks.doctor.scenes import FILE_NAME, SIDES, Kind, kind_of, write_scenes
from migbench.cli.model_options import chosen_dialect, dialect_options
from migbench.dialects import Dialect, find_dialect, load_dialects, parse
from migbench.dialects.syntax import Syntax
from migbench.messages import ImageFile, Size
from migbench.models.corrections import Correction
from migbench.models.resolving import Model, Overrides, resolve_model
from migbench.runs.execution import execute
from migbench.runs.plan import Plan
from migbench.runs.store import Run
from migbench.scoring import Outcome

QWEN = find_dialect("qwen2-vl")
EVERY = candidates(Convention())

Examine = Callable[..., Diagnosis]


def fake(dialect: Dialect = QWEN, **faults: Any) -> Model:
    overrides = Overrides(adapter=ADAPTER, dialect=dialect, settings=faults)
    return resolve_model("fake", overrides)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return prepare(fake(), tmp_path_factory.mktemp("scenes"), 40)


@pytest.fixture
def examine(scenes: Plan, tmp_path: Path) -> Examine:
    """Asks a fake of these faults, declared as this dialect."""

    def asked(
        dialect: Dialect = QWEN, corrections: Correction | None = None, **faults: Any
    ) -> Diagnosis:
        model = with_fields(fake(dialect, **faults), corrections=corrections)
        plan = replace(scenes, settings=with_fields(scenes.settings, model=model))
        execute(plan, tmp_path / "run")
        return diagnose(plan, Run(tmp_path / "run"))

    return asked


def texts(diagnosis: Diagnosis, severity: Severity) -> str:
    return "\n".join(each.text for each in diagnosis.findings if each.severity is severity)


def problems(diagnosis: Diagnosis) -> str:
    return texts(diagnosis, Severity.PROBLEM)


def notes(diagnosis: Diagnosis) -> str:
    return texts(diagnosis, Severity.NOTE)


def advice(diagnosis: Diagnosis) -> tuple[str, ...]:
    return tuple(flag for each in diagnosis.findings for flag in each.flags)


# --- Scenes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(scenes: Plan) -> Path:
    return scenes.data.annotations.parent


def test_scenes_are_the_same_every_time_and_fewer_are_the_first_of_more(
    folder: Path, tmp_path: Path
) -> None:
    write_scenes(tmp_path, 8)
    some, every = (json.loads((each / FILE_NAME).read_text()) for each in (tmp_path, folder))
    assert some == every[: len(some)]
    for image in (tmp_path / "images").iterdir():
        assert image.read_bytes() == (folder / "images" / image.name).read_bytes()


def test_forty_image_sets_hold_all_kinds_of_question(scenes: Plan) -> None:
    kinds = [kind_of(instance) for instance in scenes.annotations.instances]
    assert {kind: kinds.count(kind) for kind in Kind} == {
        Kind.ALONE: 30,
        Kind.NAMED: 15,
        Kind.NUMBERED: 15,
    }
    assert len({instance.images for instance in scenes.annotations.instances}) == 40


def test_images_and_things_have_many_sizes_and_shapes(folder: Path, scenes: Plan) -> None:
    alone = [each for each in scenes.annotations.instances if kind_of(each) is Kind.ALONE]
    sizes = [ImageFile(each.images[0], folder / each.images[0]).size() for each in alone]
    for shortest, longest in SIDES:
        assert sum(shortest <= max(size) < longest for size in sizes) == 10
    ratios = np.log([size.width / size.height for size in sizes])
    assert (ratios > 0.2).sum() >= 8
    assert (ratios < -0.2).sum() >= 8
    widths, heights = (np.array([each.box[i + 2] - each.box[i] for each in alone]) for i in (0, 1))
    for sides in (widths, heights):
        assert sides.min() < 0.25
        assert sides.max() > 0.45
    assert (widths > 1.5 * heights).sum() >= 3
    assert (heights > 1.5 * widths).sum() >= 3
    assert all(not each.box.is_outside for each in alone)


def test_things_of_a_set_lie_apart_and_names_are_unmistakable(scenes: Plan) -> None:
    sets: dict[tuple[str, ...], list[int]] = {}
    for place, instance in enumerate(scenes.annotations.instances):
        if kind_of(instance) is not Kind.ALONE:
            sets.setdefault(instance.images, []).append(place)
    assert len(sets) == 10
    for places in sets.values():
        instances = [scenes.annotations.instances[place] for place in places]
        assert [each.target_image for each in instances] == [0, 1, 2]
        for one, other in itertools.combinations(instances, 2):
            assert iou(one.box, other.box) == 0
        if kind_of(instances[0]) is Kind.NAMED:
            phrases = {each.question.split("<|object_ref_start|>")[1] for each in instances}
            assert len(phrases) == 3
            assert all(each.asked_image is None for each in instances)
        else:
            assert [each.asked_image for each in instances] == [0, 1, 2]


# --- Conventions ----------------------------------------------------------------------------------


def test_candidates_are_all_that_the_types_and_the_registry_know() -> None:
    assert {each.order for each in EVERY} == set(Order)
    assert {each.scale for each in EVERY} == set(SCALES)
    assert {type(frame) for frame in known_frames()} == set(Frame.__args__)
    assert {type(each.frame) for each in EVERY} == set(Frame.__args__)
    for dialect in load_dialects().values():
        # No scene is large enough for the limit of one, and half a bin is too little to try.
        if dialect.name not in ("claude-high-resolution", "florence-2"):
            assert plain(dialect.convention) in EVERY
    assert len({described(each) for each in EVERY}) == len(EVERY)


@pytest.mark.parametrize("convention", EVERY, ids=described)
def test_the_convention_that_is_followed_is_found_of_all(
    examine: Examine, convention: Convention
) -> None:
    diagnosis = examine(**settings_of(convention), digits=3)
    ranking = diagnosis.conventions
    assert ranking is not None
    assert ranking.best.convention == convention
    assert ranking.tied == ()
    assert ranking.best.hits == 100
    # 0-999 read as 0-1000 moves no box to speak of: that is not called wrong.
    is_wrong = ranking.of_declared.mean_iou < ranking.best.mean_iou - NEGLIGIBLE
    assert is_wrong == ("is wrong: answers fit " + described(convention) in problems(diagnosis))
    assert diagnosis.ok == (not is_wrong)


@pytest.mark.parametrize("convention", EVERY, ids=described)
def test_what_is_declared_and_followed_is_borne_out(
    examine: Examine, convention: Convention
) -> None:
    """In whole numbers as well, where a neighbour may fit as well, but never better."""
    declared = with_fields(
        QWEN,
        order=convention.order,
        scale=convention.scale or "pixels",
        frame=convention.frame,
    )
    diagnosis = examine(declared, **settings_of(convention))
    assert diagnosis.ok
    ranking = diagnosis.conventions
    assert ranking is not None
    assert ranking.declared == convention
    assert ranking.of_declared in (ranking.best, *ranking.tied)
    for tied in ranking.tied:
        assert abs(tied.mean_iou - ranking.best.mean_iou) < NEGLIGIBLE
        assert "cannot tell" in notes(diagnosis)


SAYS: dict[str, str] = {
    Syntax.JSON: '[{{{{"{key}": [{{0}}, {{1}}, {{2}}, {{3}}]}}}}]',
    Syntax.CORNER_PAIRS: "({{0}},{{1}}),({{2}},{{3}})",
    Syntax.QUAD: "[[{{0}}, {{1}}, {{2}}, {{3}}]]",
    Syntax.BOX_TAG: "<{tag}>{{0}} {{1}} {{2}} {{3}}<{closing}>",
    Syntax.LOCATION_TOKENS: "<loc{{0}}><loc{{1}}><loc{{2}}><loc{{3}}>",
    Syntax.NUMBER_TOKENS: "<{{0}}><{{1}}><{{2}}><{{3}}>",
}


def said_by(family: Dialect) -> str:
    """What a family writes around its numbers."""
    tag = family.tags[0]
    closing = f"|/{tag[1:]}" if tag.startswith("|") else f"/{tag}"
    return SAYS[family.syntax[0]].format(key=family.keys[0], tag=tag, closing=closing)


@pytest.mark.parametrize(
    "family",
    [each for each in load_dialects().values() if not each.unsupported],
    ids=lambda each: each.name,
)
def test_every_family_is_found_where_another_is_declared(examine: Examine, family: Dialect) -> None:
    """The flags that the doctor tells declare what reads the family's boxes where they are."""
    says = said_by(family)
    digits = 3 * (family.scale == 1)
    diagnosis = examine(**settings_of(family.convention), says=says, digits=digits)
    flags = advice(diagnosis)
    declared: Dialect | None = QWEN
    if flags:
        declared = chosen.main(shlex.split(flags[0]), standalone_mode=False)
    assert declared is not None
    is_known = {"qwen2-vl", "univg-r1"} | {"llava-onevision", "mantis", "mplug-owl3", "kimi-vl"}
    assert flags or family.name in is_known | {"lfm2-vl", "moondream", "ovis2.5"}
    size, box = Size(2000, 1500), Box(0.21, 0.32, 0.73, 0.84)
    numbers = family.convention.from_unit(box, size)
    answer = says.format(*(f"{number:.{digits}f}" for number in numbers))
    (found,) = parse(declared, answer, sizes=[size]).boxes
    assert float(iou(found.box, box)) > 0.98


@click.command
@dialect_options
def chosen(**options: Any) -> Dialect | None:
    return chosen_dialect(options)


def test_the_declared_convention_wins_and_by_how_much_is_said(examine: Examine) -> None:
    diagnosis = examine(digits=3)
    ranking = diagnosis.conventions
    assert ranking is not None
    assert ranking.next is not None
    assert ranking.next.gap is not None
    assert ranking.next.name == "xyxy, 0-999"
    assert 0 < ranking.next.gap.low <= ranking.next.gap.mean <= ranking.next.gap.high < NEGLIGIBLE
    (first, *_) = texts(diagnosis, Severity.GOOD).splitlines()
    assert first.startswith("The declared convention fits best: xyxy, 0-1000 (mean IoU 1.000")
    assert f"ahead of xyxy, 0-999 by {ranking.next.gap.mean:.3f}" in first


def test_where_two_conventions_coincide_it_cannot_tell(examine: Examine) -> None:
    """No scene is larger than 4,000 pixels, so such a limit is never seen."""
    limited = with_fields(QWEN, scale="pixels", frame=EdgeLimited(longest=4000))
    diagnosis = examine(limited, scale="pixels")
    ranking = diagnosis.conventions
    assert ranking is not None
    assert [tied.name for tied in ranking.tied] == ["xyxy, pixels"]
    (tied,) = ranking.tied
    assert tied.gap is not None
    assert (tied.gap.mean, tied.gap.low, tied.gap.high) == (0, 0, 0)
    assert "these answers cannot tell it from xyxy, pixels, which fits as well" in notes(diagnosis)
    assert diagnosis.ok


def test_a_known_dialect_is_named_where_one_fits(examine: Examine) -> None:
    diagnosis = examine(order="yxyx", says="[{0}, {1}, {2}, {3}]")
    assert "written in another syntax than declared: quad" in problems(diagnosis)
    assert advice(diagnosis) == ("--dialect gemini", "--dialect gemma")


def test_the_documents_example_is_what_is_printed(examine: Examine) -> None:
    document = Path(__file__).parents[3] / "docs" / "doctor.md"
    _, table, found = re.split(r"```text\n|\n\n(?=Findings)", document.read_text())
    report = diagnosis_report(
        examine(find_dialect("qwen3-vl"), order="yxyx", says="[{0}, {1}, {2}, {3}]")
    )
    assert table in report
    assert found.split("\n```")[0] in report


def test_other_pixel_bounds_are_advised_where_nothing_else_differs(examine: Examine) -> None:
    diagnosis = examine(
        find_dialect("qwen2.5-vl"),
        scale="pixels",
        frame="smart-resized:28:3136:401408",
        says="[{0}, {1}, {2}, {3}]",
        noise=0.02,
    )
    assert advice(diagnosis) == ("--min-pixels 3136 --max-pixels 401408",)


def test_another_syntax_alone_is_a_problem_with_its_flags(examine: Examine) -> None:
    diagnosis = examine(says='{{"bbox_2d": [{0}, {1}, {2}, {3}], "label": "it"}}')
    assert not diagnosis.ok
    assert diagnosis.answers.boxes == 0
    assert diagnosis.answers.used == ("json",)
    assert diagnosis.conventions is not None
    assert diagnosis.conventions.best.name == "xyxy, 0-1000"
    assert {"--dialect qwen3-vl", "--dialect qwen3.5", "--dialect glm-v"} <= set(advice(diagnosis))


def test_boxes_that_know_nothing_of_the_scenes_tell_nothing(examine: Examine) -> None:
    diagnosis = examine(says="(250,250),(750,750)")
    assert diagnosis.conventions is not None
    assert diagnosis.conventions.is_chance
    assert "Cannot tell which convention the model follows" in problems(diagnosis)
    assert (diagnosis.bias, diagnosis.images) == (None, None)
    assert not diagnosis.ok


def test_random_boxes_seldom_seem_to_fit(examine: Examine) -> None:
    diagnosis = examine(noise=10.0)
    assert diagnosis.conventions is not None
    assert diagnosis.conventions.p > 0.01


# --- Shift and scale ------------------------------------------------------------------------------


@pytest.mark.parametrize(("y1", "y2"), [(1.05, 1.10), (1.10, 1.05), (0.95, 0.9)])
def test_a_planted_scaling_of_y_lies_in_its_intervals(
    examine: Examine, y1: float, y2: float
) -> None:
    """The answers are whole thousandths; how intervals bear noise is tested by simulation."""
    diagnosis = examine(y1=1 / y1, y2=1 / y2)
    bias = diagnosis.bias
    assert bias is not None
    expected = {"x1": 1.0, "y1": y1, "x2": 1.0, "y2": y2}
    for edge in bias.edges:
        assert edge.factor.holds(expected[edge.edge]), edge
        assert edge.scale.value == pytest.approx(1 / expected[edge.edge], abs=0.005)
        assert edge.shift.holds(0) == edge.edge.startswith("x"), edge
    assert helps(bias.y)
    assert not helps(bias.x)
    assert helps(bias.scaling_gain)
    assert "y is off systematically" in notes(diagnosis)
    assert f"corrections: {{y1: {bias.scaling.y1:g}, y2: " in "".join(advice(diagnosis))
    assert diagnosis.conventions is not None
    assert not diagnosis.conventions.of_declared.is_wrong


def test_a_shift_of_y_is_not_taken_for_another_scale(examine: Examine) -> None:
    """In 0-1023 y would fit better, and x worse."""
    diagnosis = examine(y1=1.05, y2=1.10, noise=0.01)
    ranking = diagnosis.conventions
    assert ranking is not None
    assert ranking.best.name == "xyxy, 0-1023"
    assert ranking.of_declared.is_worse
    assert ranking.of_declared.better_along == "x"
    assert "worse along x: an axis is off, not the convention" in texts(diagnosis, Severity.GOOD)
    assert "y is off systematically" in notes(diagnosis)
    assert diagnosis.ok


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_without_a_planted_scaling_nothing_is_off(examine: Examine, noise: float) -> None:
    diagnosis = examine(noise=noise)
    bias = diagnosis.bias
    assert bias is not None
    assert (helps(bias.x), helps(bias.y), helps(bias.scaling_gain)) == (False, False, False)
    assert "systematically" not in notes(diagnosis)


@pytest.mark.parametrize(("is_needed", "effect"), [(True, "helps, by "), (False, "hurts, by -")])
def test_the_profiles_own_correction_is_examined(
    examine: Examine, is_needed: bool, effect: str
) -> None:
    known = Correction(y1=1.05, y2=1.10, max=0.999, digits=3)
    faults = {"y1": 1 / 1.05, "y2": 1 / 1.10} if is_needed else {}
    diagnosis = examine(corrections=known, **faults)
    assert f"The profile's correction (y scaling ×1.05, ×1.10) {effect}" in "\n".join(
        each.text for each in diagnosis.findings
    )
    assert diagnosis.ok == is_needed
    assert advice(diagnosis) == (() if is_needed else ("--corrections none",))
    assert "systematically" not in notes(diagnosis)


# --- Images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("looks", "pattern"),
    [
        ("first", "always the first image's"),
        ("last", "always the last image's"),
        ("reversed", "those of the images in reverse order"),
    ],
)
@pytest.mark.parametrize("scale", ["1000", "pixels"])
def test_mixed_up_images_are_found_and_how(
    examine: Examine, looks: str, pattern: str, scale: str
) -> None:
    declared = with_fields(QWEN, scale=1000 if scale == "1000" else "pixels")
    diagnosis = examine(declared, looks=looks, scale=scale)
    assert diagnosis.images is not None
    for counts in diagnosis.images.counts:
        assert (counts.right, counts.other, counts.neither) == (5, 10, 0)
        assert counts.pattern == pattern
    assert problems(diagnosis).count("images are mixed up") == 2
    assert not diagnosis.ok
    # The convention shows all the same, by the images that are shown alone.
    assert diagnosis.conventions is not None
    assert not diagnosis.conventions.of_declared.is_wrong


def test_images_that_are_told_apart_are_no_problem(examine: Examine) -> None:
    diagnosis = examine(says="It is in the third image: ({0},{1}),({2},{3})")
    assert diagnosis.images is not None
    assert [each.kind for each in diagnosis.images.counts] == [Kind.NAMED, Kind.NUMBERED]
    for counts in diagnosis.images.counts:
        assert (counts.right, counts.other, counts.neither, counts.share) == (15, 0, 0, 100)
    # What it says of them in words is counted by itself.
    assert (diagnosis.images.named, diagnosis.images.named_right) == (30, 10)
    assert diagnosis.ok


# --- Other answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instead", "truncated", "outcome", "complaint"),
    [
        ("Sorry, I cannot find it.", False, Outcome.REFUSED, "say that there is nothing to find"),
        ("(123,4", True, Outcome.TRUNCATED, "were cut off at 128 tokens"),
        ("a thing", False, Outcome.UNREADABLE, "hold no box in the declared syntax (corner-pairs)"),
    ],
)
def test_answers_without_a_box_are_told_apart(
    examine: Examine, instead: str, truncated: bool, outcome: Outcome, complaint: str
) -> None:
    diagnosis = examine(silent=0.4, instead=instead, truncated=truncated)
    answers = diagnosis.answers
    count = answers.outcomes[outcome]
    assert answers.outcomes == {outcome: count}
    assert 12 < count < 36
    assert answers.readable == pytest.approx(100 * (60 - count) / 60)
    assert answers.interval is not None
    assert answers.interval.low < answers.readable < answers.interval.high
    assert answers.examples == (instead,) * 3
    assert f"{count} of 60 answers {complaint}" in problems(diagnosis)
    assert advice(diagnosis) == (("--max-new-tokens 256",) if truncated else ())
    # The others suffice for the rest.
    assert diagnosis.conventions is not None
    assert diagnosis.conventions.best.name == "xyxy, 0-1000"


def test_silence_alone_tells_nothing(examine: Examine) -> None:
    diagnosis = examine(silent=1.0, instead="Sorry, I cannot find it.")
    assert diagnosis.conventions is None
    assert "no answer holds a box" in problems(diagnosis)


def test_verbosity_is_worth_a_note(examine: Examine) -> None:
    words = "After looking at all of the images with great care, here is what I believe to be it: "
    diagnosis = examine(says=words + "({0},{1}),({2},{3}) or else (0,0),(10,10)")
    assert diagnosis.answers.verbose == 60
    assert diagnosis.answers.extra_boxes == 60
    assert "60 of 60 answers are verbose" in notes(diagnosis)
    assert "60 of 60 answers hold more boxes than asked for" in notes(diagnosis)
    assert diagnosis.ok


def test_failures_are_no_answers_and_are_left_out(examine: Examine) -> None:
    diagnosis = examine(silent=0.3, fails=True)
    missing = diagnosis.answers.outcomes[Outcome.MODEL_ERROR]
    assert f"{missing} of 60 questions got no answer. The last reason: the server is on fire" in (
        problems(diagnosis)
    )
    assert diagnosis.answers.readable == 100
    assert diagnosis.conventions is not None
    assert diagnosis.conventions.n == 60 - missing
    assert not diagnosis.ok
