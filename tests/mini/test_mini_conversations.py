"""MIG-Mini as training records, in MGrounding-630k's format, with boxes that parse back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command_line import migbench

from migbench.boxes import Box
from migbench.data.annotations import read_annotations
from migbench.dialects import find_dialect, parse
from migbench.mini import FILE_NAME
from migbench.mini.conversations import DIALECT, write_box


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "mini"
    done = migbench(
        "data", "mini", folder, "--per-task", 4, "--split", "train", "--format", "conversations"
    )
    assert done.status == 0, done.err
    return folder


@pytest.fixture(scope="module")
def records(written: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((written / "conversations.json").read_bytes())
    return found


def test_records_are_mgroundings(written: Path, records: list[dict[str, Any]]) -> None:
    assert len({record["type"] for record in records}) == 10
    for record in records:
        assert set(record) == {"id", "images", "conversations", "type"}
        assert all((written / image).is_file() for image in record["images"])
        first, *others = record["conversations"]
        assert first["value"].startswith("<image>" * len(record["images"]))
        assert not any("<image>" in turn["value"] for turn in others)
        assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"] * (
            len(record["conversations"]) // 2
        )


def test_every_instance_is_asked_and_answered_by_its_box(
    written: Path, records: list[dict[str, Any]]
) -> None:
    instances = read_annotations(written / FILE_NAME).instances
    expected = sorted(write_box(instance.box) for instance in instances)
    answers = [turn["value"] for record in records for turn in record["conversations"][1::2]]
    assert sorted(answers) == expected
    for answer in answers:
        (found,) = parse(find_dialect(DIALECT), answer).boxes
        assert write_box(found.box) == answer


def test_boxes_are_written_below_a_thousand_and_in_steps() -> None:
    box = Box(0, 0.0004, 1, 0.9996)
    assert write_box(box) == "<|box_start|>(0,0),(999,999)<|box_end|>"
    assert (
        write_box(Box(0.12, 0.13, 0.26, 0.98), 50) == "<|box_start|>(100,150),(250,999)<|box_end|>"
    )
