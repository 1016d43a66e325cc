"""Intervals where users meet them: in scores, tables, comparisons, and beside published rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from msgspec.structs import replace
from support.command_line import migbench
from support.synthetic_runs import stored

from migbench.data.annotations import Annotations
from migbench.errors import UsageError
from migbench.reporting.published import load_table
from migbench.reporting.published.reproduction import set_beside
from migbench.reporting.tables import level_table
from migbench.reporting.tables.text import text
from migbench.runs.store import Run
from migbench.scoring import Bootstrap, Interval, RunToCompare, compare
from migbench.scoring.difficulty import LITERAL, DifficultySplit, Level, count_levels
from migbench.scoring.scored_run import ScoredRun, score_run
from migbench.scoring.scorer import HIT_AT
from migbench.scoring.uncertainty import Sums, accuracy_interval

BOOTSTRAP = Bootstrap(draws=2000, seed=3)


@pytest.fixture(scope="module")
def scored(published_runs: dict[str, Path]) -> dict[str, ScoredRun]:
    return {
        name: score_run(Run(folder), protocol="released") for name, folder in published_runs.items()
    }


@pytest.fixture(scope="module")
def resampled(published_runs: dict[str, Path]) -> ScoredRun:
    return score_run(Run(published_runs["migician"]), protocol="released", bootstrap=BOOTSTRAP)


@pytest.fixture(scope="module")
def on_original(original: Annotations, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A made-up run on the paper's file, of a model in Table 1; it hits seven clusters of ten."""
    rng = np.random.default_rng(0)
    solved = rng.random(len(set(original.clusters))) < 0.7
    out = tmp_path_factory.mktemp("original") / "run"
    return stored(
        *(out, original, "llava-onevision-7b", "direct"),
        lambda instance: bool(solved[original.clusters[instance.index]]),
    )


def width(interval: Interval | None) -> float:
    """How long an interval is, in points."""
    assert interval is not None
    return interval.high - interval.low


def intervals(run: ScoredRun) -> Iterator[tuple[float, Interval]]:
    """Every accuracy at 0.5 with its interval: tasks, then macro."""
    for figures in [*run.scores.tasks.values(), run.scores.macro]:
        assert figures.at_50 is not None
        assert figures.intervals is not None
        assert figures.intervals["acc@0.5"] is not None
        yield figures.at_50, figures.intervals["acc@0.5"]


# --- scores ---------------------------------------------------------------------------------------


def test_errors_of_real_answers_are_those_of_cluster_robust_regression(
    scored: dict[str, ScoredRun],
) -> None:
    run = scored["migician"]
    for task, figures in run.scores.tasks.items():
        samples = [each for each in run.samples if each.instance.task == task]
        hits = np.array([each.iou >= HIT_AT for each in samples], dtype=float)
        clusters = np.array([run.annotations.clusters[each.instance.index] for each in samples])
        reference = sm.OLS(hits, np.ones(len(hits))).fit(
            cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
        )
        assert figures.intervals is not None
        assert figures.intervals["acc@0.5"] is not None
        assert figures.intervals["acc@0.5"].error == pytest.approx(100 * reference.bse[0], abs=1e-9)
        assert figures.clusters == len(set(clusters))


def test_the_macro_averages_error_comes_from_the_tasks(scored: dict[str, ScoredRun]) -> None:
    *tasks, (_, macro) = intervals(scored["qwen2_vl"])
    together = np.sqrt(sum(each.error**2 for _, each in tasks)) / 10
    assert macro.error == pytest.approx(together, abs=1e-9)
    assert scored["qwen2_vl"].scores.macro.clusters == 1948


