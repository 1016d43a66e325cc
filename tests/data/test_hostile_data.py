"""Data files of any content end in one message: what is wrong, where, and the way out."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_line import migbench
from support.data_files import record, write_annotations

from migbench.errors import DataError
from migbench.util.yaml_files import DEPTH, NODES, parse_yaml, read_yaml


def annotations(**changes: object) -> bytes:
    return json.dumps([record(**changes)]).encode()


MANY = "1" * 100_000

# --- annotation files -----------------------------------------------------------------------------

WRONG = {
    "empty": (b"", "it is empty"),
    "UTF-16": (annotations().decode().encode("utf-16"), "iconv -f UTF-16"),
    "Latin-1": ('[{"task": "é"}]'.encode("latin-1"), r"not UTF-8 \(.*\); save it as UTF-8"),
    "not a number": (annotations(answer=[float("nan"), 0, 1, 1]), "NaN is no JSON"),
    "infinite": (annotations(answer=[0, 0, 1, float("-inf")]), "-Infinity is no JSON"),
    "cut off": (annotations()[:100], "it is cut off in the middle"),
    "nested": (b'[{"task": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested too deeply"),
    "half a pair": (annotations().replace(b"Compare", b"\\ud800"), "half a|surrogate|hex escape"),
    "a long number": (annotations().replace(b"0.1", MANY.encode()), "out of range"),
    "a large number": (annotations().replace(b"0.1", b"1e999"), "out of range"),
    "a long path": (annotations(images=["a/" * 30_000 + "b.png"]), "more than 1,024 characters"),
    "a deep path": (annotations(images=["a/" * 100 + "b.png"]), "64 folders"),
    "a long task": (annotations(task="x" * 100_000), r"… \(100,002 characters\)"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_cannot_be_used_is_told_in_one_message(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.json"
    file.write_bytes(content)
    for command in (
        ("data", "check", file),
        ("data", "stats", file),
        ("run", "--model", "whole-image", "--data", file, "--out", tmp_path / "run"),
    ):
        done = migbench(*command)
        assert done.status == 2
        assert re.search(message, done.out + done.err)
        assert len(done.out + done.err) < 3_000
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_no_command_waits_for_what_is_no_regular_file(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    thing = tmp_path / "MIG_data.json"
    make(thing)
    sound = write_annotations(tmp_path / "sound.json", record())
    imported = ("--profile", "m", "--dialect", "qwen3-vl", "--out", tmp_path / "run")
    for command in (
        ("data", "check", thing),
        ("data", "stats", tmp_path),
        ("run", "--model", "whole-image", "--data", tmp_path, "--out", tmp_path / "run"),
        ("import", "jsonl", thing, "--annotations", sound, *imported),
        ("import", "jsonl", sound, "--annotations", thing, *imported),
        ("import", "released", tmp_path, "--annotations", sound, *imported),
        ("import", "lmms-eval", thing, "--annotations", sound, *imported),
    ):
        done = migbench(*command)
        assert done.status == 2
        assert "not a regular file" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"question": f"Look in the {MANY}th image."},
        {"question": f"<|box_start|>({MANY},1),(2,3)<|box_end|>"},
        {"task": "region", "question": f"<|box_start|>({MANY},1),(2,3)<|box_end|> the 1th region"},
        {"task": "multi_view", "question": f"this object in the 2th image ({MANY})"},
    ],
)
@pytest.mark.parametrize("evaluator", ["polling", "all-at-once"])
def test_a_number_of_any_length_in_a_question_is_text(
    changes: dict[str, object], evaluator: str, tmp_path: Path
) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(annotations(**changes))
    for dialect in ("qwen2-vl", "qwen3-vl", "internvl", "gemini"):
        options = ("--dialect", dialect, "--evaluator", evaluator, "--data", file)
        done = migbench("run", "--model", "m", "--adapter", "baseline", *options, "--dry-run")
        assert done.status == 0, done.err[-300:]
        assert evaluator == "all-at-once" or MANY in done.out  # Which has a wording of its own.


# --- answers to import ----------------------------------------------------------------------------


def imported(tmp_path: Path, content: bytes) -> tuple[int, str]:
    data = write_annotations(tmp_path / "data.json", record(), record(question="Another."))
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(content)
    options = ("--profile", "m", "--dialect", "qwen3-vl", "--out", tmp_path / "run")
    done = migbench("import", "jsonl", answers, "--annotations", data, *options)
    return done.status, done.out + done.err


LINE = b'{"index": %d, "response": "none"}'


@pytest.mark.parametrize(
    "content",
    [
        LINE % 0 + b"\r\n" + LINE % 1 + b"\r\n",
        LINE % 0 + b"\n\n" + LINE % 1 + b"\n \n",
        b"\xef\xbb\xbf" + LINE % 0 + b"\n" + LINE % 1,
    ],
    ids=["CRLF", "blank lines", "byte order mark"],
)
def test_answers_are_read_however_their_lines_end(tmp_path: Path, content: bytes) -> None:
    status, said = imported(tmp_path, content)
    assert status == 0, said
    assert re.search(r"\b2 of \d+ answers imported", said)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"index": 0, "resp', "it is cut off in the middle"),
        (b'{"index": NaN, "response": "none"}', "NaN is no JSON"),
        (b'{"index": %s, "response": "none"}' % MANY.encode(), "Integer value out of range"),
        (b'{"index": 0, "more": ' + b"[" * 100_000 + b"}", "it is nested too deeply"),
        (b"Sure! Here it is", "it begins with 'Sure! Here it is', and is not JSON"),
    ],
)
def test_a_line_that_is_no_answer_is_named_with_the_way_out(
    tmp_path: Path, line: bytes, message: str
) -> None:
    status, said = imported(tmp_path, LINE % 1 + b"\n" + line + b"\n")
    assert status == 2
    assert f"answers.jsonl:2: {message}" in said
    assert "correct this line, or delete it" in said


def test_a_torn_line_of_stored_answers_is_named_with_the_way_out(tmp_path: Path) -> None:
    assert imported(tmp_path, LINE % 0 + b"\n" + LINE % 1)[0] == 0
    answers = tmp_path / "run" / "answers.jsonl"
    first, second = answers.read_bytes().splitlines(keepends=True)

    answers.write_bytes(first + second + b"\n")
    assert migbench("score", tmp_path / "run").status == 0  # An editor's blank last line.

    answers.write_bytes(first[:40] + b"\n" + second)
    done = migbench("score", tmp_path / "run")
    assert done.status == 2
    assert "answers.jsonl:1: is not a stored answer: it is cut off in the middle" in done.err
    assert "migbench verify --repair" in done.err
    assert "the command that made the run then asks its question again" in done.err


# --- YAML -----------------------------------------------------------------------------------------


def doubled(times: int, merge: bool) -> str:
    """A document of a few lines, each of which holds the one before nine times."""
    lines = ["a0: &a0 {x: 1}"]
    for number in range(times):
        nine = ", ".join([f"*a{number}"] * 9)
        value = f"{{<<: [{nine}]}}" if merge else f"[{nine}]"
        lines.append(f"a{number + 1}: &a{number + 1} {value}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, f":1: is nested more than {DEPTH} deep"),
        ("- " * 1_000 + "x", f":1: is nested more than {DEPTH} deep"),
        (doubled(9, merge=False), rf"stands for more than {NODES:,} values"),
        (doubled(9, merge=True), rf"stands for more than {NODES:,} values"),
        ("a: &a [*a]", r":1: \*a is an alias inside of itself"),
        (f"a: 1\nb: {MANY}", ":2: a number of 100,000 characters is refused"),
        ("a: " + "1:" * 50_000 + "1", ":1: a number of 100,001 characters"),
        ("a: 2020-13-45", "month must be in 1..12"),
        ("a: !!int ''", "holds a value that is not what it is written as"),
        ("a: !!bool maybe", "holds a value that is not what it is written as"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: [", "did not find expected node content"),
    ],
)
def test_yaml_out_of_bounds_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"^file\.yaml.*(\n|.)*{message}"):
        parse_yaml(text, "file.yaml")


def test_yaml_within_bounds_is_read() -> None:
    assert parse_yaml(doubled(2, merge=False), "x")["a1"] == [{"x": 1}] * 9
    assert parse_yaml(doubled(9, merge=False).split("\na5")[0], "x")["a0"] == {"x": 1}
    assert parse_yaml(doubled(2, merge=True), "x")["a2"] == {"x": 1}
    assert parse_yaml(f"a: '{MANY}'", "x") == {"a": MANY}


def test_a_yaml_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "marked.yaml"
    file.write_bytes(b"\xef\xbb\xbftitle: plain\r\n")
    assert read_yaml(file) == {"title": "plain"}


# --- unusable data --------------------------------------------------------------------------------


def reason_of(data: Path, *options: object) -> str:
    done = migbench("data", "check", data, *options)
    assert done.status == 2
    return done.out.rpartition("Not usable: ")[2].strip()


@pytest.mark.parametrize(
    ("answer", "scale"), [([100, 200, 500, 700], None), ([0.1, 0.2, 0.5, 0.7], 1000)]
)
def test_what_the_check_calls_unusable_stops_every_command_in_the_same_words(
    answer: list[float], scale: int | None, tmp_path: Path
) -> None:
    data = write_annotations(tmp_path / "data.json", record(answer=answer))
    options = () if scale is None else ("--scale", scale)
    reason = reason_of(data, *options)
    assert "--scale" in reason

    out = tmp_path / "run"
    answers = tmp_path / "answers.jsonl"
    answers.write_bytes(LINE % 0)
    imported = ("--annotations", data, "--profile", "m", "--dialect", "qwen3-vl", "--out", out)
    for command in (
        ("run", "--model", "whole-image", "--data", data, "--out", out),
        ("run", "--model", "whole-image", "--data", data, "--dry-run"),
        ("import", "jsonl", answers, *imported),
    ):
        done = migbench(*command, *options)
        assert done.status == 2
        assert reason in done.err
    assert not out.exists()


def test_a_run_that_was_made_in_a_wrong_scale_is_not_scored(tmp_path: Path) -> None:
    data = write_annotations(tmp_path / "data.json", record(answer=[100, 200, 500, 700]))
    out = tmp_path / "run"
    run = ("run", "--model", "whole-image", "--data", data, "--out", out)
    assert migbench(*run, "--scale", 1000).status == 0
    manifest = json.loads((out / "run.json").read_text())
    manifest["settings"]["annotations"]["scale"] = 1.0
    (out / "run.json").write_text(json.dumps(manifest))
    for command in (("score", out), ("table", out)):
        done = migbench(*command)
        assert done.status == 2
        assert reason_of(data) in done.err
        assert "make or import it again" in done.err
