"""The published tables: what is kept here is what the papers print."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.data_files import PUBLISHED_COUNTS

from migbench.errors import DataError, UsageError
from migbench.reporting.published import (
    PublishedRow,
    PublishedTable,
    load_table,
    load_tables,
    read_table,
    table_names,
)

REPOSITORY = Path(__file__).parents[3]
PAPER = REPOSITORY.parent / "shared" / "paper" / "migician.md"
PROFILES = REPOSITORY / "model_adapters" / "profiles"

REVISED_COUNTS = PUBLISHED_COUNTS["revised"]
TABLE_1_COLUMNS = {
    "Static": "diff",
    "Robust": "view_diff",
    "Common": "common_object",
    "OT": "object_tracking",
    "MV": "multi_view",
    "Region": "region",
    "Refer": "refer_grounding",
    "GG": "group_grounding",
    "Reason": "reasoning",
    "Co-Re": "correspondence",
}
TABLE_10_COLUMNS = {
    "Common Object": "common_object",
    "Multi-view Grounding": "multi_view",
    "Object Tracking": "object_tracking",
    "Region Locating": "region",
}


# --- the paper's text -----------------------------------------------------------------------------


def printed_table(number: int) -> tuple[str, list[list[str]]]:
    """Caption and rows (cells as printed) of one table: the block of lines above its caption."""
    if not PAPER.is_file():
        pytest.skip("the paper's text does not lie beside this repository")
    lines = PAPER.read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith(f"Table {number}. "))
    above = itertools.dropwhile(lambda line: not line.strip(), reversed(lines[:end]))
    block = list(itertools.takewhile(lambda line: line.strip(), above))[::-1]
    rows = [
        [re.sub(r" _\{(\+m?CoT)\}", r"\1", cell.strip()) for cell in line.split("\t")]
        for line in block
    ]
    return lines[end].removeprefix(f"Table {number}. "), rows


def is_result(cells: list[str]) -> bool:
    return re.fullmatch(r"\d+\.\d\d", cells[-1]) is not None


def as_printed(row: PublishedRow) -> list[str]:
    return [f"{value:.2f}{'*' * (task in row.sampled)}" for task, value in row.figures.items()]


@pytest.mark.parametrize(("number", "row_count"), [(1, 14), (11, 6)])
def test_every_cell_of_the_main_tables_is_as_printed(number: int, row_count: int) -> None:
    caption, lines = printed_table(number)
    table = load_table(f"table{number}")

    section, expected = "", []
    for cells in lines:
        if is_result(cells):
            expected.append((section, cells))
        elif not any(cells[1:]):
            section = re.sub(r" (MLLMs|Models|Performance)$", "", cells[0]).replace(" ", "-")

    assert [
        (row.section, [row.model, *as_printed(row), f"{row.average:.2f}"]) for row in table.rows
    ] == expected
    assert len(table.rows) == row_count
    assert caption.startswith(table.caption)


@pytest.mark.parametrize("number", [1, 11])
def test_columns_of_the_main_tables_are_in_printed_order(number: int) -> None:
    _, lines = printed_table(number)
    header = [cell for cell in next(cells for cells in lines if "Static" in cells) if cell]
    assert tuple(TABLE_1_COLUMNS[cell] for cell in header) == load_table(f"table{number}").columns


def test_every_cell_of_the_answering_forms_table_is_as_printed() -> None:
    caption, lines = printed_table(10)
    table = load_table("table10")
    expected = [cells for cells in lines if is_result(cells)]
    assert [[row.model, row.setting, *as_printed(row)] for row in table.rows] == expected
    assert tuple(TABLE_10_COLUMNS[cell] for cell in lines[0][2:]) == table.columns
    assert len(table.rows) == 7
    assert caption.startswith(table.caption)


def test_every_cell_of_the_chains_of_thought_table_is_as_printed() -> None:
    caption, lines = printed_table(5)
    table = load_table("table5")
    expected = [cells for cells in lines if is_result(cells)]
    assert [[row.model, *as_printed(row), f"{row.average:.2f}"] for row in table.rows] == expected
    assert tuple(cell.lower() for cell in lines[0][1:-1]) == table.columns
    assert len(table.rows) == 9
    assert caption.startswith(table.caption)


def cells_and_average(table: PublishedTable, row: PublishedRow) -> list[str]:
    cells = [table.as_printed(row, column) for column in table.columns]
    return cells if row.average is None else [*cells, f"{row.average:.2f}"]


@pytest.mark.parametrize(("number", "heads"), [(2, 1), (3, 1), (4, 2), (9, 1)])
def test_every_cell_of_the_other_tables_is_as_printed(number: int, heads: int) -> None:
    caption, lines = printed_table(number)
    table = load_table(f"table{number}")
    section, expected = "", []
    for cells in lines[heads:]:
        name, *figures = (re.sub(r"</?u>| \[\d+\]$", "", cell) for cell in cells)
        if any(figures):
            expected.append((section, [name, *figures]))
        else:
            section = name.removesuffix(" Model")
    kept = {
        (row.section, row.model): [row.model, *cells_and_average(table, row)] for row in table.rows
    }
    assert [kept[each, cells[0]] for each, cells in expected] == [cells for _, cells in expected]
    assert list(kept) == list(dict.fromkeys((each, cells[0]) for each, cells in expected))
    assert sum(row.times for row in table.rows) == len(expected)
    assert caption.startswith(table.caption)


def test_every_cell_and_difference_of_the_ablation_is_as_printed() -> None:
    caption, lines = printed_table(6)
    table = load_table("table6")
    kept = []
    for row in table.rows:
        changes = [f" _({row.changes[c]:+.2f})" if c in row.changes else "" for c in table.columns]
        cells = cells_and_average(table, row)
        kept.append([row.model, *(a + b for a, b in zip(cells, changes, strict=True))])
    assert kept == lines[2:]
    assert caption.startswith(table.caption)


def test_every_share_of_the_training_data_is_as_printed_and_they_add_up() -> None:
    caption, lines = printed_table(12)
    table = load_table("table12")
    section, kind, expected = "", "", []
    for cells in lines[1:]:
        if len(cells) == 1 or not any(cells[1:]):
            section = cells[0]
        else:
            kind = cells[0] or kind
            source = re.sub(r"\[\d+\]$", "", cells[1])
            expected.append([section, kind, source, cells[2]])
    assert [
        [row.section, row.model, row.setting, f"{table.as_printed(row, 'ratio')}%"]
        for row in table.rows
    ] == expected
    for stage in ("Stage-1", "Stage-2"):
        assert sum(row.figures["ratio"] or 0 for row in table.rows if row.section == stage) == 100
    assert caption.startswith(table.caption)


# --- what the data says about itself --------------------------------------------------------------


def test_tables_are_listed_by_number_then_by_name() -> None:
    numbers = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12)
    assert table_names() == (*(f"table{number}" for number in numbers), "later")
    assert [table.name for table in load_tables()] == list(table_names())


def test_columns_are_what_a_table_divides_the_instances_by() -> None:
    known = {
        "task": set(REVISED_COUNTS),
        "group": {"spontaneous", "referential"},
        "level": {"easy", "medium", "hard"},
    }
    for table in load_tables():
        if table.divided_by in known:
            assert set(table.columns) <= known[table.divided_by]
            assert table.annotations


SPONTANEOUS = ("diff", "view_diff", "common_object")


def means_of_groups(model: str) -> tuple[float, float]:
    """Spontaneous and referential, from a row's cells in Table 1."""
    cells = load_table("table1").row(model).figures
    spontaneous = [cells[task] for task in SPONTANEOUS]
    referential = [value for task, value in cells.items() if task not in SPONTANEOUS]
    return sum(spontaneous) / 3, sum(referential) / 7


