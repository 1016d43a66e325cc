"""Forms of asking: which runs are paired, and what is drawn of a pair."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from support.command_line import migbench
from support.plot_runs import Folder, plot_of, rewritten

from migbench.errors import UsageError
from migbench.mini import render
from migbench.reporting.plots.forms import draw
from migbench.reporting.plots.pairing import contrasts_of
from migbench.reporting.plots.style import styled
from migbench.reporting.plots.subjects import Plot, make_plot
from migbench.runs.store import Run
from migbench.scoring import RunToCompare, compare
from migbench.scoring.scored_run import score_run
from migbench.tasks import load_tasks


@pytest.fixture(scope="module")
def evaluators(tmp_path_factory: pytest.TempPathFactory) -> Plot:
    """One model, asked image by image and all at once."""
    folder = tmp_path_factory.mktemp("evaluators")
    render(folder / "mini", per_task=2)
    for evaluator in ("polling", "all-at-once"):
        done = migbench(
            *("run", "--model", "whole-image", "--data", folder / "mini"),
            *("--evaluator", evaluator, "--out", folder / evaluator),
        )
        assert done.status == 0, done.err
    folders = [folder / "all-at-once", folder / "polling"]
    return make_plot(folders, [score_run(Run(each)) for each in folders])


def test_runs_of_one_model_are_paired_by_their_manifests(runs: Folder) -> None:
    plot = runs.plot("b-mcot", "a-cot", "a-direct", "b-direct", "b-cot")
    found = {
        contrast.title: [(pair.first.label, pair.second.label) for pair in pairs]
        for contrast, pairs in contrasts_of(plot.runs).items()
    }
    assert found == {
        "CoT against direct": [
            ("mplug-owl3", "mplug-owl3 +CoT"),
            ("llava-onevision-7b", "llava-onevision-7b +CoT"),
        ],
        "mCoT against direct": [("mplug-owl3", "mplug-owl3 +mCoT")],
    }


def test_evaluators_are_paired_and_only_tasks_that_differ_are_drawn(evaluators: Plot) -> None:
    ((contrast, (pair,)),) = contrasts_of(evaluators.runs).items()
    assert contrast.title == "all at once against polling"
    assert (pair.first.scores.evaluator, pair.second.scores.evaluator) == ("polling", "all-at-once")
    with styled():
        left, right = draw(evaluators).figure.axes
    shown = [spec.column for spec in load_tasks() if spec.all_at_once]
    assert [text.get_text() for text in left.get_yticklabels()] == [*shown, "Mean"]
    assert left.get_title(loc="left") == "all at once (filled) against polling (hollow)"
    assert right.get_xlim()[0] == -right.get_xlim()[1]


def test_accuracies_and_paired_differences_are_those_of_the_comparison(runs: Folder) -> None:
    plot = runs.plot("a-direct", "a-cot")
    first, second = (
        RunToCompare(run.label, run.scores, run.scored.samples, run.scored.annotations.cluster_of)
        for run in plot.runs
    )
    expected = compare(first, second)
    rows = [*expected.tasks.values(), expected.macro]
    with styled():
        drawing = draw(plot)
    left, right = drawing.figure.axes
    hollow = [line for line in left.lines if line.get_markerfacecolor() == "white"]
    filled = [line for line in left.lines if line.get_marker() == "o" and line not in hollow]
    assert [line.get_xdata()[0] for line in hollow] == [row.first for row in rows]
    assert [line.get_xdata()[0] for line in filled] == [row.second for row in rows]
    for row, container in zip(rows, right.containers, strict=True):
        assert container.lines[0].get_xdata()[0] == pytest.approx(row.difference)
        ((segment,),) = (lines.get_segments() for lines in container.lines[2])
        assert row.interval
        assert [end[0] for end in segment] == pytest.approx([row.interval.low, row.interval.high])


def test_what_else_differs_is_said(runs: Folder, tmp_path: Path) -> None:
    settings = Run(runs["a-cot"]).settings
    model = msgspec.structs.replace(
        settings.model,
        generation=msgspec.structs.replace(settings.model.generation, temperature=0.7),
    )
    out = rewritten(
        runs["a-cot"],
        tmp_path / "warm",
        lambda line: line,
        settings=msgspec.structs.replace(settings, model=model, limit=2),
    )
    scored = [("a-direct", runs.scored("a-direct")), ("warm", score_run(Run(out)))]
    with styled():
        notes = "\n".join(draw(plot_of(runs, scored)).notes)
    assert "differ in more than the form: model.generation.temperature (0.0, 0.7)." in notes
    assert "left out are 40 targets that only llava-onevision-7b was asked for, 0 that" in notes
    with styled():
        plain = "\n".join(draw(runs.plot("a-direct", "a-cot")).notes)
    assert "differ in more" not in plain


def test_runs_that_cannot_be_paired_are_refused(runs: Folder) -> None:
    with pytest.raises(
        UsageError, match=r"differ in --evaluator .* mplug-owl3 \+CoT \(polling, cot\)"
    ):
        contrasts_of(runs.plot("a-direct", "b-cot").runs)
    with pytest.raises(UsageError, match="needs two runs"):
        contrasts_of(runs.plot("a-cot", "a-mcot").runs)
    with pytest.raises(UsageError, match="of one model and in one form; leave one out"):
        contrasts_of(runs.plot("a-direct", "a-priced", "a-cot").runs)
