"""The paper's table layouts: whose columns, which figures, which published rows beside them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from support.command_line import migbench
from support.sample_scores import scores_of

from migbench.reporting.published import load_table
from migbench.reporting.tables import (
    FORMATS,
    LAYOUTS,
    Layout,
    Row,
    Section,
    Table,
    published_notes,
    published_sections,
    run_labels,
    run_row,
)
from migbench.reporting.tables.layouts import AVERAGE
from migbench.scoring import Outcome, Scores, TaskScores
from migbench.scoring.summary import NamedImages
from migbench.tasks import load_tasks

SPONTANEOUS = ("diff", "view_diff", "common_object")


def task_scores(accuracy: float | None) -> TaskScores:
    return TaskScores(
        at_30=accuracy,
        at_50=accuracy,
        at_70=accuracy,
        mean_iou=None,
        n=100,
        outcomes=dict.fromkeys(Outcome, 0),
        flags={},
        repaired_truths=0,
        named_images=NamedImages(named=0, right=0),
    )


def scores(accuracies: dict[str, float | None] | None = None, **changes: Any) -> Scores:
    """A scored run with these accuracies; by default 1 to 10 in the order of Table 1."""
    if accuracies is None:
        accuracies = {spec.key: float(place) for place, spec in enumerate(load_tasks(), start=1)}
    tasks = {key: task_scores(accuracy) for key, accuracy in accuracies.items()}
    return scores_of(tasks, **changes)


def published(name: str) -> Layout:
    return LAYOUTS[name]()


def rows_of(layout: Layout) -> dict[tuple[str, ...], Row]:
    return {row.labels: row for section in published_sections(layout) for row in section.rows}


# --- a run's figures ------------------------------------------------------------------------------


def test_tables_1_and_11_have_every_task_and_the_average() -> None:
    for name in ("table1", "table11"):
        row = run_row(LAYOUTS[name](), scores(), ("mine",))
        assert list(row.figures.values()) == [*map(float, range(1, 11)), 5.5]


def test_table_5_has_the_means_of_each_groups_tasks() -> None:
    row = run_row(LAYOUTS["table5"](), scores(), ("mine",))
    assert row.figures == {
        "spontaneous": (1 + 2 + 3) / 3,
        "referential": (4 + 5 + 6 + 7 + 8 + 9 + 10) / 7,
        AVERAGE: 5.5,
    }


def test_table_10_has_the_tasks_with_several_targets_in_its_own_order() -> None:
    layout = LAYOUTS["table10"]()
    assert [column.title for column in layout.columns] == ["Common", "MV", "OT", "Region"]
    assert {column.key for column in layout.columns} == {
        spec.key for spec in load_tasks() if spec.all_at_once
    }
    row = run_row(layout, scores(), ("mine", "Polling"))
    assert list(row.figures.values()) == [3.0, 5.0, 4.0, 6.0]


@pytest.mark.parametrize("gap", ["absent", "incomplete"])
def test_a_mean_needs_all_of_its_tasks(gap: str) -> None:
    accuracies: dict[str, float | None] = {spec.key: 50.0 for spec in load_tasks()}
    if gap == "absent":
        del accuracies["diff"]
    else:
        accuracies["diff"] = None
    row = run_row(LAYOUTS["table5"](), scores(accuracies), ("mine",))
    assert row.figures == {"spontaneous": None, "referential": 50.0, AVERAGE: None}


# --- what rows are called -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evaluator", "strategy", "label", "setting"),
    [
        ("polling", "direct", "mine", "Polling"),
        ("polling", "cot", "mine +CoT", "Polling+CoT"),
        ("polling", "mcot", "mine +mCoT", "Polling+mCoT"),
        ("all-at-once", "direct", "mine (all at once)", "All"),
        ("all-at-once", "mcot", "mine +mCoT (all at once)", "All+mCoT"),
    ],
)
def test_labels_say_model_and_setting(
    evaluator: str, strategy: str, label: str, setting: str
) -> None:
    run = scores(evaluator=evaluator, strategy=strategy)
    assert run_labels([Path("runs/a")], [run]) == [(label,)]
    assert run_labels([Path("runs/a")], [run], setting_apart=True) == [("mine", setting)]


def test_equal_labels_are_told_apart_by_folder() -> None:
    folders = [Path("runs/a"), Path("runs/b"), Path("runs/c")]
    runs = [scores(), scores(), scores(strategy="cot")]
    assert run_labels(folders, runs) == [("mine (a)",), ("mine (b)",), ("mine +CoT",)]
    assert run_labels(folders, runs, setting_apart=True) == [
        ("mine (a)", "Polling"),
        ("mine (b)", "Polling"),
        ("mine", "Polling+CoT"),
    ]


# --- published rows -------------------------------------------------------------------------------


def test_every_layout_shows_the_published_rows_as_printed() -> None:
    for name, rows, models in (
        ("table1", 17, "Migician"),
        ("table5", 9, "Qwen2-VL-7B+mCoT"),
        ("table11", 6, "Qwen2-VL-72B+CoT"),
    ):
        shown = rows_of(published(name))
        assert len(shown) == rows
        assert (models,) in shown
    forms = rows_of(published("table10"))
    for printed in load_table("table10").rows:
        row = forms[printed.model, printed.setting]
        assert {key: row.figures[key] for key in printed.figures} == printed.figures
    assert len(forms) == 7


def test_columns_are_those_of_the_published_tables() -> None:
    for build in LAYOUTS.values():
        layout = build()
        keys = [column.key for column in layout.columns if column.key != AVERAGE]
        for table in layout.published:
            assert tuple(keys) == table.columns


def test_notes_say_which_tables_and_what_marks_mean() -> None:
    one, eleven, five = (
        "\n".join(published_notes(published(name))) for name in ("table1", "table11", "table5")
    )
    assert "Tables 1 and 11" in one
    assert "† measured" in one
    assert "Table 11 " in eleven
    assert "†" not in eleven
    assert "weights of 4 (Spontaneous) to 7 (Referential)" in five


def test_averages_that_are_computed_otherwise_are_not_ranked() -> None:
    """Table 5 prints averages of other weights; its groups are plain means, as a run's are."""
    layout = LAYOUTS["table5"]()
    mine = run_row(layout, scores({spec.key: 99.0 for spec in load_tasks()}), ("mine",))
    table = Table(layout, (Section("Mine", (mine,)), *published_sections(layout)))
    best = [table.best(mine, column) for column in layout.columns]
    assert best == [True, True, False]


