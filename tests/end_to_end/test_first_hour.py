"""docs/first-hour.md tells what happens: every command of it is run again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "first_hour", ROOT / "docs" / "first_hour.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["first_hour"] = module
    specification.loader.exec_module(module)
    return module


def test_every_situation_ends_as_the_page_says(script: ModuleType, tmp_path: Path) -> None:
    every = list(script.play(tmp_path))
    assert [problem for done in every for problem in script.problems(done)] == []
    written = (ROOT / "docs" / "first-hour.md").read_text("utf-8")
    for done in every:
        assert f"## {done.step.title}\n" in written
        assert f"Exit status: {done.status}." in written
