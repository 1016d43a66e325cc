"""The table of targets: what pandas reads from it is what a run holds."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answer_lines import with_answer
from support.data_files import record, write_annotations
from support.synthetic_runs import stored

from migbench.boxes import Box
from migbench.data.annotations import read_annotations
from migbench.errors import UsageError
from migbench.reporting import instance_table
from migbench.reporting.instance_table import write_instances
from migbench.scoring import SampleScore
from migbench.scoring.scored_run import ScoredRun, score_run

GROUP = record(
    task="group_grounding", images=["./images/c.png", "./images/d.png"], question="Box the dog."
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> ScoredRun:
    """Four targets: a hit, a miss, an image named with a box beyond all measure, not asked."""
    folder = tmp_path_factory.mktemp("scored")
    path = write_annotations(
        folder / "a.json",
        record(),
        record(question="Compare them again."),
        GROUP | {"additional_info": "It is in the 2th image."},
        record(images=["./images/e.png", "./images/f.png"]),
    )
    annotations = read_annotations(path, 1)
    run = stored(
        folder / "run", annotations, "llava-onevision-7b", "cot", lambda one: one.index != 1, 3
    )
    found = score_run(run)
    *others, named, unasked = found.samples
    endless = Box(0.1, -math.inf, 1e-320, math.inf)
    named = replace(named, prediction=replace(named.prediction, named_image=1, box=endless))
    return replace(found, samples=(*others, named, unasked))


def row(scored: ScoredRun, sample: SampleScore) -> dict[str, Any]:
    """What the table should say of a target."""
    instance, line = sample.instance, sample.line
    prediction = sample.prediction
    edges = ("x1", "y1", "x2", "y2")
    box = prediction.box or (None,) * 4
    named = prediction.named_image
    earlier = [
        scored.run.lines[line.question, turn].text for turn in range(line.turn if line else 0)
    ]
    return {
        "id": instance.id,
        "index": instance.index,
        "task": instance.task,
        "image_set": instance.image_set,
        "images": json.dumps(instance.images),
        "cluster": scored.annotations.clusters[instance.index],
        "target_image": instance.target_image + 1,
        **{f"truth_{edge}": value for edge, value in zip(edges, sample.truth, strict=True)},
        **{f"box_{edge}": value for edge, value in zip(edges, box, strict=True)},
        "iou": sample.iou,
        "outcome": sample.outcome.value,
        "flags": " ".join(sample.flags),
        "named_image": None if named is None else named + 1,
        "question": instance.question,
        "answer": line.text if line else None,
        "earlier_answers": json.dumps(earlier, ensure_ascii=False),
        "error": line.error if line else "not asked yet",
    }


def test_pandas_reads_an_equal_frame(scored: ScoredRun, tmp_path: Path) -> None:
    frame = pandas.DataFrame([row(scored, sample) for sample in scored.samples])
    # The sample holds what a column can hold: no box, an image named, errors, answers before.
    assert frame.notna().any().all()
    assert frame[["box_x1", "named_image", "answer", "error"]].isna().any().all()
    for ending, read in {"parquet": pandas.read_parquet, "csv": pandas.read_csv}.items():
        write_instances(tmp_path / f"rows.{ending}", scored)
        found = read(tmp_path / f"rows.{ending}")
        if ending == "csv":
            # A CSV file has no other sign for nothing.
            found["flags"] = found["flags"].fillna("").astype(frame["flags"].dtype)
        pandas.testing.assert_frame_equal(found, frame)


def test_json_lines_hold_the_same_rows(scored: ScoredRun, tmp_path: Path) -> None:
    write_instances(tmp_path / "rows.jsonl", scored)
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    found = pandas.DataFrame([json.loads(line) for line in lines])
    # JSON has no infinity: it is written as a text.
    edges = {name: float for name in found if name.startswith("box_")}
    found = found.astype(edges)
    frame = pandas.DataFrame([row(scored, sample) for sample in scored.samples])
    pandas.testing.assert_frame_equal(found, frame)


def test_without_pyarrow_only_parquet_is_refused_and_says_what_to_install(
    scored: ScoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_table, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'migbench\[parquet\]'"):
        write_instances(tmp_path / "rows.parquet", scored)
    assert instance_table.instances_file() == "instances.csv"
    for ending in ("csv", "jsonl"):
        write_instances(tmp_path / f"rows.{ending}", scored)


def test_a_columns_type_does_not_depend_on_what_it_holds(scored: ScoredRun, tmp_path: Path) -> None:
    types = []
    for samples in (scored.samples, scored.samples[:1], scored.samples[-1:], ()):
        write_instances(tmp_path / "rows.parquet", replace(scored, samples=samples))
        frame = pandas.read_parquet(tmp_path / "rows.parquet", dtype_backend="pyarrow")
        assert len(frame) == len(samples)
        types.append([str(kind) for kind in frame.dtypes])
    assert types == types[:1] * 4


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SIGNS = st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'"])


@given(text=ANY_TEXT | st.builds("{}{}".format, SIGNS, ANY_TEXT))
def test_whatever_a_model_says_comes_back(
    scored: ScoredRun, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    first = scored.samples[0]
    assert first.line is not None
    said = replace(first, line=with_answer(first.line, text=text))
    changed = replace(scored, samples=(said,))
    for ending in ("parquet", "csv"):
        write_instances(folder / f"said.{ending}", changed)
    assert list(pandas.read_parquet(folder / "said.parquet").answer) == [text]
    with (folder / "said.csv").open(encoding="utf-8", newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["answer"].removeprefix("'") == text
    # A spreadsheet takes none of it for a formula.
    assert not line["answer"].startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
    )


def test_numbers_and_harmless_texts_stand_in_csv_as_they_are(
    scored: ScoredRun, tmp_path: Path
) -> None:
    write_instances(tmp_path / "rows.csv", scored)
    content = (tmp_path / "rows.csv").read_text("utf-8")
    assert "-inf" in content
    assert "'" not in content


def test_a_table_that_could_not_be_written_leaves_the_old_one(
    scored: ScoredRun, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    write_instances(path, scored)
    before = path.read_bytes()
    broken = replace(scored, samples=(*scored.samples, None))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        write_instances(path, broken)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [before]


def test_an_answer_of_megabytes_fits(scored: ScoredRun, tmp_path: Path) -> None:
    said = [
        replace(one, line=with_answer(one.line, text="long " * 500_000))
        for one in scored.samples
        if one.line is not None
    ]
    write_instances(tmp_path / "rows.parquet", replace(scored, samples=(*said, *said)))
    assert set(pandas.read_parquet(tmp_path / "rows.parquet").answer.str.len()) == {2_500_000}