# --- all formats, all layouts ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def guess(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guess")
    migbench("data", "mini", folder / "mini", "--per-task", "1")
    done = migbench(
        *("run", "--model", "whole-image", "--data", folder / "mini", "--out", folder / "run")
    )
    assert done.status == 0, done.err
    return folder / "run"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("layout", "figure"),
    [("table1", "74.31"), ("table5", "44.34"), ("table10", "15.54"), ("table11", "58.7")],
)
def test_every_layout_can_be_written_in_every_format(
    guess: Path, layout: str, figure: str, form: str
) -> None:
    done = migbench("table", guess, "--published", "--layout", layout, "--format", form)
    assert done.status == 0, done.err
    assert figure in done.out
    assert "whole-image" in done.out


def test_csv_has_a_column_for_the_setting_where_the_layout_has(guess: Path) -> None:
    done = migbench("table", guess, "--published", "--layout", "table10", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["model"], row["setting"]) for row in rows[:2]] == [
        ("whole-image", "Polling"),
        ("—", "Random Guess"),
    ]
    found = next(row for row in rows if row["setting"] == "All+mCoT")
    assert [float(found[key]) for key in load_table("table10").columns] == [
        *(45.71, 9.38, 17.55, 15.54)
    ]
    assert "average" not in rows[0]


def test_text_without_groups_starts_with_the_titles(guess: Path) -> None:
    lines = migbench("table", guess, "--layout", "table10").out.splitlines()
    assert lines[0].split() == ["Model", "Setting", "Common", "MV", "OT", "Region"]
    assert len(set(map(len, lines[:2]))) == 1
    heads = migbench("table", guess, "--layout", "table11").out.splitlines()[:3]
    assert "Spontaneous Grounding" in heads[0]
    assert heads[2].split()[-1] == "AVE"


def test_latex_spans_all_columns_of_the_layout(guess: Path) -> None:
    done = migbench("table", guess, "--layout", "table10", "--format", "latex")
    assert r"{@{}ll@{\extracolsep{\fill}}rrrr@{}}" in done.out
    assert r"\multicolumn{6}{@{}l}{" in done.out
