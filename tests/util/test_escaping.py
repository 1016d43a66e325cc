"""Text from elsewhere in every format: it stands there as it is, and does nothing."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from migbench.reporting.published import DECIMALS, load_table
from migbench.reporting.tables import FORMATS, Layout, Row, Section, Table
from migbench.reporting.tables.layouts import Column
from migbench.util import escaping

NAMES = (
    r"\input{/etc/passwd} \write18{touch pwned} \def\x{y}",
    r"100% & $x_1^2$ #1 ~a {b} ^^41 --- ,, [3pt] *2 | <a> `c` 'd' " + '"e"',
    "[link](https://evil.example) ![i](x) <img src=x onerror=alert(1)> http://e.com www.e.com",
    "**bold** __x__ ~~y~~ &lt; a@e.example | cell | `code`",
    "# heading",
    "- item",
    "1. item",
    "    code",
    "=HYPERLINK(1)",
    "@SUM(1)",
    "[3pt]",
    "*",
    "\x1b[2J\x1b]0;title\x07\x9b31m\u202ereversed\u2066 \rAVE 99\nforged\u2028line\u200b",
)
"""What a model may be called."""
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def table_of(*names: str) -> Table:
    """A table with one row a name."""
    column = Column("average", "AVE", lambda scores: None, lambda scores: None, decimals=DECIMALS)
    rows = tuple(Row((name,), {"average": 12.5}, name) for name in names)
    layout = Layout((column,), (load_table("table1"),))
    return Table(layout, (Section(names[0], rows),), tuple(f"{name}: note" for name in names))


def is_harmless(printed: str) -> bool:
    return all(letter == "\n" or category(letter) not in INVISIBLE for letter in printed)


# --- the terminal ---------------------------------------------------------------------------------


@given(st.text(st.characters()))
def test_nothing_invisible_is_printed_and_what_is_seen_stays(text: str) -> None:
    shown = escaping.visible(text)
    assert is_harmless(shown)
    assert "\n" not in shown
    shown.encode()  # Not a lone surrogate either.
    assert escaping.visible(shown) == shown
    if not {category(letter) for letter in text} & INVISIBLE:
        assert shown == text
    lines = escaping.terminal(text)
    assert lines.count("\n") == text.count("\n")
    assert is_harmless(lines.replace("\t", ""))


@given(st.recursive(st.text(st.characters()), lambda part: st.lists(part, max_size=3)))
def test_json_keeps_its_values(value: object) -> None:
    try:
        written = json.dumps(value, ensure_ascii=False)
        written.encode()
    except UnicodeEncodeError:
        return  # Not text that any file of ours can hold.
    shown = escaping.json(written)
    assert json.loads(shown) == value
    assert is_harmless(shown)


def test_text_tables_have_a_line_for_each_row() -> None:
    printed = FORMATS["text"](table_of(*NAMES))
    assert is_harmless(printed)
    assert len(printed.splitlines()) == len(["header", "rule", "section", "blank"]) + 2 * len(NAMES)
    assert sum(line.endswith("12.50") for line in printed.splitlines()) == len(NAMES)


# --- Markdown -------------------------------------------------------------------------------------

# Half of the letters are those that mean something.
MARKED = st.text(st.one_of(st.sampled_from("\\`*_[]()<>#+-.!|~&$:@=/\"' 1"), st.characters()))


def rendered(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)


def shown_by(token: Token) -> str:
    """An inline token's text; it has to be nothing but text."""
    children = token.children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    return "".join(child.content for child in children)


@given(MARKED)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    tokens = rendered(escaping.markdown(text))
    inline = [token for token in tokens if token.type == "inline"]
    assert [token.type for token in tokens if token.nesting >= 0 and token.type != "inline"] == [
        "paragraph_open"
    ] * len(inline)
    # CommonMark drops the spaces around a paragraph.
    assert "".join(map(shown_by, inline)).strip() == escaping.visible(text).strip()


def test_markdown_tables_hold_the_names() -> None:
    printed = FORMATS["markdown"](table_of(*NAMES))
    tokens = rendered(printed)
    cells = [inside for cell, inside in pairwise(tokens) if cell.type == "td_open"]
    # A heading in italics first, whose own markup is not the name's.
    assert [token.type for token in cells[0].children or []] == ["em_open", "text", "em_close"]
    names = [escaping.visible(name).strip() for name in NAMES]
    assert [shown_by(cell).strip() for cell in cells[2::2]] == names
    notes = [inside for start, inside in pairwise(tokens) if start.type == "paragraph_open"]
    shown = [escaping.visible(f"{name}: note").strip() for name in NAMES]
    assert [shown_by(note).strip() for note in notes] == shown
    for bare in ("://", "www."):  # GitHub links these wherever they stand.
        assert bare not in printed


# --- CSV ------------------------------------------------------------------------------------------


def test_csv_has_no_formula_and_gives_the_names_back() -> None:
    rows = [*csv.reader(io.StringIO(FORMATS["csv"](table_of(*NAMES))))][1:]
    assert not any(cell.startswith(escaping.FORMULA[:-1]) for row in rows for cell in row)
    assert [row[1].removeprefix("'") for row in rows] == [*NAMES]
    assert [row[-1] for row in rows] == ["12.5"] * len(NAMES)


@given(st.text())
def test_a_cell_gives_its_text_back(text: str) -> None:
    cell = escaping.csv(text)
    assert cell.removeprefix("'") == text
    assert not cell.startswith(tuple(letter for letter in escaping.FORMULA if letter != "'"))


# --- LaTeX ----------------------------------------------------------------------------------------

DOCUMENT = r"""\documentclass{article}
%s
\usepackage{booktabs}
\pagestyle{empty}
\begin{document}
\noindent
%s
\end{document}
"""


@pytest.mark.parametrize("preamble", ["", r"\usepackage[T1]{fontenc}"])
def test_latex_prints_the_names_and_runs_nothing(tmp_path: Path, preamble: str) -> None:
    for program in ("pdflatex", "pdftotext"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} (Debian: texlive-latex-recommended, poppler-utils)")
    names = [name for name in NAMES if name.isascii()]
    table = FORMATS["latex"](table_of(*names, NAMES[-1]))
    (tmp_path / "t.tex").write_text(DOCUMENT % (preamble, table), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert not (tmp_path / "pwned").exists()
    assert b"/etc/passwd" not in done.stdout
    if not preamble:
        return  # The fonts without accents draw some letters, of which a reader finds no text.
    text = subprocess.run(
        ["pdftotext", "-layout", "-nopgbrk", "t.pdf", "-"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    ).stdout.decode()
    printed = "".join(text.split())
    for name in (*names, escaping.visible(NAMES[-1])):
        assert "".join(name.split()) in printed, name


@given(MARKED)
def test_latex_has_no_letter_of_its_own_meaning_left(text: str) -> None:
    """Every backslash begins what is written for one letter; nothing else is active."""
    written = escaping.latex(text)
    for letter, replacement in sorted(escaping.LATEX.items(), key=lambda each: -len(each[1])):
        written = written.replace(replacement, "") if replacement != letter else written
    assert not set(written.replace("{}", "")) & set("\\{}$&#^_~%\n")
