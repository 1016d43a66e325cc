"""`migbench plot`, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import migbench
from support.plot_runs import Folder, rewritten

from migbench.mini import render


def test_it_draws_and_prints_the_caption(runs: Folder, tmp_path: Path) -> None:
    out = tmp_path / "new" / "tasks.svg"
    done = migbench(
        *("plot", runs["a-direct"], runs["b-direct"], "--kind", "tasks", "--out", out),
        *("--published", "--row", "Human", "--bootstrap", "100", "--seed", "3"),
    )
    assert done.status == 0, done.err
    first, _, *caption = done.out.splitlines()
    assert first == str(out)
    assert caption[0] == "Acc@0.5 of every task, with intervals."
    assert "LLaVA-OV-7B (published): Table 1, as printed." in caption
    assert any("from 100 resamples, seed 3" in line for line in caption)
    assert caption[-1].startswith("mplug-owl3: run ")
    assert ", protocol standard, annotations original, " in caption[-1]
    assert out.read_text("utf-8").endswith("</svg>\n")


def test_an_incomplete_run_ends_with_status_1(runs: Folder, tmp_path: Path) -> None:
    rewritten(
        runs["a-direct"],
        tmp_path / "part",
        lambda line: None if line.question.startswith("region") else line,
    )
    ask = ("plot", tmp_path / "part", "--kind", "tasks", "--out", tmp_path / "x.png")
    done = migbench(*ask)
    assert done.status == 1, done.err
    assert "INCOMPLETE: 6 targets without an answer" in done.out
    done = migbench(*ask, "--accept-model-errors")
    assert "6 model errors counted as misses" in done.out


def test_runs_on_different_annotations_are_refused(runs: Folder, tmp_path: Path) -> None:
    render(tmp_path / "other", per_task=1, seed=7)
    migbench("run", "--model", "centre", "--data", tmp_path / "other", "--out", tmp_path / "run")
    done = migbench(
        *("plot", runs["a-direct"], tmp_path / "run", "--kind", "tasks"),
        *("--out", tmp_path / "x.svg"),
    )
    assert done.status == 2
    assert "different annotations; draw one figure for each annotation file" in done.err
    assert not (tmp_path / "x.svg").exists()


def test_published_rows_are_not_set_beside_other_annotations(tmp_path: Path) -> None:
    render(tmp_path / "mini", per_task=1)
    migbench("run", "--model", "centre", "--data", tmp_path / "mini", "--out", tmp_path / "run")
    ask = ("plot", tmp_path / "run", "--kind", "radar", "--out", tmp_path / "x.svg")
    done = migbench(*ask, "--row", "Migician")
    assert done.status == 2
    assert "annotations, as centre is, and others cannot be compared; there is none" in done.err
    done = migbench(*ask, "--published")
    assert done.status == 2
    assert "nothing is published of centre" in done.err


@pytest.mark.parametrize("kind", ["iou", "cost", "forms", "difficulty"])
def test_kinds_without_published_figures_say_so(runs: Folder, tmp_path: Path, kind: str) -> None:
    done = migbench(
        *("plot", runs["a-direct"], "--kind", kind, "--published", "--out", tmp_path / "x.svg")
    )
    assert done.status == 2
    assert "shows no published figures; radar and tasks do" in done.err


def test_an_unknown_kind_is_refused_with_those_there_are(runs: Folder, tmp_path: Path) -> None:
    done = migbench("plot", runs["a-direct"], "--kind", "pie", "--out", tmp_path / "x.svg")
    assert done.status == 2
    assert "radar" in done.err