def test_resampling_agrees_with_the_formulas_on_real_answers(
    scored: dict[str, ScoredRun], resampled: ScoredRun
) -> None:
    assert resampled.scores.bootstrap == BOOTSTRAP
    pairs = zip(intervals(scored["migician"]), intervals(resampled), strict=True)
    for (value, formula), (again, found) in pairs:
        assert value == again
        assert (formula.method, found.method) in [("t", "bootstrap"), ("combined", "bootstrap")]
        assert found.error == pytest.approx(formula.error, rel=0.06)
        assert width(found) == pytest.approx(width(formula), rel=0.08)


def test_the_seed_decides_the_resamples(
    published_runs: dict[str, Path], resampled: ScoredRun
) -> None:
    run = Run(published_runs["migician"])
    again = score_run(run, protocol="released", bootstrap=BOOTSTRAP)
    assert again.scores == resampled.scores
    other = score_run(run, protocol="released", bootstrap=Bootstrap(draws=2000, seed=4))
    assert other.scores.macro.intervals != resampled.scores.macro.intervals


def test_levels_of_difficulty_have_intervals(on_original: Run, original: Annotations) -> None:
    levels = {
        each.id: list(Level)[original.clusters[each.index] % 3] for each in original.instances
    }
    split = DifficultySplit(
        version=original.version,
        content_sha256=original.content_sha256,
        rule=LITERAL,
        runs=(),
        counts=count_levels(levels.values()),
        levels=levels,
    )
    scored = score_run(on_original, difficulty=split)
    assert scored.scores.difficulty is not None
    for level, figures in scored.scores.difficulty.levels.items():
        samples = [each for each in scored.samples if levels[each.instance.id] is level]
        hits = Sums.of(
            [each.iou >= HIT_AT for each in samples],
            [original.clusters[each.instance.index] for each in samples],
        )
        assert figures.intervals is not None
        assert figures.intervals["acc@0.5"] == accuracy_interval(hits)
    table = text(level_table([("mine", scored.scores)], intervals=True))
    assert re.search(rf"^  mine +{BOTH_ENDS} +{BOTH_ENDS} +{BOTH_ENDS}$", table, re.MULTILINE)


def test_a_task_without_an_accuracy_has_no_interval_nor_has_the_macro_average(
    original: Annotations, tmp_path: Path
) -> None:
    chosen = tuple(each for each in original.instances if each.task in ("diff", "reasoning"))
    some = dataclasses.replace(original, instances=chosen)
    limit = len(chosen) - 1
    run = stored(tmp_path / "run", some, "llava-onevision-7b", "direct", lambda _: True, limit)
    scores = score_run(run).scores
    assert scores.tasks["diff"].intervals is not None
    assert scores.tasks["reasoning"].intervals is None
    assert scores.macro.intervals is None
    accepted = score_run(run, accept_model_errors=True).scores
    assert accepted.macro.intervals is not None


