"""A damaged run folder: one clear message from every command, and what is whole is kept."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import migbench
from support.sealed import edit_manifest

from migbench.mini import render
from migbench.runs.store import Run


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=2)
    return folder


def ask(mini: Path, out: Path, *options: object) -> tuple[int, str]:
    done = migbench("run", "--model", "whole-image", "--data", mini, "--out", out, *options)
    return done.status, done.out + done.err


@pytest.fixture(scope="module")
def made(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "run"
    status, told = ask(mini, out)
    assert status == 0, told
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A run that may be damaged."""
    return shutil.copytree(made, tmp_path / "run")


def lines_of(run: Path) -> list[bytes]:
    return (run / "answers.jsonl").read_bytes().splitlines(keepends=True)


def write_lines(run: Path, lines: list[bytes]) -> None:
    (run / "answers.jsonl").write_bytes(b"".join(lines))


# --- Damage that no command can read past --------------------------------------------------------


def manifest_with(*path: str, value: Any) -> Callable[[Path], None]:
    """Damage: this field of the manifest has this value."""

    def damage(run: Path) -> None:
        def change(content: dict[str, Any]) -> None:
            for name in path[:-1]:
                content = content[name]
            content[path[-1]] = value

        edit_manifest(run, change)

    return damage


def manifest_of(content: bytes) -> Callable[[Path], None]:
    """Damage: the manifest holds these bytes."""
    return lambda run: (run / "run.json").write_bytes(content) and None


def replaced_by(make: Callable[[Path], object], name: str) -> Callable[[Path], None]:
    """Damage: something else than a file is there."""

    def damage(run: Path) -> None:
        (run / name).unlink()
        make(run / name)

    return damage


def answer_with(**fields: Any) -> Callable[[Path], None]:
    """Damage: one answer's line has these fields."""

    def damage(run: Path) -> None:
        lines = lines_of(run)
        lines[3] = json.dumps(json.loads(lines[3]) | fields).encode() + b"\n"
        write_lines(run, lines)

    return damage


def inserted(line: bytes) -> Callable[[Path], None]:
    """Damage: these bytes stand among the answers."""

    def damage(run: Path) -> None:
        lines = lines_of(run)
        write_lines(run, [*lines[:3], line, *lines[3:]])

    return damage


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


MODEL = ("settings", "model")
OF_MANIFEST: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (manifest_of(b""), "it is empty"),
    "cut off": (manifest_of(b'{"schema":1,'), "cut off"),
    "zeroed": (manifest_of(bytes(4096)), "is not UTF-8 but"),
    "nested": (manifest_of(b'{"a":' + b"[" * 200_000), "nested too deeply"),
    "a list": (manifest_of(b"[1]"), "Expected `object`"),
    "another schema": (manifest_with("schema", value=7), "has schema 7"),
    "no status": (manifest_with("status", value="done"), "Invalid enum value"),
    "evaluator": (manifest_with("settings", "evaluator", value="mine"), "'mine' is none of"),
    "strategy": (manifest_with("settings", "strategy", value=[]), "Expected `str`"),
    "shard": (manifest_with("settings", "shard", value={"number": 3, "of": 2}), "no shard 3/2"),
    "tasks": (manifest_with("settings", "tasks", value={}), "names no task"),
    "limit": (manifest_with("settings", "limit", value=0), "at least 1"),
    "scale": (manifest_with("settings", "annotations", "scale", value=0), "not above 0"),
    "dialect": (
        manifest_with(*MODEL, "dialect", "scale", value=-1),
        "scale -1.0: a positive number",
    ),
    "syntax": (manifest_with(*MODEL, "dialect", "syntax", value=[]), "no way of writing a box"),
    "template": (
        manifest_with(*MODEL, "dialect", "image", value="{image}{k.__class__}"),
        "is none of image, k",
    ),
    "width": (manifest_with(*MODEL, "dialect", "phrase", value="{phrase:>99999999}"), "phrase"),
    "frame": (
        manifest_with(
            *(*MODEL, "dialect", "frame"),
            value={"type": "smart-resized", "factor": 0, "min_pixels": 0, "max_pixels": 0},
        ),
        "smart resizing needs",
    ),
    "tokens": (manifest_with(*MODEL, "generation", "max_new_tokens", value=0), "at least 1"),
    "settings": (
        manifest_with(*MODEL, "settings", value=json.loads('{"a":' * 60 + "1" + "}" * 60)),
        "nested deeper than 32",
    ),
    "a pipe": (replaced_by(os.mkfifo, "run.json"), "is a pipe"),
    "a device": (replaced_by(endless, "run.json"), "is a device"),
    "a folder": (replaced_by(Path.mkdir, "run.json"), "is a folder"),
}
OF_ANSWERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe": (replaced_by(os.mkfifo, "answers.jsonl"), "is a pipe"),
    "a device": (replaced_by(endless, "answers.jsonl"), "is a device"),
    "a folder": (replaced_by(Path.mkdir, "answers.jsonl"), "is a folder"),
    "garbage": (inserted(b"\xff\xfe nonsense\n"), ":4: is not a stored answer"),
    "zeros": (inserted(bytes(4096) + b"\n"), ":4: is not a stored answer"),
    "nested": (inserted(b'{"question":' + b"[" * 200_000 + b"\n"), ":4: is not a stored answer"),
    "a boolean count": (answer_with(prompt_tokens=True), ":4: is not a stored answer"),
    "a text for seconds": (answer_with(seconds="2"), ":4: is not a stored answer"),
    "sizes of zero": (answer_with(sizes=[[0, 10]]), ":4: is not a stored answer"),
    "a negative turn": (answer_with(turn=-1), ":4: is not a stored answer"),
}


