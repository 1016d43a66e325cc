"""A wheel is all that one needs: tasks, profiles, dialects and published tables travel in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def files_under(folder: str, pattern: str) -> set[str]:
    return {path.name for path in (ROOT / folder).glob(pattern) if path.is_file()}


@pytest.mark.parametrize(
    ("source", "pattern", "inside"),
    [
        ("tasks", "*", "migbench/_tasks"),
        ("tasks/all_at_once", "*", "migbench/_tasks/all_at_once"),
        ("tasks/general", "*", "migbench/_tasks/general"),
        ("migbench/dialects/families", "*.yaml", "migbench/dialects/families"),
        ("migbench/reporting/published", "*.yaml", "migbench/reporting/published"),
        ("migbench/reporting/html/assets", "*", "migbench/reporting/html/assets"),
        ("migbench/reporting/html/assets/script", "*.js", "migbench/reporting/html/assets/script"),
        ("migbench/reporting/html/assets/style", "*.css", "migbench/reporting/html/assets/style"),
        ("model_adapters/profiles", "*.yaml", "model_adapters/profiles"),
    ],
)
def test_data_files_are_packed(wheel: Path, source: str, pattern: str, inside: str) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packed = {Path(name).name for name in names if str(Path(name).parent) == inside}
    assert files_under(source, pattern)
    assert files_under(source, pattern) <= packed


def test_nothing_else_is_packed(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"migbench", "model_adapters"}


def test_no_weights_are_packed_but_their_sums(wheel: Path) -> None:
    names = {Path(name).name: name for name in zipfile.ZipFile(wheel).namelist()}
    assert "model.safetensors" not in names
    assert names["SHA256SUMS"].endswith("checkpoints/migician-mini/SHA256SUMS")
    assert wheel.stat().st_size < 2_000_000


def test_an_installed_wheel_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(site)  # What an installer does with a pure wheel.
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def migbench(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "migbench", *arguments],
            cwd=empty,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert migbench("tasks", "--path").strip() == str(site / "migbench" / "_tasks")
    assert "migician" in migbench("models")
    migbench("data", "mini", "mini", "--per-task", "1")
    migbench("run", "--model", "whole-image", "--data", "mini", "--out", "run")
    assert "Published" in migbench("table", "run", "--published")
