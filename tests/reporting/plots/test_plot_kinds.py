"""What figures show: the numbers of the scores, and of published rows, where they belong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from support.answer_lines import with_answer
from support.plot_runs import Folder, plot_of, rewritten, split_of
from support.sample_scores import instance
from support.sample_scores import sample_score as judged

from migbench.errors import UsageError
from migbench.reporting.palette import MODELS
from migbench.reporting.plots.iou import STEPS, shares
from migbench.reporting.plots.style import Drawing, styled
from migbench.reporting.plots.subjects import Plot
from migbench.reporting.published import load_table
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.store import Run
from migbench.scoring import Level, macro_average, summarise_tasks
from migbench.scoring.metrics import THRESHOLDS
from migbench.scoring.scored_run import score_run
from migbench.tasks import load_tasks

TASKS = [spec.key for spec in load_tasks()]


def drawn(kind: str, plot: Plot) -> Drawing:
    with styled():
        drawing: Drawing = import_module(f"migbench.reporting.plots.{kind}").draw(plot)
    return drawing


def axes_of(drawing: Drawing) -> Axes:
    (axes,) = drawing.figure.axes
    return axes


def ends_of(container: Any) -> list[tuple[float, float, float]]:
    """Every interval of error bars: where on the other axis, and from where to where."""
    (lines,) = container.lines[2]
    return [(low[0], low[1], high[1]) for low, high in lines.get_segments()]


def names_in(drawing: Drawing) -> list[str]:
    (legend,) = drawing.figure.legends
    return [text.get_text() for text in legend.get_texts()]


def unanswered(line: AnswerLine) -> AnswerLine | None:
    """All answers but those of one task."""
    return None if line.question.startswith("region") else line


# --- tasks and difficulty -------------------------------------------------------------------------


def test_a_bar_is_a_tasks_accuracy_and_its_whisker_the_interval(runs: Folder) -> None:
    plot = runs.plot("a-direct", "b-direct")
    drawing = drawn("tasks", plot)
    axes = axes_of(drawing)
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        *(spec.column for spec in load_tasks()),
        "Mean",
    ]
    bars = [each for each in axes.containers if hasattr(each, "patches")]
    whiskers = [each for each in axes.containers if not hasattr(each, "patches")]
    for run, colour, heights, whisker in zip(plot.runs, MODELS, bars, whiskers, strict=False):
        figures = [*run.scores.tasks.values(), run.scores.macro]
        assert [bar.get_height() for bar in heights] == [each.at_50 for each in figures]
        assert {to_hex(bar.get_facecolor()).upper() for bar in heights} == {colour}
        intervals = [each.intervals["acc@0.5"] for each in figures if each.intervals]
        assert [ends[1:] for ends in ends_of(whisker)] == [
            pytest.approx((each.low, each.high)) for each in intervals if each
        ]
        middles = [bar.get_x() + bar.get_width() / 2 for bar in heights]
        assert [ends[0] for ends in ends_of(whisker)] == pytest.approx(middles)
    assert names_in(drawing) == ["llava-onevision-7b", "mplug-owl3"]


def test_a_task_without_all_answers_has_no_bar_and_then_there_is_no_mean(
    runs: Folder, tmp_path: Path
) -> None:
    out = rewritten(runs["a-direct"], tmp_path / "part", unanswered)
    plot = plot_of(Folder(tmp_path, runs.annotations), [("part", score_run(Run(out)))])
    bars = axes_of(drawn("tasks", plot)).containers[0]
    assert len(bars) == 9
    assert any("INCOMPLETE: 6 targets" in note for note in plot.notes)
    accepted = score_run(Run(out), accept_model_errors=True)
    plot = plot_of(Folder(tmp_path, runs.annotations), [("part", accepted)])
    bars = axes_of(drawn("tasks", plot)).containers[0]
    assert len(bars) == 11
    assert bars[5].get_height() == 0


def test_there_is_no_mean_of_runs_that_were_asked_different_tasks(
    runs: Folder, tmp_path: Path
) -> None:
    run = Run(runs["b-direct"])
    settings = msgspec.structs.replace(
        run.settings,
        tasks={key: value for key, value in run.settings.tasks.items() if key != "diff"},
    )
    rewritten(runs["b-direct"], tmp_path / "nine", lambda line: line, settings=settings)
    nine = score_run(Run(tmp_path / "nine"))
    plot = plot_of(runs, [("a-direct", runs.scored("a-direct")), ("nine", nine)])
    axes = axes_of(drawn("tasks", plot))
    assert len(axes.containers[0]) == 10
    assert len(axes.get_xticklabels()) == 10
    assert any("different numbers of targets" in note for note in plot.notes)
    with pytest.raises(UsageError, match=r"not asked the same tasks \(diff\)"):
        drawn("radar", plot)


def test_published_figures_of_the_same_model_stand_on_its_bars(runs: Folder) -> None:
    plot = runs.plot("a-direct", "b-cot", own_rows=True)
    drawing = drawn("tasks", plot)
    axes = axes_of(drawing)
    diamonds = [line for line in axes.lines if line.get_marker() == "D"]
    bars = [each for each in axes.containers if hasattr(each, "patches")]
    for line, name, heights in zip(diamonds, ("LLaVA-OV-7B", "mPLUG-Owl3+CoT"), bars, strict=True):
        row = load_table("table1").row(name)
        assert list(line.get_ydata()) == [*(row.figures[key] for key in TASKS), row.average]
        middles = [bar.get_x() + bar.get_width() / 2 for bar in heights]
        assert list(line.get_xdata()) == pytest.approx(middles)
    assert names_in(drawing)[2:] == ["published, of the same model"]
    assert "mPLUG-Owl3+CoT (published): Table 1, as printed." in [*plot.notes]


def test_other_published_rows_go_across_all_bars(runs: Folder) -> None:
    plot = runs.plot("a-direct", rows=["Human", "Qwen2-VL-72B+CoT"])
    drawing = drawn("tasks", plot)
    human, cot = (each for each in axes_of(drawing).collections if str(each.get_label())[:1] != "_")
    row = load_table("table1").row("Human")
    assert [one[0][1] for one in human.get_segments()] == [
        *(row.figures[key] for key in TASKS),
        row.average,
    ]
    assert [to_hex(each.get_color()[0]).upper() for each in (human, cot)] == [*MODELS[1:3]]
    assert names_in(drawing)[1:] == ["Human (published)", "Qwen2-VL-72B+CoT (published)"]
    assert [*plot.notes][:2] == [
        "Human (published): Table 1, as printed; Static, Common, Region, GG measured on a random "
        "20 % of the task.",
        "Qwen2-VL-72B+CoT (published): Table 11, as printed.",
    ]


def test_levels_have_their_accuracies_and_counts(runs: Folder) -> None:
    split = split_of(runs.annotations)
    scored = [(name, runs.scored(name, difficulty=split)) for name in ("a-direct", "b-direct")]
    drawing = drawn("difficulty", plot_of(runs, scored))
    axes = axes_of(drawing)
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        "Easy\n(30)",
        "Medium\n(15)",
        "Hard\n(15)",
    ]
    bars = [each for each in axes.containers if hasattr(each, "patches")]
    for (_, run), heights in zip(scored, bars, strict=True):
        assert run.scores.difficulty
        levels = run.scores.difficulty.levels
        assert [bar.get_height() for bar in heights] == [levels[each].at_50 for each in Level]
    assert "not the authors' own" in drawing.notes[0]


# --- radar ----------------------------------------------------------------------------------------


def test_the_radar_has_an_axis_a_task_and_closes(runs: Folder) -> None:
    plot = runs.plot("a-direct", "b-direct", own_rows=True, rows=["Human"])
    drawing = drawn("radar", plot)
    axes = axes_of(drawing)
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        spec.column for spec in load_tasks()
    ]
    lines = axes.lines
    values = [[run.scores.tasks[key].at_50 for key in TASKS] for run in plot.runs]
    values += [[printed.row.figures[key] for key in TASKS] for printed in plot.published]
    assert [list(line.get_ydata()) for line in lines] == [[*each, each[0]] for each in values]
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "--", "--"]
    assert [line.get_color() for line in lines] == [*MODELS[:2], *MODELS[:3]]
    assert names_in(drawing)[0] == f"llava-onevision-7b: {plot.runs[0].scores.macro.at_50:.1f}"
    assert names_in(drawing)[-1] == "Human (published): 97.2"
    assert not drawing.intervals


def test_two_tasks_are_no_radar(runs: Folder, tmp_path: Path) -> None:
    run = Run(runs["a-direct"])
    tasks = {key: run.settings.tasks[key] for key in ("diff", "region")}
    settings = msgspec.structs.replace(run.settings, tasks=tasks)
    out = rewritten(runs["a-direct"], tmp_path / "two", lambda line: line, settings=settings)
    with pytest.raises(UsageError, match=r"at least 3 tasks, and .* has 2; use --kind tasks"):
        drawn("radar", plot_of(runs, [("two", score_run(Run(out)))]))


# --- IoU ------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.sampled_from(TASKS), st.sampled_from(STEPS) | st.floats(0, 1)), min_size=1
    )
)
def test_shares_at_the_thresholds_are_the_macro_average(targets: list[tuple[str, float]]) -> None:
    plain = judged("nothing")
    judgements = [replace(plain, instance=instance(task=task), iou=iou) for task, iou in targets]
    found = shares(judgements)
    macro = macro_average(summarise_tasks(judgements, TASKS))
    at = dict(zip(STEPS, found, strict=True))
    for threshold, accuracy in zip(
        THRESHOLDS, (macro.at_30, macro.at_50, macro.at_70), strict=True
    ):
        assert at[threshold] == pytest.approx(accuracy)
    assert found[0] == pytest.approx(100)
    assert all(before >= after - 1e-9 for before, after in pairwise(found))


def test_curves_pass_through_the_accuracies_and_their_intervals(runs: Folder) -> None:
    plot = runs.plot("a-direct", "b-direct")
    axes = axes_of(drawn("iou", plot))
    thresholds = [line.get_xdata()[0] for line in axes.lines[:3]]
    assert thresholds == [*THRESHOLDS]
    macro = plot.runs[0].scores.macro
    assert macro.intervals
    known = (macro.intervals["acc@0.3"], macro.intervals["acc@0.5"], macro.intervals["acc@0.7"])
    for threshold, whisker, interval in zip(THRESHOLDS, axes.containers[:3], known, strict=True):
        assert interval
        assert ends_of(whisker) == [pytest.approx((threshold, interval.low, interval.high))]
    (curve,) = (line for line in axes.lines if line.get_label() == plot.runs[0].label)
    assert curve.get_ydata()[STEPS.index(0.5)] == pytest.approx(macro.at_50)


# --- cost -----------------------------------------------------------------------------------------


def test_costs_are_those_of_a_target(runs: Folder) -> None:
    plot = runs.plot("a-priced", "b-direct")
    drawing = drawn("cost", plot)
    tokens, seconds = drawing.figure.axes
    accuracy = plot.runs[0].scores.macro.at_50
    for axes, cost in ((tokens, 750), (seconds, 20 / 60)):
        (point,) = axes.containers
        assert point.lines[0].get_xydata().tolist() == [[pytest.approx(cost), accuracy]]
        assert len(ends_of(point)) == 1
    assert names_in(drawing) == ["llava-onevision-7b"]
    notes = "\n".join(drawing.notes)
    assert "Not known, and so not shown: tokens of mplug-owl3." in notes
    assert "Not known, and so not shown: wall time of mplug-owl3." in notes
    assert "llava-onevision-7b on " in notes


def test_a_measure_that_no_run_knows_has_no_panel(runs: Folder, tmp_path: Path) -> None:
    out = rewritten(
        runs["a-direct"],
        tmp_path / "timed",
        lambda line: with_answer(line, prompt_tokens=3),
        wall_seconds=4.0,
    )
    (axes,) = drawn("cost", plot_of(runs, [("timed", score_run(Run(out)))])).figure.axes
    assert axes.get_xlabel() == "Seconds a target"


def test_costs_far_apart_are_drawn_on_a_logarithmic_axis(runs: Folder, tmp_path: Path) -> None:
    scored = []
    for name, factor in (("cheap", 1), ("dear", 9)):
        out = rewritten(
            runs["a-direct"], tmp_path / name, lambda line: line, wall_seconds=4.0 * factor
        )
        scored.append((name, score_run(Run(out))))
    drawing = drawn("cost", plot_of(runs, scored))
    (axes,) = drawing.figure.axes
    assert axes.get_xscale() == "log"
    with styled():
        FigureCanvasAgg(drawing.figure).draw()
        labels = [text.get_text() for text in axes.get_xticklabels()]
    assert {"0.1", "0.2", "0.5"} <= {*labels}


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["radar", "iou", "cost", "forms"])
def test_an_incomplete_run_has_no_mean_to_draw(runs: Folder, tmp_path: Path, kind: str) -> None:
    out = rewritten(runs["a-direct"], tmp_path / "part", unanswered)
    scored = [("part", score_run(Run(out))), ("a-cot", runs.scored("a-cot"))]
    with pytest.raises(UsageError, match=r"llava-onevision-7b: 6 targets .*--accept-model-errors"):
        drawn(kind, plot_of(runs, scored))


def test_a_run_without_answers_has_no_bars(runs: Folder, tmp_path: Path) -> None:
    out = rewritten(runs["a-direct"], tmp_path / "none", lambda line: None)
    plot = plot_of(runs, [("none", score_run(Run(out)))])
    with pytest.raises(UsageError, match="no task has all its answers"):
        drawn("tasks", plot)
    scored = score_run(Run(out), difficulty=split_of(runs.annotations))
    with pytest.raises(UsageError, match="60 targets have no answer"):
        drawn("difficulty", plot_of(runs, [("none", scored)]))


def refusals() -> Sequence[tuple[str, Callable[[Folder], object]]]:
    return [
        (r"two runs are called .* \(a-cot\) and", lambda runs: runs.plot("a-cot", "a-cot")),
        ("too many", lambda runs: runs.plot(*["a-direct"] * 6)),
        ("too many", lambda runs: runs.plot(*["a-direct"] * 4, rows=["Human", "Mantis"])),
        ("no published row of this name .* Human; ", lambda runs: runs.plot("a-cot", rows=["X"])),
        ("nothing is published of .* same form", lambda runs: runs.plot("a-cot", own_rows=True)),
        ("by which split", lambda runs: drawn("difficulty", runs.plot("a-direct"))),
        ("none of the runs knows", lambda runs: drawn("cost", runs.plot("a-direct"))),
    ]


@pytest.mark.parametrize(("message", "ask"), refusals())
def test_refusals_say_why(runs: Folder, message: str, ask: Callable[[Folder], object]) -> None:
    with pytest.raises(UsageError, match=message):
        ask(runs)
