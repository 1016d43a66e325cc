"""The recipes of CONTRIBUTING.md: each is carried out as it stands, in a copy of the packages."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHOWN = {
    "A task": "Shadow",
    "A dialect": "whole",
    "An adapter": "centre",
    "A metric": "Acc@0.9",
    "A published row": "Ours",
}
"""What the last command of each recipe prints."""


def recipe(title: str) -> list[tuple[str, str, str]]:
    """The blocks of a recipe: language, file and text."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return _BLOCK.findall(section)


def test_every_recipe_of_the_page_is_carried_out() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert headings == list(SHOWN)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages in a folder of their own, with one instance a task of MIG-Mini beside them."""
    folder = tmp_path_factory.mktemp("contributing")
    unneeded = shutil.ignore_patterns("__pycache__", "checkpoints")
    for name in ("migbench", "model_adapters", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=unneeded)
    (folder / "model_adapters" / "checkpoints").mkdir()
    shutil.copy(
        ROOT / "model_adapters/checkpoints/__init__.py", folder / "model_adapters/checkpoints"
    )
    call(folder, "migbench data mini MINI --per-task 1")
    return folder


def call(folder: Path, line: str) -> str:
    """Run a command line of the page in the copy; its output."""
    program, *arguments = shlex.split(line)
    assert program == "migbench"
    done = subprocess.run(
        [sys.executable, "-m", "migbench", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(file: Path, language: str, text: str) -> None:
    """A block as a file; of a ``diff``, the added lines behind the line above them."""
    if language != "diff":
        file.write_text(text, encoding="utf-8")
        return
    content = file.read_text(encoding="utf-8")
    above = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("+"):
            assert content.count(above) == 1, above
            content = content.replace(above, above + line[1:])
        above = line[1:]
    file.write_text(content, encoding="utf-8")


@pytest.mark.parametrize("title", SHOWN)
def test_the_recipe_is_true(title: str, copy: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(copy, tmp_path / "copy")
    needs = [] if title in ("A task", "A published row") else ["A dialect"]
    needs += ["An adapter"] if title == "A metric" else []
    output = ""
    for part in [*needs, title]:
        for language, file, text in recipe(part):
            assert text.count("\n") <= 16
            if file:
                write(folder / file, language, text)
                continue
            for line in text.splitlines():
                output = call(folder, line.removeprefix("$ "))
    assert SHOWN[title] in output
