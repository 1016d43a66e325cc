"""Training is a distribution of its own: migbench neither imports it nor what only it needs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import migbench

ROOT = Path(__file__).parents[2]
HEAVY = {"accelerate", "migtrain", "safetensors", "torch", "transformers"}


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a module imports anywhere, inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            yield from (
                str(each.value).partition(".")[0]
                for each in node.args
                if isinstance(each, ast.Constant)
            )


def test_migbench_imports_neither_torch_nor_training() -> None:
    modules = sorted((ROOT / "migbench").rglob("*.py"))
    assert len(modules) > 100
    found = {str(path.relative_to(ROOT)): HEAVY & set(imported(path)) for path in modules}
    assert {path: names for path, names in found.items() if names} == {}


def test_adapters_do_not_import_training() -> None:
    for path in (ROOT / "model_adapters").rglob("*.py"):
        assert "migtrain" not in set(imported(path)), path


@pytest.mark.parametrize(
    ("command", "instead"), [("train", "migtrain run"), ("merge-weights", "migtrain merge")]
)
def test_commands_that_have_moved_say_where(command: str, instead: str) -> None:
    done = migbench(command, "--out", "x")
    assert done.status == 2
    assert f"No such command '{command}'" in done.err
    assert instead in done.err
    assert command not in migbench("--help").out.split()


def test_another_unknown_command_is_not_taken_for_one() -> None:
    done = migbench("trian")
    assert done.status == 2
    assert "migtrain" not in done.err