def test_scipy_is_loaded_when_it_is_needed_and_no_more_of_it(on_original: Run) -> None:
    """What a bootstrap needs of it takes longer to load than everything else."""
    score = f"migbench.score_run(migbench.Run(Path({str(on_original.folder)!r})))"
    code = (
        "import sys, migbench; from pathlib import Path; import migbench.scoring;"
        f"before = 'scipy' in sys.modules; {score};"
        "sys.exit(before or 'scipy.special' not in sys.modules or 'scipy.stats' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- comparisons ----------------------------------------------------------------------------------


def sides(scored: dict[str, ScoredRun]) -> tuple[RunToCompare, RunToCompare]:
    first, second = (
        RunToCompare(name, run.scores, run.samples, run.annotations.cluster_of)
        for name, run in reversed(scored.items())
    )
    return first, second


def test_migician_gains_on_every_task_but_not_every_gain_is_certain(
    scored: dict[str, ScoredRun],
) -> None:
    comparison = compare(*sides(scored))
    for paired in [*comparison.tasks.values(), comparison.macro]:
        assert paired.interval is not None
        assert paired.difference is not None
        assert paired.interval.low < paired.difference < paired.interval.high
        assert paired.p is not None
        assert paired.mde is not None
        assert paired.mde > width(paired.interval) / 2
    assert comparison.macro.p is not None
    assert comparison.macro.p < 0.0001
    uncertain = {task for task, each in comparison.tasks.items() if (each.p_holm or 0) > 0.05}
    assert uncertain == {"view_diff", "reasoning"}


def test_corrected_p_values_are_no_smaller(scored: dict[str, ScoredRun]) -> None:
    for paired in compare(*sides(scored)).tasks.values():
        assert paired.p is not None
        assert paired.p_holm is not None
        assert paired.p <= paired.p_holm <= 10 * paired.p


def test_a_run_against_itself_shows_nothing(scored: dict[str, ScoredRun]) -> None:
    first, _ = sides(scored)
    comparison = compare(first, first)
    for paired in [*comparison.tasks.values(), comparison.macro]:
        assert paired.p == 1
        assert paired.interval is not None
        assert paired.interval.low == pytest.approx(-paired.interval.high)
        assert paired.interval.high > 0


def test_differences_resample_as_the_formulas_say(scored: dict[str, ScoredRun]) -> None:
    first, second = sides(scored)
    formula = compare(first, second)
    found = compare(first, second, bootstrap=BOOTSTRAP)
    assert found.bootstrap == BOOTSTRAP
    for one, other in zip(
        [*formula.tasks.values(), formula.macro], [*found.tasks.values(), found.macro], strict=True
    ):
        assert one.interval is not None
        assert other.interval is not None
        assert other.interval.method == "bootstrap"
        assert other.interval.error == pytest.approx(one.interval.error, rel=0.06)
        assert (one.p, one.mde) == (other.p, other.mde)


# --- commands -------------------------------------------------------------------------------------


BOTH_ENDS = r"\*?\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]"


def test_score_prints_both_ends_and_json_has_every_interval(
    published_runs: dict[str, Path], tmp_path: Path
) -> None:
    done = migbench("score", published_runs["migician"], "--json", tmp_path / "s.json")
    assert re.search(r"^Task +n +Acc@0.3 +Acc@0.5 \[95 %\] ", done.out, re.MULTILINE)
    assert len(re.findall(BOTH_ENDS, done.out)) >= 11
    content = json.loads((tmp_path / "s.json").read_text())
    for figures in [*content["tasks"].values(), content["macro"]]:
        named = {"image_accuracy"} if figures["image_accuracy"] is not None else set()
        assert set(figures["intervals"]) == {"acc@0.3", "acc@0.5", "acc@0.7"} | named
        for name, interval in figures["intervals"].items():
            assert interval["low"] < figures[name] < interval["high"]


def test_both_ends_stand_behind_the_figures_of_table_1(published_runs: dict[str, Path]) -> None:
    plain = migbench("table", published_runs["migician"], published_runs["qwen2_vl"]).out
    assert not re.search(BOTH_ENDS, plain)
    lines = migbench(
        "table", published_runs["migician"], published_runs["qwen2_vl"], "--intervals"
    ).out.splitlines()
    counts = [len(re.findall(BOTH_ENDS, line)) for line in lines]
    assert [count for count in counts if count] == [11, 11]


@pytest.mark.parametrize(
    ("markup", "pattern"),
    [
        ("markdown", r"\*\*63\.37\*\* \[61\.\d\d, 65\.\d\d\]"),
        ("latex", r"\\textbf\{63\.37\}\\\\\[-2pt\]\S+ \[61\.\d\d,\\\\\[-2pt\]\S+ 65\.\d\d\]"),
    ],
)
def test_markups_have_both_ends_in_the_cells(
    published_runs: dict[str, Path], markup: str, pattern: str
) -> None:
    chosen = (published_runs["migician"], published_runs["qwen2_vl"], "--protocol", "released")
    assert re.search(pattern, migbench("table", *chosen, "--intervals", "--format", markup).out)


def test_csv_has_both_ends_as_columns(published_runs: dict[str, Path]) -> None:
    out = migbench("table", published_runs["migician"], "--intervals", "--format", "csv").out
    (row,) = csv.DictReader(io.StringIO(out))
    assert float(row["average low"]) < float(row["average"]) < float(row["average high"])
    assert float(row["region low"]) < float(row["region"]) < float(row["region high"])


def test_table_5s_groups_have_intervals_too(published_runs: dict[str, Path]) -> None:
    out = migbench("table", published_runs["migician"], "--intervals", "--layout", "table5").out
    (line,) = (each for each in out.splitlines() if each.startswith("  migician"))
    ends = [[*map(float, each)] for each in re.findall(r"\[(\S+), (\S+)\]", line)]
    spontaneous, referential, average = (high - low for low, high in ends)
    assert average < min(spontaneous, referential)


def test_resamples_are_named_under_the_numbers(
    published_runs: dict[str, Path], tmp_path: Path
) -> None:
    options = ("--bootstrap", "200", "--seed", "7", "--json", tmp_path / "c.json")
    done = migbench("compare", published_runs["qwen2_vl"], published_runs["migician"], *options)
    assert done.status == 0, done.err
    assert "from 200 resamples, seed 7" in done.out
    (comparison,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    assert comparison["bootstrap"] == {"draws": 200, "seed": 7}
    assert comparison["macro"]["interval"]["method"] == "bootstrap"
    assert migbench("score", published_runs["migician"], "--bootstrap", "5").status == 2


# --- beside published rows ------------------------------------------------------------------------


def test_a_run_is_set_beside_the_row_of_its_profile(on_original: Run, tmp_path: Path) -> None:
    done = migbench(
        "published", "show", "table1", "--run", on_original.folder, "--json", tmp_path / "r.json"
    )
    assert done.status == 0, done.err
    assert "Published: table1, LLaVA-OV-7B, on the original annotations" in done.out
    content = json.loads((tmp_path / "r.json").read_text())
    row = load_table("table1").row("LLaVA-OV-7B")
    assert {each["column"]: each["published"] for each in content["columns"]} == {
        **row.figures,
        "average": row.average,
    }
    assert not any(each["inside"] for each in content["columns"])
    assert done.out.count("OUTSIDE") == 11


def test_a_published_figure_inside_the_interval_is_said_to_be(on_original: Run) -> None:
    scores = score_run(on_original).scores
    reproduction = set_beside(load_table("table1"), scores, "Migician")
    assert reproduction.row == "Migician"
    inside = {each.column: each.inside for each in reproduction.columns}
    for each in reproduction.columns:
        assert each.interval is not None
        assert each.inside == (each.interval.low <= each.published <= each.interval.high)
    assert inside["object_tracking"]
    assert not inside["correspondence"]


def test_rows_on_other_annotations_are_refused(published_runs: dict[str, Path]) -> None:
    done = migbench("published", "show", "table1", "--run", published_runs["migician"])
    assert done.status == 2
    assert "original annotations" in done.err
    assert "revised" in done.err
    beside = migbench(
        "published", "show", "later", "--run", published_runs["migician"], "--row", "UniVG-R1"
    )
    assert beside.status == 0


@pytest.mark.parametrize(
    ("table", "changes", "row", "message"),
    [
        ("table1", {"model": "mine"}, None, "name one with --row.*Migician"),
        ("table1", {"strategy": "mcot"}, None, "mcot.*--row"),
        ("table1", {}, "GPT", "no row 'GPT'.*Migician"),
        ("table5", {}, None, "not divided by task"),
    ],
)
def test_a_row_that_is_not_known_is_asked_for(
    on_original: Run, table: str, changes: dict[str, Any], row: str | None, message: str
) -> None:
    scores = replace(score_run(on_original).scores, **changes)
    with pytest.raises(UsageError, match=message):
        set_beside(load_table(table), scores, row)