def commands(run: Path) -> dict[str, tuple[object, ...]]:
    """Every command that takes a stored run, by name."""
    return {
        "score": ("score", run),
        "table": ("table", run),
        "compare": ("compare", run, run),
        "doctor": ("doctor", "--run", run),
        "report": ("report", run, "--out", run.parent / "page.html"),
        "view": ("view", run, "--port", "0"),
        "plot": ("plot", run, "--kind", "tasks", "--out", run.parent / "plot.svg"),
        "export": ("export", run, "--to", "csv", "--out", run.parent / "rows.csv"),
        "verify": ("verify", run),
        "repair": ("verify", run, "--repair"),
        "rerun": ("rerun", run, "--out", run.parent / "again"),
        "merge": ("merge", run, "--out", run.parent / "merged"),
    }


@pytest.mark.parametrize("kind", OF_MANIFEST)
def test_a_damaged_manifest_is_named_by_every_command(run: Path, mini: Path, kind: str) -> None:
    damage, message = OF_MANIFEST[kind]
    damage(run)
    going_on = ("run", "--model", "whole-image", "--data", mini, "--out", run)
    for command in (*commands(run).values(), going_on):
        done = migbench(*command)
        assert done.status == 2, command
        assert message in done.err, command
        assert str(run / "run.json") in done.err, command
        assert done.err.count("\n") <= 2, done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize("kind", OF_ANSWERS)
def test_damaged_answers_are_named_by_every_command(run: Path, mini: Path, kind: str) -> None:
    damage, message = OF_ANSWERS[kind]
    damage(run)
    going_on = ("run", "--model", "whole-image", "--data", mini, "--out", run)
    others = ("repair", "merge")  # The one mends it, the other takes shards; both have own tests.
    ends = {name: migbench(*each) for name, each in commands(run).items() if name not in others}
    ends["run"] = migbench(*going_on)
    for name, done in ends.items():
        assert done.status == 2, (name, done.out, done.err)
        assert str(run / "answers.jsonl") in done.out + done.err, name
        assert "Traceback" not in done.err
        if name not in ("verify", "rerun", "run"):  # They hold it against its links.
            assert message in done.err, name


def test_sizes_of_fewer_images_than_there_are_are_named(run: Path, mini: Path) -> None:
    pixels = {"scale": "pixels"}
    edit_manifest(run, lambda content: content["settings"]["model"]["dialect"].update(pixels))
    answer_with(sizes=[])(run)
    for command in ("score", "doctor", "report", "export"):
        done = migbench(*commands(run)[command])
        assert done.status == 2 or command == "export", command
        assert "Traceback" not in done.err
    assert "has the sizes of 0 images" in migbench("score", run).err


