"""What is printed on a terminal fits it: columns are folded, prose is broken, rows are not."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.report_runs import beside, make_data, make_run, truth

from migbench.util.folding import GAP, fold, paragraph
from migbench.util.plain_table import plain_table


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(10, 90))
def test_blocks_hold_every_column_once_and_as_many_as_fit(widths: list[int], width: int) -> None:
    blocks = fold(widths, width)
    assert all(block[0] == 0 for block in blocks)
    assert [place for block in blocks for place in block[1:]] == [*range(1, len(widths))]
    for block in blocks:
        taken = sum(widths[place] for place in block) + GAP * (len(block) - 1)
        assert taken <= width or len(block) <= 2
    assert fold(widths, None) == [[*range(len(widths))]]


CELLS = st.text("abc –", min_size=1, max_size=12)


@given(
    st.integers(1, 8).flatmap(
        lambda columns: st.lists(
            st.lists(CELLS, min_size=columns, max_size=columns), min_size=2, max_size=6
        )
    )
)
def test_a_folded_table_has_all_cells_in_lines_that_fit(table: list[list[str]]) -> None:
    header, *body = table
    lines = plain_table(body, header, width=40).splitlines()
    assert max(map(len, lines)) <= 40
    printed = "\n".join(lines)
    assert all(cell.strip() in printed for line in table for cell in line)


def test_a_column_that_is_too_wide_becomes_prose() -> None:
    printed = plain_table([["a", "1", "word " * 30]], ["Name", "Number", "Source"], width=50)
    *_, first, second, third, last = printed.splitlines()
    assert first.startswith("  a: word word")
    assert all(line.startswith("    word") for line in (second, third, last))
    assert max(map(len, printed.splitlines())) <= 50


@given(st.text("ab ", max_size=300), st.integers(20, 60))
def test_a_paragraph_keeps_its_words(text: str, width: int) -> None:
    assert paragraph(text, width).split() == text.split()
    assert paragraph(text, None) == text


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folded")
    data = make_data(folder / "data")
    make_run(folder / "one", data, truth)
    make_run(folder / "a-rather-long-name", data, beside)
    return folder


def printed(folder: Path, command: str, columns: int | None) -> str:
    """What a command prints to a terminal of so many columns, or into a pipe."""
    arguments = [sys.executable, "-m", "migbench", *command.split()]
    if columns is None:
        return subprocess.run(
            arguments, cwd=folder, capture_output=True, check=True
        ).stdout.decode()
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns)}
    with subprocess.Popen(
        arguments, cwd=folder, stdout=theirs, stdin=subprocess.DEVNULL, env=environment
    ):
        os.close(theirs)
        content = b""
        try:
            while part := os.read(ours, 4096):
                content += part
        except OSError:  # The other end was closed: all is read.
            pass
    os.close(ours)
    return content.decode().replace("\r\n", "\n")


COMMANDS = (
    "score one",
    "table one a-rather-long-name --published --intervals",
    "compare one a-rather-long-name",
    "models --notes",
)


def test_names_that_leave_no_room_stand_above_their_figures(runs: Path) -> None:
    narrow = printed(runs, "table one a-rather-long-name --published --intervals", 44)
    assert max(len(line) for line in narrow.splitlines()) <= 44
    assert re.search(r"^  qwen2-vl-7b \(a-rather-long-name\)\n {4}.* 0\.00", narrow, re.MULTILINE)
    assert "docs/statistics.md" in narrow


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_fit_a_terminal_of_80_columns(runs: Path, command: str) -> None:
    narrow = printed(runs, command, 80)
    assert max(len(line) for line in narrow.splitlines()) <= 80
    wide = printed(runs, command, None)
    assert max(len(line) for line in wide.splitlines()) > 100
    words = re.compile(r"[^\s─-]{2,}")
    assert {*words.findall(wide)} <= {*words.findall(narrow)}  # Nothing is left out.
