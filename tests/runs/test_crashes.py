"""Whatever ends a command, and wherever: what was stored stays, and the same command finishes.

The suite tries a few places of each command. `make test-crash` tries them all, and prints how many
there were; SECURITY.md has its figures.
"""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.command_line import migbench
from support.crashes import Crash, crash, names

from migbench.mini import render

FEW = 2
"""Places that are tried of each command when not all are."""
COMMANDS = ("run", "score", "merge", "import", "report", "report linked", "data mini")
REASONS = (None, errno.ENOSPC, errno.EIO)

ANSWERED = {0}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a run of it, two shards and answers to import, which no test changes."""
    folder = tmp_path_factory.mktemp("material")
    render(folder / "mini", per_task=1)
    run = ("run", "--model", "whole-image", "--data", folder / "mini")
    for name, options in (
        ("run", ()),
        ("part1", ("--shard", "1/2")),
        ("part2", ("--shard", "2/2")),
    ):
        assert migbench(*run, "--out", folder / name, *options).status == 0
    (folder / "answers.jsonl").write_text(
        "".join(
            json.dumps({"index": index, "response": "(1,1),(9,9)"}) + "\n" for index in range(10)
        )
    )
    return folder


def command_of(name: str, material: Path, out: Path) -> tuple[object, ...]:
    """The command whose result goes to ``out``."""
    run, mini = material / "run", material / "mini"
    return {
        "run": ("run", "--model", "whole-image", "--data", mini, "--out", out / "run"),
        "score": (
            *("score", run, "--json", out / "scores.json"),
            *("--instances", out / "rows.parquet"),
        ),
        "merge": ("merge", material / "part1", material / "part2", "--out", out / "merged"),
        "import": (
            *("import", "jsonl", material / "answers.jsonl", "--profile", "migician"),
            *("--annotations", mini / "MIG_mini.json", "--out", out / "imported"),
        ),
        "report": ("report", run, "--out", out / "page.html"),
        "report linked": ("report", run, "--out", out / "page.html", "--images", "link"),
        "data mini": ("data", "mini", out / "mini", "--per-task", "1"),
    }[name]


def steps_of(command: tuple[object, ...], out: Path) -> int:
    """How many things an undisturbed command does to files."""
    out.mkdir()
    end = crash(command, Crash(out, step=-1))
    assert end.status in ANSWERED, end.told
    shutil.rmtree(out)
    return end.steps


def places(steps: int, seed: str, all_of_them: bool) -> list[int]:
    """Where to end the command."""
    every = range(1, steps + 1)
    return [*every] if all_of_them else sorted(random.Random(seed).sample(every, min(FEW, steps)))


def final_files(out: Path) -> Iterator[Path]:
    """What has a name that a user would take for a result."""
    for path in sorted(out.rglob("*")):
        parts = path.relative_to(out).parts
        is_ours = any(part.startswith(".") or part.endswith(".partial") for part in parts)
        if path.is_file() and not is_ours:
            yield path


def check_nothing_half_made(name: str, out: Path) -> None:
    """After a crash: what has its name is whole, and what was stored can be read."""
    for path in final_files(out):
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        elif path.suffix == ".parquet":
            assert path.read_bytes()[-4:] == b"PAR1"
        elif path.suffix in (".jpg", ".png"):
            assert path.read_bytes()[-2:] in (b"\xff\xd9", b"\x60\x82"), path
    for run in (out / "merged", out / "imported"):
        if run.exists():
            assert migbench("verify", run).status == 0
    if (out / "run" / "run.json").exists():
        done = migbench("verify", out / "run")
        assert done.status in (0, 1), done.out


def is_made(out: Path) -> bool:
    """Whether a run that is made in one go has its name."""
    return any((out / name / "run.json").exists() for name in ("merged", "imported"))


def stored(out: Path) -> list[str]:
    """The answers that a run's folder holds: question and text of every whole line."""
    path = out / "run" / "answers.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [line.decode() for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize("reason", REASONS, ids=names)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_finishes_after_any_crash(
    material: Path,
    tmp_path: Path,
    name: str,
    reason: int | None,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    out = tmp_path / "out"
    command = command_of(name, material, out)
    steps = steps_of(command, out)
    assert steps > 1
    ended = 0
    for step in places(steps, name, pytestconfig.getoption("--all-crashes")):
        out.mkdir()
        end = crash(command, Crash(out, step, reason))
        ended += end.status not in ANSWERED
        assert end.status in (None, 0, 2), (step, end.told)
        if end.status == 2:
            assert str(out) in end.told, (step, end.told)
            assert "Traceback" not in end.told
        check_nothing_half_made(name, out)
        kept = stored(out)
        was_made = is_made(out)
        done = migbench(*command)
        if was_made:  # It is all there, and was seen to be whole.
            assert "is a run already" in done.err
        else:
            assert done.status == 0, (step, done.err)
        assert stored(out)[: len(kept)] == kept
        check_nothing_half_made(name, out)
        assert not [*out.rglob("*.partial")], step
        shutil.rmtree(out)
    record_property("figures", f"{name}, {names(reason)}: {ended} of {steps} places ended it")
