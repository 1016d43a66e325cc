"""Figures as files: the same bytes from the same runs, text that stays text."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from support.plot_runs import Folder, plot_of, split_of

from migbench.errors import UsageError
from migbench.reporting.plots import KINDS, write_plot
from migbench.reporting.plots.iou import draw
from migbench.reporting.plots.style import styled
from migbench.reporting.plots.subjects import Plot

BEGINNINGS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def plots(runs: Folder) -> dict[str, Plot]:
    """Something to draw for every kind."""
    plain = runs.plot("a-direct", "b-direct")
    split = split_of(runs.annotations)
    levels = [(name, runs.scored(name, difficulty=split)) for name in ("a-direct", "b-direct")]
    return dict.fromkeys(KINDS, plain) | {
        "forms": runs.plot("a-direct", "a-cot", "b-direct", "b-mcot"),
        "difficulty": plot_of(runs, levels),
        "cost": runs.plot("a-priced", "b-priced"),
    }


@pytest.mark.parametrize("ending", BEGINNINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_gives_the_same_bytes(
    plots: dict[str, Plot], kind: str, ending: str, tmp_path: Path
) -> None:
    first, second = tmp_path / f"1.{ending}", tmp_path / f"2.{ending}"
    caption = write_plot(kind, plots[kind], first)
    write_plot(kind, plots[kind], second)
    content = first.read_bytes()
    assert content.startswith(BEGINNINGS[ending])
    assert second.read_bytes() == content
    assert len(caption) > 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_bytes_do_not_depend_on_the_process_which_needs_no_pyplot(
    runs: Folder, tmp_path: Path
) -> None:
    program = (
        "from migbench.cli import cli\n"
        f"for out in {[f'{ending}.{ending}' for ending in BEGINNINGS]}:\n"
        f"    cli(['plot', {str(runs['a-direct'])!r}, '--kind', 'tasks', '--out', out], "
        "standalone_mode=False)\n"
        "import sys\n"
        "assert 'matplotlib' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    for ending in BEGINNINGS:
        write_plot("tasks", runs.plot("a-direct"), tmp_path / f"here.{ending}")
        there = (tmp_path / f"{ending}.{ending}").read_bytes()
        assert (tmp_path / f"here.{ending}").read_bytes() == there


def test_text_in_svg_stays_text_and_the_caption_travels_along(
    plots: dict[str, Plot], tmp_path: Path
) -> None:
    path = tmp_path / "tasks.svg"
    caption = write_plot("tasks", plots["tasks"], path)
    root = ElementTree.parse(path).getroot()
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Static", "Co-Re", "Mean", "Acc@0.5, %", "mplug-owl3", "100"} <= texts
    content = path.read_text("utf-8")
    assert all(line.split(":")[0] in content for line in caption)
    assert "dc:date" not in content


def test_pdf_embeds_truetype_fonts_and_has_no_date(plots: dict[str, Plot], tmp_path: Path) -> None:
    path = tmp_path / "tasks.pdf"
    write_plot("tasks", plots["tasks"], path)
    content = path.read_bytes()
    assert b"/FontFile2" in content
    assert b"/Subtype /Type3" not in content
    assert b"CreationDate" not in content


@pytest.mark.parametrize(("width", "pixels"), [(None, 2025), (4.0, 1200)])
def test_png_is_as_wide_as_asked_for_at_300_dots_an_inch(
    runs: Folder, tmp_path: Path, width: float | None, pixels: int
) -> None:
    write_plot("tasks", runs.plot("a-direct", width=width), tmp_path / "tasks.png")
    with Image.open(tmp_path / "tasks.png") as image:
        assert image.width == pixels
        assert round(image.info["dpi"][0]) == 300
        assert image.text["Title"] == "Acc@0.5 of every task, with intervals."


def test_the_users_own_style_neither_shows_nor_changes(
    plots: dict[str, Plot], tmp_path: Path
) -> None:
    write_plot("tasks", plots["tasks"], tmp_path / "plain.svg")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        write_plot("tasks", plots["tasks"], tmp_path / "own.svg")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "own.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()


def test_names_are_no_formulas(plots: dict[str, Plot], tmp_path: Path) -> None:
    plot = plots["tasks"]
    odd = replace(plot, runs=(replace(plot.runs[0], label="_$m_1$ <b>&"), *plot.runs[1:]))
    write_plot("tasks", odd, tmp_path / "odd.svg")
    texts = {each.text for each in ElementTree.parse(tmp_path / "odd.svg").iter()}
    assert "_$m_1$ <b>&" in texts


def test_a_long_name_stays_inside_of_the_figure(plots: dict[str, Plot]) -> None:
    plot = plots["iou"]
    long = replace(plot.runs[0], label="an-organisation/a-model-of-many-billions " * 3)
    with styled():
        figure = draw(replace(plot, runs=(long, *plot.runs[1:]))).figure
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        (legend,) = figure.legends
        box = legend.get_window_extent(canvas.get_renderer())
        (axes,) = figure.axes
        height = axes.get_window_extent().height / figure.dpi
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    assert height > 1.5


def test_a_failed_write_leaves_the_old_file(
    plots: dict[str, Plot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Figure, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    (tmp_path / "x.png").write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(OSError, match="full"):
        write_plot("tasks", plots["tasks"], tmp_path / "x.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("name", ["x.jpg", "x", "svg"])
def test_other_endings_are_refused(plots: dict[str, Plot], tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.svg, \.png, \.pdf"):
        write_plot("tasks", plots["tasks"], tmp_path / name)


def test_without_matplotlib_the_extra_is_named(
    plots: dict[str, Plot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "migbench.reporting.plots.style", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'migbench\[report\]'"):
        write_plot("tasks", plots["tasks"], tmp_path / "x.svg")


def test_type_is_of_eight_points() -> None:
    with styled():
        sizes = {name: value for name, value in matplotlib.rcParams.items() if "labelsize" in name}
        assert matplotlib.rcParams["font.size"] == 8
        assert {sizes["xtick.labelsize"], sizes["ytick.labelsize"], sizes["axes.labelsize"]} == {8}
