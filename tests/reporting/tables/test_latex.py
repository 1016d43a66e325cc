"""LaTeX: what is written is compiled, and fits the page that it is for."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import migbench
from support.report_runs import beside, make_data, make_run, truth

from migbench.reporting.tables import Row, Section, Table, latex, published_notes
from migbench.reporting.tables import published_sections as published
from migbench.reporting.tables.layouts import LAYOUTS
from migbench.scoring import Interval

PAGE = r"""\documentclass[%s]{article}
\usepackage{booktabs}
\begin{document}
\begin{table*}
%s
\end{table*}
\end{document}
"""
WIDE = Interval(error=20.0, low=66.1, high=100.0, method="wilson")
NAMES = (
    "Ours (7B)",
    "qwen2-vl-7b +mCoT (all at once) (a-folder-with-a-long-name) [30 of 4,295]",
    "averyveryverylongnamewithoutanyplacetobreakitinto_parts/and_more",
)


@pytest.fixture
def compiled(tmp_path: Path) -> object:
    """Compile a document, and give its log."""
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex (Debian: texlive-latex-recommended)")

    def compile_(document: str) -> str:
        (tmp_path / "t.tex").write_text(document, encoding="utf-8")
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        log = (tmp_path / "t.log").read_text("latin-1")
        assert done.returncode == 0, log[-2000:]
        assert (tmp_path / "t.pdf").stat().st_size
        return log

    return compile_


def widest(layout_name: str) -> Table:
    """The widest table of a layout: long names, every figure bold and with its interval."""
    layout = LAYOUTS[layout_name]()
    keys = [column.key for column in layout.columns]
    rows = tuple(
        Row(
            (name, *["All+mCoT"] * (len(layout.labels) - 1)),
            dict.fromkeys(keys, 100.0 - place),
            "original",
            intervals=dict.fromkeys(keys, WIDE),
        )
        for place, name in enumerate(NAMES)
    )
    # Ranked by themselves, so that the first is bold in every column.
    rows = tuple(replace(row, annotations="mine") for row in rows)
    notes = ("run 0123456789ab, corrections y scaling ×1.05 – " + "word " * 40, "† and ‡, …")
    sections = (Section("On some annotations", rows), *published(layout))
    return Table(layout, sections, (*notes, *published_notes(layout)))


@pytest.mark.parametrize("options", ["", "twocolumn", "a4paper,12pt", "a4paper,11pt,twocolumn"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_stands_in_a_table_of_any_width(compiled: object, layout: str, options: str) -> None:
    assert callable(compiled)
    log = compiled(PAGE % (options, latex(widest(layout))))
    assert not re.search(r"Overfull|Missing character|Font shape .* undefined", log)


def test_the_command_writes_a_whole_document(compiled: object, tmp_path: Path) -> None:
    assert callable(compiled)
    data = make_data(tmp_path / "data")
    make_run(tmp_path / "one", data, truth)
    make_run(tmp_path / "two", data, beside)
    options = ("--published", "--intervals", "--format", "latex")
    done = migbench("table", tmp_path / "one", tmp_path / "two", *options, "--standalone")
    assert done.status == 0, done.err
    assert "Overfull" not in compiled(done.out)
    body = migbench("table", tmp_path / "one", tmp_path / "two", *options).out.strip()
    assert body in done.out
    assert body.startswith("% \\usepackage{booktabs}\n")
    # All that a reader needs is part of what is printed, not of comments.
    assert [line for line in body.splitlines() if line.startswith("%")] == body.splitlines()[:1]
    assert re.search(r"^qwen2-vl-7b \(one\): run \w{12}, protocol standard", body, re.MULTILINE)
    assert r"\textsuperscript{\dag}" in body
    assert migbench("table", tmp_path / "one", "--standalone").status == 2


def test_an_interval_is_stacked_below_its_figure() -> None:
    (line,) = (each for each in latex(widest("table5")).splitlines() if "Ours" in each)
    stack = r"\textbf{100.00}\\[-2pt]\fontsize{5}{5}\selectfont [66.10,"
    stack += r"\\[-2pt]\fontsize{5}{5}\selectfont 100.00]"
    assert line.count(stack) == 2  # The average is not ranked here.
