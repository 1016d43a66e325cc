"""Difficulty: the rule of section 7.3 case by case, and the splits that four runs give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.synthetic_runs import ORDER, four_runs, knowing, stored

from migbench.data.annotations import Annotations, read_annotations
from migbench.errors import DataError, UsageError
from migbench.mini import render
from migbench.reporting.published import load_table
from migbench.runs.store import Run
from migbench.scoring import Level, Rule, read_split
from migbench.scoring.baselines import make_split
from migbench.scoring.difficulty import LITERAL, RULES, level
from migbench.scoring.scored_run import ScoredRun, score_run

EASY, MEDIUM, HARD = Level


def hits(number: int) -> tuple[bool, ...]:
    """Four runs of which this many hit."""
    return tuple(place < number for place in range(4))


# --- The rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "hit", "gain", "expected"),
    [
        pytest.param(3, 3, 0.0, EASY, id="three-images-three-hits"),
        pytest.param(2, 4, 0.0, EASY, id="two-images-four-hits"),
        pytest.param(3, 2, 0.0, MEDIUM, id="two-hits-are-not-more-than-two"),
        pytest.param(4, 4, 0.0, MEDIUM, id="four-images-are-not-fewer-than-four"),
        pytest.param(6, 4, 0.0, MEDIUM, id="many-images-are-not-easy-by-hits"),
        pytest.param(2, 0, 0.0, MEDIUM, id="few-images-are-never-hard"),
        pytest.param(3, 0, 0.1500001, EASY, id="a-gain-alone-makes-easy"),
        pytest.param(3, 0, 0.15, MEDIUM, id="a-gain-of-0.15-does-not-exceed-it"),
        pytest.param(4, 2, 0.2, EASY, id="a-gain-counts-at-four-images"),
        pytest.param(6, 2, 0.2, EASY, id="a-gain-counts-at-six-images"),
        pytest.param(2, 0, -1.0, MEDIUM, id="a-loss-does-not-make-hard"),
        pytest.param(5, 0, 0.0, HARD, id="five-images-no-hit"),
        pytest.param(5, 1, 0.0, HARD, id="five-images-one-hit"),
        pytest.param(6, 1, 0.15, HARD, id="six-images-one-hit-and-a-gain-of-0.15"),
        pytest.param(5, 2, 0.0, MEDIUM, id="two-hits-are-more-than-one"),
        pytest.param(4, 0, 0.0, MEDIUM, id="four-images-are-not-over-four"),
        pytest.param(5, 1, 0.2, EASY, id="both-apply-and-easy-is-stated-first"),
    ],
)
def test_the_rule_at_its_boundaries(images: int, hit: int, gain: float, expected: Level) -> None:
    assert level(images, hits(hit), gain) is expected


@pytest.mark.parametrize(
    ("rule", "images", "hit", "gains", "literally", "otherwise"),
    [
        pytest.param("from-four", 4, 1, (0, 0), MEDIUM, HARD, id="four-images"),
        pytest.param("from-four", 3, 1, (0, 0), MEDIUM, MEDIUM, id="three-images"),
        pytest.param("each-model", 4, 1, (0.6, 0.0), EASY, MEDIUM, id="one-model-gains"),
        pytest.param("each-model", 4, 1, (0.2, 0.2), EASY, EASY, id="both-models-gain"),
        pytest.param("each-model", 6, 1, (0.6, 0.0), EASY, HARD, id="one-gains-on-six-images"),
        pytest.param("hard-first", 6, 1, (0.6, 0.0), EASY, HARD, id="both-apply"),
        pytest.param("hard-first", 4, 1, (0.6, 0.0), EASY, EASY, id="only-easy-applies"),
    ],
)
def test_other_ways_to_take_the_wording(
    rule: str,
    images: int,
    hit: int,
    gains: tuple[float, float],
    literally: Level,
    otherwise: Level,
) -> None:
    assert level(images, hits(hit), LITERAL.gain(gains)) is literally
    other = RULES[rule]
    assert level(images, hits(hit), other.gain(gains), other) is otherwise


def test_every_other_rule_departs_from_the_literal_one_in_one_choice() -> None:
    literal = msgspec.structs.asdict(LITERAL)
    for rule in set(RULES.values()) - {LITERAL}:
        choices = msgspec.structs.asdict(rule)
        changed = {name for name in choices if choices[name] != literal[name]}
        assert len(changed - {"name", "about"}) == 1


sizes = st.integers(2, 6)
four = st.lists(st.booleans(), min_size=4, max_size=4)
overlap_gains = st.floats(-1, 1)
rules = st.sampled_from([*RULES.values()])


@given(sizes, four, st.tuples(overlap_gains, overlap_gains), rules)
def test_every_instance_has_exactly_one_level(
    images: int, hit: list[bool], gains: tuple[float, float], rule: Rule
) -> None:
    found = level(images, hit, rule.gain(gains), rule)
    assert found in Level
    assert found is not HARD or (images >= 4 and sum(hit) <= 1)
    assert found is not EASY or rule.gain(gains) > 0.15 or (images < 4 and sum(hit) >= 3)


@given(sizes, four, overlap_gains, rules, st.integers(0, 3))
def test_one_more_hit_makes_nothing_harder(
    images: int, hit: list[bool], gain: float, rule: Rule, place: int
) -> None:
    order = [EASY, MEDIUM, HARD]
    more = [*hit[:place], True, *hit[place + 1 :]]
    before, after = (order.index(level(images, each, gain, rule)) for each in (hit, more))
    assert after <= before


@given(sizes, four, overlap_gains, overlap_gains, rules)
def test_a_larger_gain_makes_nothing_harder(
    images: int, hit: list[bool], one: float, other: float, rule: Rule
) -> None:
    order = [EASY, MEDIUM, HARD]
    small, large = sorted((one, other))
    assert order.index(level(images, hit, large, rule)) <= order.index(
        level(images, hit, small, rule)
    )


@given(sizes, four, overlap_gains, rules)
def test_one_more_image_makes_nothing_easier(
    images: int, hit: list[bool], gain: float, rule: Rule
) -> None:
    order = [EASY, MEDIUM, HARD]
    assert order.index(level(images + 1, hit, gain, rule)) >= order.index(
        level(images, hit, gain, rule)
    )


@given(sizes, st.permutations([True, False, True, False]), overlap_gains)
def test_which_of_the_runs_hit_is_all_the_same(images: int, hit: list[bool], gain: float) -> None:
    assert level(images, hit, gain) is level(images, hits(2), gain)


# --- Splits of four runs with synthetic answers ---------------------------------------------------


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=6)
    return folder


@pytest.fixture(scope="module")
def runs(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ...]:
    return four_runs(tmp_path_factory.mktemp("runs"), read_annotations(mini / "MIG_mini.json"))


@pytest.fixture(scope="module")
def scored(runs: tuple[Run, ...]) -> list[ScoredRun]:
    return [score_run(run) for run in runs]


def expected_levels(annotations: Annotations) -> Iterator[Level]:
    """Worked out afresh: IoUs are 0 or 1, so the mean gain exceeds 0.15 where chains win."""
    for instance in annotations.instances:
        a, a_cot, b, b_cot = (knowing(place)(instance) for place in range(4))
        images, hit = len(instance.images), a + a_cot + b + b_cot
        if a_cot + b_cot > a + b or (images <= 3 and hit > 2):
            yield EASY
        elif images > 4 and hit < 2:
            yield HARD
        else:
            yield MEDIUM


def test_a_split_says_where_it_comes_from(scored: list[ScoredRun], tmp_path: Path) -> None:
    split = make_split(scored)
    annotations = scored[0].annotations
    assert list(split.levels.values()) == list(expected_levels(annotations))
    assert split.counts == Counter(split.levels.values())
    assert (split.version, split.content_sha256) == ("custom", annotations.content_sha256)
    assert [run.run for run in split.runs] == ["run0", "run1", "run2", "run3"]
    assert [(run.model, run.strategy) for run in split.runs] == list(ORDER)
    assert {run.protocol for run in split.runs} == {"standard"}
    assert len({run.answers for run in split.runs}) == 4
    assert "not the split of the Migician paper" in split.note
    path = tmp_path / "split.json"
    path.write_bytes(msgspec.json.encode(split))
    assert read_split(path) == split


def test_a_splits_hash_is_that_of_its_levels(scored: list[ScoredRun]) -> None:
    split, other = make_split(scored), make_split(scored, RULES["hard-first"])
    renamed = msgspec.structs.replace(split, runs=())
    assert split.hash == renamed.hash != other.hash


def test_the_whole_benchmark_with_synthetic_answers(original: Annotations, tmp_path: Path) -> None:
    runs = four_runs(tmp_path, original)
    scored = [score_run(run) for run in runs]
    split = make_split(scored)
    assert list(split.levels.values()) == list(expected_levels(original))
    counts = {
        name: tuple(make_split(scored, rule).counts[one] for one in Level)
        for name, rule in RULES.items()
    }
    assert {sum(each) for each in counts.values()} == {4295}
    assert counts == {
        "literal": (1637, 2460, 198),
        "from-four": (1637, 2136, 522),
        "each-model": (764, 3195, 336),
        "hard-first": (1499, 2460, 336),
    }
    by_level = score_run(runs[1], difficulty=split).scores.difficulty
    assert by_level is not None
    assert {one: figures.n for one, figures in by_level.levels.items()} == split.counts


# --- Runs that make no split ---------------------------------------------------------------------


def refused(scored: list[ScoredRun], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_split(scored)


@pytest.mark.parametrize(
    "places",
    [(0, 1, 2), (1, 0, 3, 2), (0, 2, 1, 3), (0, 1, 0, 1), (0, 0, 2, 3), (0, 1, 2, 2)],
    ids=["three", "cot-first", "models-mixed", "one-model", "no-cot-of-a", "no-cot-of-b"],
)
def test_runs_that_are_not_two_models_direct_and_cot(
    scored: list[ScoredRun], places: tuple[int, ...]
) -> None:
    refused([scored[place] for place in places], "A, A by chain of thought, B, B by chain")


def test_two_kinds_of_chain_of_thought(scored: list[ScoredRun]) -> None:
    mcot = replace(scored[3], scores=msgspec.structs.replace(scored[3].scores, strategy="mcot"))
    refused([*scored[:3], mcot], "cot twice, or mcot twice")


def test_different_protocols(scored: list[ScoredRun]) -> None:
    released = score_run(scored[3].run, protocol="released")
    refused([*scored[:3], released], r"run3 are scored under .* protocols \(standard; released\)")


def test_different_forms(scored: list[ScoredRun]) -> None:
    scores = msgspec.structs.replace(scored[3].scores, evaluator="all-at-once")
    refused([*scored[:3], replace(scored[3], scores=scores)], "run3 are asked in different forms")


def test_different_annotation_files(scored: list[ScoredRun], tmp_path: Path, mini: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text((mini / "MIG_mini.json").read_text().replace("need_format", "format"))
    run = stored(tmp_path / "run", read_annotations(other), *ORDER[3], knowing(3))
    refused([*scored[:3], score_run(run)], "are on different annotation files")


def test_a_part_of_the_instances(scored: list[ScoredRun]) -> None:
    part = replace(scored[3], samples=scored[3].samples[:50])
    refused([*scored[:3], part], "run3: is on 50 of the 60 instances of MIG_mini.json")


def test_model_errors(scored: list[ScoredRun], tmp_path: Path) -> None:
    annotations = scored[3].annotations
    run = stored(tmp_path / "run", annotations, *ORDER[3], knowing(3), limit=58)
    missing = annotations.instances[58].id
    complaint = f"2 instances have no answer, {missing} first"
    refused([*scored[:3], score_run(run, accept_model_errors=True)], complaint)


def test_a_split_that_lacks_an_instance_is_refused(
    scored: list[ScoredRun],
) -> None:
    made = make_split(scored)
    first, *_ = made.levels
    rest = {id_: one for id_, one in made.levels.items() if id_ != first}
    counts = {**made.counts, made.levels[first]: made.counts[made.levels[first]] - 1}
    short = msgspec.structs.replace(made, levels=rest, counts=counts)
    with pytest.raises(DataError, match="has not the instances"):
        score_run(scored[0].run, difficulty=short)


# --- The published table -------------------------------------------------------------------------


def test_table_7_is_as_printed(shared: Path) -> None:
    lines = (shared / "paper" / "migician.md").read_text(encoding="utf-8").splitlines()
    end = next(place for place, line in enumerate(lines) if line.startswith("Table 7. "))
    header, counts, *rows = [line.split("\t") for line in lines[end - 8 : end - 1]]
    table = load_table("table7")
    assert [title.lower() for title in header[1:]] == list(table.columns) == list(Level)
    assert list(map(int, counts[1:])) == list(table.counts.values())
    assert sum(table.counts.values()) == 4296
    assert [
        [row.model, *(f"{figure:.2f}" for figure in row.figures.values())] for row in table.rows
    ] == [[row[0].replace(" _{+CoT}", "+CoT"), *row[1:]] for row in rows]
