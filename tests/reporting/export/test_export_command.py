"""`migbench export`, as a user calls it."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas
import pytest
from support.command_line import migbench
from support.export_runs import Exportable

OUT = {
    "coco": "coco",
    "fiftyone": "fiftyone",
    "csv": "rows.csv",
    "parquet": "rows.parquet",
    "model-index": "index.yaml",
}


@pytest.mark.parametrize("kind", OUT)
@pytest.mark.parametrize(("name", "status"), [("whole", 0), ("part", 1)])
def test_every_format_is_written_and_what_was_written_is_said(
    run: Exportable, tmp_path: Path, kind: str, name: str, status: int
) -> None:
    out = tmp_path / "new" / OUT[kind]
    done = migbench(
        *("export", run.folder / name, "--to", kind, "--out", out, "--images", run.images.root)
    )
    assert done.status == status, done.err
    assert done.out.splitlines()[0] == str(out)
    assert ("INCOMPLETE: 1 targets without an answer." in done.out) == bool(status)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_csv_and_parquet_hold_the_same_rows(run: Exportable, tmp_path: Path) -> None:
    for kind in ("csv", "parquet"):
        done = migbench(
            "export", run.folder / "part", "--to", kind, "--out", tmp_path / f"rows.{kind}"
        )
        assert done.status == 1, done.err
    frame = pandas.read_parquet(tmp_path / "rows.parquet")
    assert len(frame) == 30
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [*rows[0]] == [*frame.columns]
    answers = [row["answer"].removeprefix("'") for row in rows]
    assert answers == frame.answer.fillna("").tolist()
    assert "'=no box" in {row["answer"] for row in rows}
    assert [float(row["iou"]) for row in rows] == frame.iou.tolist()


def test_every_column_is_documented(run: Exportable, tmp_path: Path) -> None:
    migbench("export", run.folder / "whole", "--to", "csv", "--out", tmp_path / "rows.csv")
    columns = (tmp_path / "rows.csv").read_text("utf-8").splitlines()[0].split(",")
    page = Path(__file__).parents[3] / "docs" / "export.md"
    missing = [name for name in columns if f"`{name}`" not in page.read_text("utf-8")]
    assert not missing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "csv", "--out", "x.parquet"), "choose a name that ends in .csv"),
        (("--to", "parquet", "--out", "x"), "choose a name that ends in .parquet"),
        (("--to", "csv", "--out", "x.csv", "--categories", "one"), "--categories is for --to coco"),
        (
            ("--to", "coco", "--out", "x", "--copy-images"),
            "--copy-images is for --to fiftyone; leave it out for coco",
        ),
        (
            ("--to", "coco", "--out", "x", "--source-url", "https://example.org"),
            "--source-url is for --to model-index",
        ),
        (("--to", "coco", "--out", "x", "--unknown-size", "big"), "width and height in pixels"),
        (("--to", "coco", "--out", "x", "--unknown-size", "0x5"), "width and height in pixels"),
        (("--to", "yolo", "--out", "x"), "fiftyone"),
    ],
)
def test_what_does_not_fit_is_refused(
    run: Exportable, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    placed = [tmp_path / one if one[0] == "x" else one for one in options]
    done = migbench("export", run.folder / "whole", *placed)
    assert done.status == 2
    assert message in done.err
    assert not any(tmp_path.iterdir())


def test_a_file_is_replaced_and_a_folder_is_not(run: Exportable, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("old")
    ask = ("export", run.folder / "whole", "--images", run.images.root)
    assert migbench(*ask, "--to", "csv", "--out", tmp_path / "rows.csv").status == 0
    assert (tmp_path / "rows.csv").read_text("utf-8").startswith("id,")
    coco = (*ask, "--to", "coco", "--out", tmp_path / "coco")
    assert migbench(*coco).status == 0
    again = migbench(*coco)
    assert again.status == 2
    assert "not empty; choose another --out" in again.err
