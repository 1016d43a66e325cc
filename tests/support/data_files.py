"""Making annotation files and images for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

PUBLISHED_COUNTS = {
    "original": {
        "diff": 528,
        "view_diff": 94,
        "common_object": 816,
        "object_tracking": 550,
        "multi_view": 288,
        "region": 1203,
        "refer_grounding": 99,
        "group_grounding": 499,
        "reasoning": 101,
        "correspondence": 117,
    },
    "revised": {
        "diff": 528,
        "view_diff": 94,
        "common_object": 815,
        "object_tracking": 550,
        "multi_view": 288,
        "region": 1203,
        "refer_grounding": 99,
        "group_grounding": 485,
        "reasoning": 97,
        "correspondence": 117,
    },
}
"""Instances by task in the two published annotation files."""


def record(**changes: Any) -> dict[str, Any]:
    """A sound record, with these fields changed."""
    return {
        "task": "diff",
        "images": ["./images/a.png", "./images/b.png"],
        "question": "Compare these two images carefully.",
        "answer": [0.1, 0.2, 0.3, 0.4],
        "additional_info": "",
        "need_format": True,
    } | changes


def write_annotations(path: Path, *records: object) -> Path:
    """An annotation file with one record a line, the first on line 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n", encoding="utf-8")
    return path


def write_images(
    folder: Path,
    names: Iterable[str],
    size: tuple[int, int] = (8, 6),
    kind: str | None = None,
) -> None:
    """Plain images of these names below the folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(path, kind)
