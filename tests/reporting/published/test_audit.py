"""The audit of published tables: what it finds in the paper, and in any other table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.command_line import migbench
from support.data_files import PUBLISHED_COUNTS
from test_published import TABLE_1_COLUMNS, is_result, printed_table

from migbench.reporting.published import PublishedRow, PublishedTable, load_table, load_tables
from migbench.reporting.published.audit import audit
from migbench.reporting.published.findings import ABOUT, Finding

COUNTS = PUBLISHED_COUNTS["original"]


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    return audit(load_tables())


def of(found: tuple[Finding, ...], check: str, table: str = "") -> list[tuple[str, str, str]]:
    return [
        (each.row, each.column, each.printed)
        for each in found
        if each.check == check and (not table or table in each.tables)
    ]


# --- the paper ------------------------------------------------------------------------------------


def test_nine_cells_of_models_in_the_main_tables_are_no_share_of_their_tasks(
    found: tuple[Finding, ...],
) -> None:
    main = dict.fromkeys([*of(found, "hits", "Table 1"), *of(found, "hits", "Table 11")])
    assert [cell for cell in main if cell[0] != "Human"] == [
        ("LLaVA-OV-72B", "view_diff", "5.34"),
        ("LLaVA-OV-72B", "region", "2.14"),
        ("LLaVA-OV-72B", "refer_grounding", "17.83"),
        ("LLaVA-OV-72B", "group_grounding", "21.60"),
        ("Qwen2-VL-72B", "diff", "46.12"),
        ("mPLUG-Owl3", "reasoning", "9.09"),
        ("InternVL2-8B", "diff", "6.92"),
        ("Qwen2-VL-7B", "region", "25.95"),
        ("InternVL2-8B+CoT", "common_object", "72.54"),
    ]


def test_only_one_of_them_could_be_cut_off(found: tuple[Finding, ...]) -> None:
    cut = [each for each in found if each.check == "hits" and "truncation" in each.could_be]
    assert [(each.row, each.printed, each.recomputed[1]) for each in cut] == [
        ("InternVL2-8B+CoT", "72.54", "72.55")
    ]


def test_human_figures_of_samples_are_no_share_of_a_fifth(found: tuple[Finding, ...]) -> None:
    human = [cell for cell in of(found, "hits") if cell[0] == "Human"]
    assert [printed for _, _, printed in human] == ["99.50", "98.00", "91.06"]


@pytest.mark.parametrize("number", [1, 11])
def test_counting_hits_one_by_one_finds_the_same_in_the_papers_text(
    found: tuple[Finding, ...], number: int
) -> None:
    """Every number of hits there can be, written with two decimals, against the printed text."""
    _, lines = printed_table(number)
    columns = [TABLE_1_COLUMNS[cell] for cell in next(c for c in lines if "Static" in c) if cell]
    possible = {
        task: {f"{100 * hits / count:.2f}" for hits in range(count + 1)}
        for task, count in COUNTS.items()
    }
    amiss = [
        (name, column, cell)
        for name, *cells in filter(is_result, lines)
        if name != "Human"
        for column, cell in zip(columns, cells[:-1], strict=True)
        if cell not in possible[column]
    ]
    kept = of(found, "hits", f"Table {number}")
    assert [cell for cell in kept if cell[0] != "Human"] == amiss


def test_averages_that_do_not_follow(found: tuple[Finding, ...]) -> None:
    assert [
        (each.tables, each.row, each.printed, *each.recomputed)
        for each in found
        if each.check == "average"
    ] == [
        (("Table 1", "Table 11"), "LLaVA-OV-72B", "13.65", "12.80"),
        (("Table 2",), "InternVL2-8B", "50.05", "50.91"),
        (("Table 2",), "Migician", "61.51", "61.22"),
        (("Table 4",), "Shikra", "82.97", "82.92"),
        (("Table 4",), "InternVL2-8B", "82.94", "82.92"),
        (("Table 4",), "GroundingGPT", "83.57", "83.46"),
        (("Table 4",), "Griffon v2", "85.30", "85.31"),
        (("Table 4",), "Qwen2-VL-7B", "87.96", "87.94"),
        (("Table 5",), "Qwen2-VL-7B", "28.61", "25.50"),
        (("later",), "UniVG-R1", "72.64", "72.62"),
    ]


@pytest.mark.parametrize("number", [1, 2, 4, 11])
def test_plain_arithmetic_finds_the_same_averages_in_the_papers_text(
    found: tuple[Finding, ...], number: int
) -> None:
    _, lines = printed_table(number)
    amiss = []
    for name, *cells in filter(is_result, lines):
        figures = [
            float(cell.replace("<u>", "").replace("</u>", "").rstrip("*"))
            for cell in cells
            if cell != "—"
        ]
        mean = sum(figures[:-1]) / len(figures[:-1])
        if abs(mean - figures[-1]) > 0.005 + 1e-9:
            amiss.append((name.split(" [")[0], f"{figures[-1]:.2f}"))
    kept = [(row, printed) for row, _, printed in of(found, "average", f"Table {number}")]
    assert kept == list(dict.fromkeys(amiss))


def test_one_average_could_come_of_cells_before_they_were_rounded(
    found: tuple[Finding, ...],
) -> None:
    assert [(each.row, each.could_be) for each in found if each.check == "average"][6] == (
        *("Griffon v2", ("rounding of the cells",)),
    )
    assert sum(bool(each.could_be) for each in found if each.check == "average") == 1


def test_table_5_weighs_groups_by_4_to_7_and_repeats_a_cell(found: tuple[Finding, ...]) -> None:
    (weights,) = (each for each in found if each.check == "weights")
    assert (weights.row, weights.printed, weights.recomputed) == ("8 of 9 rows", "4:7", ("3:7",))
    (group,) = (each for each in found if each.check == "group")
    assert (group.row, group.printed, group.recomputed) == ("Qwen2-VL-7B", "19.96", ("28.50",))
    assert "mPLUG-Owl3" in group.remark


def test_counts_and_differences_that_do_not_add_up(found: tuple[Finding, ...]) -> None:
    (counts,) = (each for each in found if each.check == "counts")
    assert (counts.tables, counts.printed, counts.recomputed) == (("Table 7",), "4296", ("4295",))
    (change,) = (each for each in found if each.check == "change")
    assert (change.tables, change.column) == (("Table 6",), "blink")
    assert (change.printed, change.recomputed) == ("+0.42", ("+0.05",))


def test_tables_10_and_1_print_some_rows_differently(found: tuple[Finding, ...]) -> None:
    repeats = [each for each in found if each.check == "repeat"]
    assert {each.tables for each in repeats} == {("Table 1", "Table 10")}
    assert ("Qwen2-VL-7B", "common_object", "19.36", ("19.96",)) in [
        (each.row, each.column, each.printed, each.recomputed) for each in repeats
    ]


# --- any other table ------------------------------------------------------------------------------


def table_of(*rows: PublishedRow, **changes: Any) -> PublishedTable:
    plain = replace(load_table("table1"), name="mine", columns=tuple(rows[0].figures), rows=rows)
    return replace(plain, **changes)


def row_of(figures: dict[str, float], **more: Any) -> PublishedRow:
    return PublishedRow(model="A", figures=figures, **more)


hits_of_every_task = st.fixed_dictionaries({task: st.integers(0, n) for task, n in COUNTS.items()})


@given(hits_of_every_task)
def test_nothing_is_found_where_nothing_is_amiss(hits: dict[str, int]) -> None:
    figures = {task: float(f"{100 * k / COUNTS[task]:.2f}") for task, k in hits.items()}
    average = float(f"{sum(figures.values()) / 10:.2f}")
    assert audit([table_of(row_of(figures, average=average))]) == ()


@given(st.integers(0, 94), st.floats(0.02, 1.04))
def test_what_lies_between_two_shares_is_found(hits: int, distance: float) -> None:
    """Robust has 94 targets, so that shares are 1.06 points apart."""
    figure = float(f"{min(100 * hits / 94 + distance, 100):.2f}")
    shares = {f"{100 * k / 94:.2f}" for k in range(95)}
    findings = audit([table_of(row_of({"view_diff": figure}))])
    assert [each.check for each in findings] == ["hits"] * (f"{figure:.2f}" not in shares)


@given(st.integers(1, 93))
def test_a_share_that_was_cut_off_is_said_to_be_one(hits: int) -> None:
    cut = int(10000 * hits / 94) / 100
    findings = audit([table_of(row_of({"view_diff": cut}))])
    assert [each.could_be for each in findings] == [("truncation",)] * len(findings)
    assert bool(findings) == (f"{cut:.2f}" != f"{100 * hits / 94:.2f}")


def test_an_average_that_was_cut_off_is_said_to_be_one() -> None:
    row = row_of({"a": 10.00, "b": 10.01, "c": 10.0}, average=10.00)
    assert audit([table_of(row, divided_by="benchmark", annotations=None)]) == ()
    row = row_of({"a": 10.02, "b": 10.03, "c": 10.03}, average=10.02)
    (finding,) = audit([table_of(row, divided_by="benchmark", annotations=None)])
    assert finding.could_be == ("truncation", "rounding of the cells")


def test_dashes_are_left_out_of_averages() -> None:
    row = PublishedRow(model="A", figures={"a": 10.0, "b": None, "c": 20.0}, average=15.0)
    assert audit([table_of(row, divided_by="benchmark", annotations=None)]) == ()


def test_the_number_of_targets_is_that_of_the_tables_annotations() -> None:
    """81 of 97 in the revised file's reasoning is no share of the original's 101."""
    row = row_of({"reasoning": 83.51})
    assert audit([table_of(row, annotations="revised")]) == ()
    assert len(audit([table_of(row)])) == 1


def test_rows_on_other_annotations_are_not_held_against_each_other() -> None:
    first = table_of(row_of({"diff": 50.0}), name="one")
    second = table_of(row_of({"diff": 25.0}), name="two")
    assert [each.check for each in audit([first, second])] == ["repeat"]
    assert audit([first, replace(second, annotations="revised")]) == ()


# --- the command ----------------------------------------------------------------------------------


def test_every_table_is_listed_and_shown() -> None:
    listed = migbench("published", "list").out
    for table in load_tables():
        assert table.name in listed
        shown = migbench("published", "show", table.name)
        assert shown.status == 0
        for row in table.rows:
            assert row.label in shown.out
            for column in table.columns:
                assert table.as_printed(row, column) in shown.out


def test_doubtful_figures_are_marked_and_only_those() -> None:
    shown = migbench("published", "show", "table1").out
    assert " 72.54?" in shown
    assert " 13.65?" in shown
    assert "99.50*?" in shown
    assert shown.count("?") == 3 + 9 + 1 + 1  # And one in the note.


def test_an_audit_prints_what_it_found_and_writes_it_as_json(tmp_path: Path) -> None:
    done = migbench("published", "audit", "--json", tmp_path / "a.json")
    assert done.status == 0
    for about in ABOUT.values():
        assert about in done.out
    findings = json.loads((tmp_path / "a.json").read_text())
    assert len(findings) == len(audit(load_tables()))
    assert {each["check"] for each in findings} == set(ABOUT)


def test_the_documentation_has_what_the_command_prints() -> None:
    text = (Path(__file__).parents[3] / "docs" / "published.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    printed = migbench("published", "audit").out.splitlines()
    assert block.splitlines() == [line.rstrip() for line in printed]


def test_an_audit_of_one_table_is_about_that_table() -> None:
    out = migbench("published", "audit", "later").out
    assert "72.62" in out
    assert "Table 1" not in out
    assert migbench("published", "audit", "table12").out == "Nothing is amiss.\n"


def test_an_unknown_table_is_refused_with_the_known_ones() -> None:
    for command in ("show", "audit"):
        done = migbench("published", command, "table8")
        assert done.status == 2
        assert "table1, table2" in done.err
