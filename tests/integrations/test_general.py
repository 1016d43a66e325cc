"""Tables 2 to 4 without lmms-eval: layouts, published rows, suites, and the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support.command_line import migbench

from migbench.dialects import find_dialect
from migbench.errors import DataError, UsageError
from migbench.integrations.lmms_eval.suites.harness import TaskFigures, figure
from migbench.integrations.lmms_eval.suites.runs import (
    MANIFEST,
    GeneralRun,
    Measured,
    measure,
    read_general_run,
)
from migbench.integrations.lmms_eval.suites.suites import (
    BLINK,
    MME,
    MMIU,
    SUITES,
    check_data,
    choose,
)
from migbench.integrations.lmms_eval.suites.tables import general_layout, general_table
from migbench.models.resolving import Model, Overrides, resolve_model
from migbench.reporting.published import load_table
from migbench.reporting.tables import FORMATS
from migbench.reporting.tables.layouts import AVERAGE
from migbench.reporting.tables.rows import FACTS
from migbench.runs.environment import current_environment
from migbench.runs.manifest import write_json
from migbench.tasks import tasks_folder

MODEL = resolve_model("mine", Overrides(adapter="baseline", dialect=find_dialect("qwen2-vl")))


def run_of(measured: Mapping[str, Measured], model: Model = MODEL) -> GeneralRun:
    return GeneralRun(
        created="2026-01-01",
        model=model,
        generation={},
        environment=current_environment(),
        benchmarks=dict(measured),
    )


def measured(figure: float | None, **more: Any) -> Measured:
    return Measured(figure=figure, lmms_eval="0.7.3", **more)


# --- layouts and published rows -------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_has_exactly_the_columns_of_its_published_table(suite: str) -> None:
    layout = general_layout(suite)
    keys = [column.key for column in layout.columns]
    printed = load_table(suite)
    has_average = any(row.average is not None for row in printed.rows)
    assert keys == [*printed.columns, *[AVERAGE] * has_average]


@pytest.mark.parametrize("suite", SUITES)
def test_every_published_row_stands_in_the_table_as_printed(suite: str) -> None:
    printed = load_table(suite)
    text = FORMATS["csv"](general_table(suite, {}))
    for row in printed.rows:
        (line,) = (line for line in text.splitlines() if f",{row.model},as printed," in line)
        cells = line.split(",as printed,")[1].split(",")[len(FACTS) :]
        figures = [row.figures[column] for column in printed.columns]
        figures += [row.average] * (len(cells) - len(figures))
        assert [float(cell) if cell else None for cell in cells] == figures


def test_table_4_groups_its_splits() -> None:
    assert general_layout("table4").heads() == [
        [("RefCOCO", 3), ("RefCOCO+", 3), ("RefCOCOg", 2), ("", 1)]
    ]


def test_a_run_has_an_average_only_with_every_column() -> None:
    every = {each.key: measured(10.0 * place) for place, each in enumerate(SUITES["table2"])}
    some = {key: each for key, each in every.items() if key != "mmiu"}
    table = general_table("table2", {"all": run_of(every), "some": run_of(some)})
    rows = {row.labels[0]: row for row in table.sections[0].rows}
    assert rows["all"].figures[AVERAGE] == pytest.approx(20.0)
    assert rows["some"].figures[AVERAGE] is None
    assert rows["some"].figures["mmiu"] is None


def test_measured_figures_are_never_ranked_with_printed_ones() -> None:
    runs = {"good": run_of({"mme": measured(9999.0)}), "bad": run_of({"mme": measured(1.0)})}
    text = FORMATS["text"](general_table("table3", runs))
    starred = [line.split()[:2] for line in text.splitlines() if " *" in line]
    assert ["good", "*9999.0"] in starred
    assert ["Migician", "*2244.7"] in starred


def test_figures_on_the_first_questions_alone_stand_apart() -> None:
    found = {"mme": measured(2000.0), "mmbench": measured(80.0, limit=5)}
    table = general_table("table3", {"mine": run_of(found)})
    assert [section.heading for section in table.sections[:2]] == [
        "Measured with lmms-eval 0.7.3",
        "Measured with lmms-eval 0.7.3, the first 5 questions of each task alone",
    ]
    assert [section.rows[0].figures["mme"] for section in table.sections[:2]] == [2000.0, None]


def test_v_star_in_parts_has_a_row_of_its_own() -> None:
    found = {"v_star": measured(40.0), "v_star_parts": measured(70.0)}
    whole, parts = general_table("table3", {"mine": run_of(found)}).sections[0].rows
    assert (whole.figures["v_star"], parts.figures) == (40.0, {"v_star": 70.0})


def test_what_cannot_be_the_papers_number_is_said_under_the_table() -> None:
    notes = "\n".join(general_table("table3", {}, SUITES["table3"]).notes)
    assert "test split's answers are not public" in notes
    assert "RefCOCO" not in notes
    few = "\n".join(general_table("table2", {}, choose(["table2"], ["mmiu"])).notes)
    assert "MMIU" in few
    assert "MIBench" not in few


def test_a_missing_figure_has_its_reason_under_the_table() -> None:
    run = run_of({"blink": Measured(error="3 of 9 questions have no answer")})
    assert "mine, BLINK val: no figure, 3 of 9 questions have no answer." in (
        general_table("table2", {"mine": run}).notes
    )


def test_the_number_of_documents_stands_under_the_table() -> None:
    run = run_of({"mme": measured(2000.0, documents=2374), "v_star": measured(1.0, documents=191)})
    notes = general_table("table3", {"mine": run}).notes
    assert "mine, documents: 2,374 MME, 191 V* Bench." in notes
    splits = {key: measured(90.0, documents=5) for key in ("refcoco_val", "refcoco+_val")}
    notes = general_table("table4", {"mine": run_of(splits)}).notes
    assert "mine, documents: 5 RefCOCO val, 5 RefCOCO+ val." in notes


# --- suites ---------------------------------------------------------------------------------------


def test_our_task_files_name_functions_that_exist() -> None:
    folder = tasks_folder() / "general"
    named = set()
    for path in folder.iterdir():
        if path.suffix != ".py" and path.is_file():
            words = path.read_text().replace(",", " ").split()
            named |= {word.removeprefix("utils.") for word in words if word.startswith("utils.")}
    imported = (folder / "utils.py").read_text()
    assert named
    assert all(f'"{name}"' in imported for name in named)
    files = {
        task for suite in SUITES.values() for each in suite if each.ours for task in each.tasks
    }
    assert files == {path.name for path in folder.glob("*.yaml")}
    for file in files:
        text = (folder / file).read_text().replace("!function", "")
        assert yaml.safe_load(text)["task"] == file.removesuffix(".yaml")


def test_a_figure_weighs_tasks_by_their_documents() -> None:
    tasks = {"a": TaskFigures(3, {"blink_acc": 1.0}), "b": TaskFigures(1, {"blink_acc": 0.0})}
    assert figure(BLINK, tasks) == pytest.approx(75.0)


def test_mme_is_the_sum_of_both_its_scores() -> None:
    scores = {"mme_perception_score": 1600.0, "mme_cognition_score": 500.5}
    assert figure(MME, {"mme": TaskFigures(8, scores)}) == pytest.approx(2100.5)


def test_benchmarks_are_chosen_by_key() -> None:
    assert choose(["table2", "table3"], [" mmiu", "mme"]) == (MMIU, MME)
    with pytest.raises(UsageError, match=r"called mme; choose from muirbench, blink, mibench"):
        choose(["table2"], ["mme"])


def test_data_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"download FanqingM/MMIU-Benchmark into"):
        check_data([MMIU], None)
    with pytest.raises(UsageError, match=r"mmiu: no such folder; it is to hold MMIU, as"):
        check_data([MMIU], tmp_path)
    check_data([BLINK], None)


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    done = migbench(
        *("general", "--model", "whole-image", "--suite", "table2", "--benchmarks", "mmiu"),
        *("--out", tmp_path / "out"),
    )
    assert done.status == 2
    # Without lmms-eval that comes first; with it, the data does.
    assert "docs/lmms-eval.md" in done.err or "download FanqingM/MMIU-Benchmark" in done.err


# --- the folder -----------------------------------------------------------------------------------


def test_a_folder_is_read_back(tmp_path: Path) -> None:
    run = run_of({"mme": measured(2000.0), "blink": Measured(error="none")})
    write_json(tmp_path / MANIFEST, run)
    assert read_general_run(tmp_path) == run
    with pytest.raises(UsageError, match="is not a general run"):
        read_general_run(tmp_path / "elsewhere")
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(DataError, match=r"general\.json"):
        read_general_run(tmp_path)


def test_what_is_done_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "migbench.integrations.lmms_eval.suites.runs.lmms_eval_version", lambda: "0.7.3"
    )
    run = run_of({"mme": measured(2000.0)})
    write_json(tmp_path / MANIFEST, run)
    assert measure([MME], MODEL, tmp_path) == run


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"dialect": find_dialect("internvl")},
            r"dialect\.name: was 'qwen2-vl', is now 'internvl'",
        ),
        ({"checkpoint": "other"}, "checkpoint: was 'mine', is now 'other'"),
    ],
)
def test_a_folder_is_one_models(
    change: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "migbench.integrations.lmms_eval.suites.runs.lmms_eval_version", lambda: "0.7.3"
    )
    write_json(tmp_path / MANIFEST, run_of({}))
    with pytest.raises(UsageError, match=told):
        measure([MME], msgspec.structs.replace(MODEL, **change), tmp_path)
    with pytest.raises(UsageError, match="generation: was"):
        measure([MME], MODEL, tmp_path, generation={"temperature": 0.5})


def test_a_strangers_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "migbench.integrations.lmms_eval.suites.runs.lmms_eval_version", lambda: "0.7.3"
    )
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match=r"is no general run \(it holds run\.json\)"):
        measure([MME], MODEL, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"run.json", ".lock"}