def test_groups_of_table_5_are_means_of_table_1s_cells_but_for_one_copied_cell() -> None:
    differing = {}
    for row in load_table("table5").rows:
        if row.strategy != "mcot":
            for printed, mean in zip(row.figures.values(), means_of_groups(row.model), strict=True):
                if abs(printed - mean) > 0.0051:
                    differing[row.model, printed] = round(mean, 2)
    assert differing == {("Qwen2-VL-7B", 19.96): 28.5}
    assert load_table("table5").row("mPLUG-Owl3").figures["spontaneous"] == 19.96


def test_averages_of_table_5_fit_weights_of_4_to_7_and_not_of_3_to_7() -> None:
    """What the table's remark says: they are not the mean of ten tasks, as Table 1's are."""
    table = load_table("table5")
    for row in table.rows:
        spontaneous, referential = row.figures.values()
        if row.model == "Qwen2-VL-7B":
            spontaneous = means_of_groups(row.model)[0]
        assert row.average == pytest.approx((4 * spontaneous + 7 * referential) / 11, abs=0.011)
    first = table.row("mPLUG-Owl3")
    assert first.average != pytest.approx((3 * 19.96 + 7 * 9.08) / 10, abs=0.5)
    assert "4 (Spontaneous) to 7 (Referential)" in table.remark