# --- What was changed stays visible --------------------------------------------------------------


def edit_an_answer(run: Path) -> None:
    path = run / "answers.jsonl"
    path.write_bytes(path.read_bytes().replace(b"999", b"998", 1))


CHANGES: dict[str, Callable[[Path], None]] = {
    "an edited answer": edit_an_answer,
    "a deleted answer": lambda run: write_lines(run, lines_of(run)[1:]),
    "deleted last answers": lambda run: write_lines(run, lines_of(run)[:-3]),
    "a moved answer": lambda run: write_lines(run, lines_of(run)[::-1]),
    "links cut off": lambda run: write_lines(
        run, [re.sub(rb',"link":"[0-9a-f]+"}', b"}", line) for line in lines_of(run)]
    ),
    "an edited manifest": lambda run: (
        (run / "run.json").write_text(
            (run / "run.json").read_text().replace('"created": "', '"created": "x')
        )
        and None
    ),
    "line ends": lambda run: write_lines(
        run, [line.replace(b"\n", b"\r\n") for line in lines_of(run)]
    ),
    "the seal": lambda run: (
        (run / "run.json").write_text(
            json.dumps(json.loads((run / "run.json").read_text()) | {"seal": None})
        )
        and None
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_run_does_not_go_on_until_that_is_accepted_for_good(
    run: Path, mini: Path, kind: str
) -> None:
    CHANGES[kind](run)
    changed = (run / "answers.jsonl").read_bytes()
    assert migbench("verify", run).status == 2
    status, told = ask(mini, run)
    assert status == 2
    assert "was changed after it was stored" in told
    assert "--accept-changes" in told
    assert (run / "answers.jsonl").read_bytes() == changed
    assert migbench("verify", run).status == 2

    status, told = ask(mini, run, "--accept-changes")
    assert status == 0, told
    assert "whole-image: changed after it was stored, and accepted: " in told
    status, told = ask(mini, run)
    assert status == 0, told
    for command in ("score", "table", "compare"):
        runs = (run, run) if command == "compare" else (run,)
        done = migbench(command, *runs)
        assert "changed after it was stored, and accepted: " in done.out, done.err
    done = migbench("verify", run)
    assert done.status == 2
    assert "CHANGED     changed after it was stored, and accepted: " in done.out


def test_a_transfer_that_changed_line_ends_is_told_as_that(run: Path, mini: Path) -> None:
    before = (run / "answers.jsonl").read_bytes()
    CHANGES["line ends"](run)
    done = migbench("verify", run)
    (finding,) = [line for line in done.out.splitlines() if line.startswith("CHANGED")]
    assert "20 lines end in CR LF instead of LF" in finding
    assert "no answer was changed" in finding
    done = migbench("verify", run, "--repair")
    assert done.status == 0, done.out
    assert "20 answers kept, 20 line ends mended" in done.out
    assert (run / "answers.jsonl").read_bytes() == before
    assert "repaired" not in migbench("score", run).out


def test_line_ends_do_not_hide_a_changed_answer(run: Path) -> None:
    edit_an_answer(run)
    CHANGES["line ends"](run)
    done = migbench("verify", run)
    assert "is not what was stored" in done.out
    assert "no answer was changed" not in done.out


def test_a_folder_whose_links_seal_and_scores_are_gone_does_not_hold(run: Path) -> None:
    for name in ("links cut off", "the seal"):
        CHANGES[name](run)
    (run / "scores.json").unlink()
    done = migbench("verify", run)
    assert done.status == 2
    assert "20 answers are not sealed" in done.out
    assert "all holds" not in done.out


# --- Repair --------------------------------------------------------------------------------------


def zero_a_page(run: Path) -> None:
    """As a power cut leaves a block that never reached the disk."""
    path = run / "answers.jsonl"
    content = bytearray(path.read_bytes())
    content[700:1500] = bytes(800)
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], None], int]] = {
    "a zeroed page": (zero_a_page, 1),
    "garbage in the middle": (inserted(b"\xff nonsense\n"), 1),
    "an edited answer": (edit_an_answer, 1),
    "a blank line": (inserted(b"\n"), 0),
    "a byte order mark": (lambda run: write_lines(run, [b"\xef\xbb\xbf", *lines_of(run)]), 0),
    "no end of the last line": (
        lambda run: (
            (run / "answers.jsonl").write_bytes((run / "answers.jsonl").read_bytes().rstrip(b"\n"))
            and None
        ),
        0,
    ),
    "deleted answers": (lambda run: write_lines(run, lines_of(run)[4:]), 0),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_repair_keeps_every_whole_answer_and_the_same_command_asks_the_rest(
    run: Path, mini: Path, kind: str
) -> None:
    before = lines_of(run)
    damage, pieces = DAMAGE[kind]
    damage(run)
    whole = [line for line in before if line[:-1] in (run / "answers.jsonl").read_bytes()]
    lost = {json.loads(line)["question"] for line in before if line not in whole}
    assert migbench("verify", run).status == 2

    done = migbench("verify", run, "--repair")
    assert done.status == (1 if lost else 0), done.out
    assert f"{run}: {len(whole)} answers kept" in done.out
    for question in lost:
        assert question in done.out
    aside = [*run.glob("answers.set-aside-*.jsonl")]
    assert len(aside) == min(pieces, 1)
    assert {line.question for line in Run(run).lines.values()} == {
        json.loads(line)["question"] for line in whole
    }
    assert "nothing to repair" in migbench("verify", run, "--repair").out

    status, told = ask(mini, run)
    assert status == 0, told
    done = migbench("verify", run)
    assert done.status == 0, done.out
    assert ("repaired: " in done.out) == bool(lost or pieces)
    assert ("repaired: " in migbench("score", run).out) == bool(lost or pieces)
    assert sorted(json.loads(line)["question"] for line in lines_of(run)) == sorted(
        json.loads(line)["question"] for line in before
    )


def test_a_run_goes_on_with_an_editors_blank_line(run: Path, mini: Path) -> None:
    inserted(b"\n")(run)
    write_lines(run, [*lines_of(run)[:-1], b"\n"])  # One answer is to be asked again.
    edit_manifest(run, lambda content: content.update(status="running"))
    edit_manifest(run, lambda content: content["seal"].update(lines=0, link=""))
    status, told = ask(mini, run)
    assert status == 0, told
    assert "--repair" in migbench("verify", run).out
    assert migbench("verify", run, "--repair").status == 0
    assert migbench("verify", run).status == 0


def test_lines_that_are_no_answers_are_to_be_deleted_by_repair(run: Path, mini: Path) -> None:
    inserted(b"torn in the midd\n")(run)
    status, told = ask(mini, run)
    assert status == 2
    assert f"`migbench verify --repair {run}`" in told
    assert "delete damaged lines" in told


def test_json_names_what_is_to_be_asked_again(run: Path) -> None:
    question = json.loads(lines_of(run)[0])["question"]
    edit_an_answer(run)
    migbench("verify", run, "--repair", "--json", "-")
    report = json.loads(migbench("verify", run, "--json", "-").out)
    assert report["asked_again"] == [question]
    assert any(each["about"] == "history" for each in report["findings"])


def test_an_untouched_run_is_left_as_it_is(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert "nothing to repair" in migbench("verify", run, "--repair").out
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


# --- Links in a folder ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["answers.jsonl", "run.json.partial", ".lock", "run.log"])
def test_nothing_is_written_through_a_link(
    run: Path, mini: Path, tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(
        (run / "answers.jsonl").read_bytes()[:-500] if name == "answers.jsonl" else b"important"
    )
    before = victim.read_bytes()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    for command in (
        ("run", "--model", "whole-image", "--data", mini, "--out", run, "--accept-changes"),
        ("verify", run, "--repair"),
        ("merge", run, "--out", tmp_path / "merged"),
    ):
        assert "Traceback" not in migbench(*command).err
        assert victim.read_bytes() == before