def test_rows_printed_in_both_main_tables_are_the_same() -> None:
    first = {row.model: row for row in load_table("table1").rows}
    again = {row.model: row for row in load_table("table11").rows}
    shared = first.keys() & again.keys()
    assert shared == {"LLaVA-OV-72B", "InternVL2-76B", "Qwen2-VL-72B"}
    for model in shared:
        assert first[model] == again[model]


def test_chain_of_thought_rows_are_marked_in_name_and_strategy() -> None:
    for name in ("table1", "table5", "table11"):
        for row in load_table(name).rows:
            assert (row.strategy == "cot") == row.model.endswith("+CoT")
            assert (row.strategy == "mcot") == row.model.endswith("+mCoT")
            assert row.evaluator == "polling"


def test_settings_of_the_answering_forms_table_say_evaluator_and_strategy() -> None:
    forms = {
        "Random Guess": ("polling", "direct"),
        "Polling": ("polling", "direct"),
        "All": ("all-at-once", "direct"),
        "Polling+mCoT": ("polling", "mcot"),
        "All+mCoT": ("all-at-once", "mcot"),
    }
    for row in load_table("table10").rows:
        assert (row.evaluator, row.strategy) == forms[row.setting]


def test_only_the_migician_row_is_known_to_be_corrected() -> None:
    corrected = [row.model for table in load_tables() for row in table.rows if row.corrections]
    assert corrected == ["Migician"]
    assert "1.05" in load_table("table1").row("Migician").corrections


def test_annotation_versions_are_kept_apart() -> None:
    versions = {table.name: table.annotations for table in load_tables()}
    assert versions.pop("later") == "revised"
    elsewhere = {name for name, version in versions.items() if version is None}
    assert elsewhere == {"table2", "table3", "table4", "table12"}
    assert {versions[name] for name in versions.keys() - elsewhere} == {"original"}


def test_every_table_names_its_source() -> None:
    for table in load_tables():
        assert re.search(r"arXiv:\d{4}\.\d{5}", table.source.reference)
        if table.name.startswith("table"):
            assert table.source.table == int(table.name.removeprefix("table"))


def test_univg_r1_fits_the_revised_file_in_this_column_order_only() -> None:
    """Each figure is k hits out of n for its task; no other assignment of figures to tasks is."""
    row = load_table("later").row("UniVG-R1")
    printed = " ".join(f"{value:.2f}" for value in row.figures.values())
    assert printed == "71.97 58.51 93.13 76.36 66.32 81.71 82.83 88.04 62.89 44.44"
    assert row.average == 72.64

    def feasible(value: float, count: int) -> bool:
        return any(f"{100 * hits / count:.2f}" == f"{value:.2f}" for hits in range(count + 1))

    orders: list[tuple[str, ...]] = [()]
    for value in row.figures.values():
        orders = [
            (*order, task)
            for order in orders
            for task, count in REVISED_COUNTS.items()
            if task not in order and feasible(value, count)
        ]
    assert orders == [tuple(row.figures)]


def test_profiles_name_rows_that_exist() -> None:
    rows = {row.model for table in load_tables() for row in table.rows}
    named = {
        profile.stem: published
        for profile in PROFILES.glob("*.yaml")
        if (published := yaml.safe_load(profile.read_text(encoding="utf-8")).get("published"))
    }
    assert named.keys() >= {"migician", "qwen2-vl-7b", "univg-r1"}
    assert set(named.values()) <= rows


# --- loading --------------------------------------------------------------------------------------


def test_importing_reads_no_file_and_no_yaml() -> None:
    code = "import sys, migbench.reporting.published; sys.exit('yaml' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_a_table_is_read_once() -> None:
    assert load_table("table1") is load_table("table1")


def test_unknown_names_are_usage_errors_that_say_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"table8.*table1, table2, .*, table12, later"):
        load_table("table8")
    with pytest.raises(UsageError, match=r"GPT-4o.*Qwen2-VL-7B"):
        load_table("table1").row("GPT-4o")
    with pytest.raises(UsageError, match=r"Migician, Random.*Migician, Polling"):
        load_table("table10").row("Migician", "Random")


GOOD = """
source: {title: A paper, reference: "arXiv:2501.00001", table: 3}
annotations: original
columns: [diff, region]
rows:
  - {model: A, figures: {diff: 1.5, region: 100}, average: 50.75, sampled: [diff]}
  - {model: B, figures: {diff: 0.0, region: 2.0}}
"""


def test_a_well_formed_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD, encoding="utf-8")
    table = read_table(file)
    assert table.name == "mine"
    assert table.row("A").figures == {"diff": 1.5, "region": 100.0}
    assert table.row("B").average is None


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        pytest.param("diff: 1.5", "diff: 101", "row A: diff is 101", id="above-100"),
        pytest.param("diff: 1.5", "diff: -1", r"rows\[0\]", id="below-0"),
        pytest.param("diff: 1.5", "diff: .nan", r"rows\[0\]", id="not-a-number"),
        pytest.param("diff: 1.5", "diff: 1.5*", r"rows\[0\]", id="text-for-a-figure"),
        pytest.param("model: B", "modle: B", "modle", id="unknown-key"),
        pytest.param("model: B, ", "", "model", id="missing-key"),
        pytest.param("annotations: original", "annotations: mine", "annotations", id="version"),
        pytest.param("diff: 0.0, ", "", "row B.*diff, region", id="missing-task"),
        pytest.param("diff: 0.0", "dif: 0.0", "row B.*dif, region", id="unknown-task"),
        pytest.param("sampled: [diff]", "sampled: [x]", "row A.*'sampled'.*x", id="sampled"),
        pytest.param("model: B", "model: A", "row A: stands twice", id="row-twice"),
        pytest.param("columns:", "name: other\ncolumns:", "remove 'name'", id="name-inside"),
        pytest.param("annotations: original", "caption: x", "which 'annotations'", id="no-version"),
        pytest.param("columns:", "changes_from: C\ncolumns:", "no row: C", id="changes-from"),
        pytest.param("rows:", "rows: [", "while parsing", id="not-yaml"),
        pytest.param(
            "title: A paper", "title: !!python/name:os.system ''", "python/name", id="python-tag"
        ),
    ],
)
def test_malformed_files_are_refused_by_name(
    tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    assert right in GOOD
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace(right, wrong, 1), encoding="utf-8")
    with pytest.raises(DataError, match=rf"(?s)bad\.yaml.*{message}"):
        read_table(file)


@pytest.mark.parametrize("content", [b"", b"- a\n", b"\xff\xfe\x00", b"just text"])
def test_files_that_hold_no_mapping_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.yaml"):
        read_table(file)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.yaml"):
        read_table(tmp_path / "absent.yaml")
