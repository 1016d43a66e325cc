"""``migbench verify``: an untouched run holds, and whatever was changed is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from support.command_line import migbench
from support.sealed import edit_manifest

from migbench import dialects, tasks
from migbench.dialects import Dialect, dialect
from migbench.mini import render
from migbench.models import resolving as models
from migbench.runs.manifest import Environment, Manifest, read_manifest, write_json
from migbench.runs.opening import open_run
from migbench.runs.settings import YOUNGER_FIELDS
from migbench.scoring import PROTOCOLS

MODEL = """
import hashlib

class Model:
    def answer(self, request):
        a, b, c, d = hashlib.sha256(request.text().encode()).digest()[:4]
        return f"Image-1: ({a},{b}),({a + 3 * c},{b + 3 * d})"
"""


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=2)
    return folder


@pytest.fixture(scope="module")
def made(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's file and a run of it, which no test changes."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "model.py").write_text(MODEL)
    done = migbench(
        *("run", "--model", "mine", "--adapter", f"{folder / 'model.py'}:Model"),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", folder / "run"),
    )
    assert done.status == 0, done.err
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A run that may be changed."""
    return shutil.copytree(made / "run", tmp_path / "run")


@pytest.fixture
def guess(mini: Path, tmp_path: Path) -> Path:
    """A run of a profile that may be changed."""
    out = tmp_path / "guess"
    assert migbench("run", "--model", "whole-image", "--data", mini, "--out", out).status == 0
    return out


def lines_of(run: Path) -> list[bytes]:
    return (run / "answers.jsonl").read_bytes().splitlines(keepends=True)


def write_lines(run: Path, lines: list[bytes]) -> None:
    (run / "answers.jsonl").write_bytes(b"".join(lines))


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2))


def changed_in(run: Path, *options: object) -> list[str]:
    """What verification calls changed, having ended with status 2."""
    done = migbench("verify", run, *options)
    assert done.status == 2, done.out
    assert f"{run}: something was CHANGED" in done.out
    return [
        line.partition("  ")[2].strip() for line in done.out.splitlines() if line[:7] == "CHANGED"
    ]


# --- What holds ----------------------------------------------------------------------------------


def test_an_untouched_run_holds(run: Path) -> None:
    done = migbench("verify", run)
    assert done.status == 0, done.out
    (line,) = done.out.splitlines()
    assert line.startswith(f"{run}: all holds; run {hash_of(run)[:12]}, 20 targets scored again")


def hash_of(run: Path) -> str:
    stored: str = json.loads((run / "scores.json").read_text())["run"]
    return stored


def test_verifying_changes_nothing(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    migbench("verify", run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_json_has_every_finding(run: Path, tmp_path: Path) -> None:
    write_lines(run, lines_of(run)[1:])
    done = migbench("verify", run, "--json", "-")
    assert done.status == 2
    report = json.loads(done.out)
    assert (report["holds"], report["complete"]) == (False, False)
    assert report["run"] != hash_of(run)
    assert {each["about"] for each in report["findings"]} == {"answers", "scores"}
    assert {each["kind"] for each in report["findings"]} == {"changed", "incomplete"}


# --- Answers -------------------------------------------------------------------------------------


def test_one_changed_byte_in_an_answer_is_found_with_its_line_and_question(run: Path) -> None:
    lines = lines_of(run)
    place = lines[6].index(b'"text":"Image-1: (') + len(b'"text":"Image-1: (')
    digit = bytes([lines[6][place] ^ 1])
    lines[6] = lines[6][:place] + digit + lines[6][place + 1 :]
    question = json.loads(lines[6])["question"]
    write_lines(run, lines)
    first, second, *_ = changed_in(run)
    assert first == f"{run / 'answers.jsonl'}:7 ({question}): is not what was stored"
    assert second.startswith(f"{run / 'scores.json'}: was made of run ")


@pytest.mark.parametrize("field", [b'"seconds":', b'"key":"', b'"link":"', b'"prompt":"'])
def test_a_changed_byte_that_no_score_depends_on_is_found_as_well(run: Path, field: bytes) -> None:
    lines = lines_of(run)
    if field not in lines[3]:
        lines[3] = lines[3].replace(b'"link":"', field + b'1,"link":"')
    else:
        place = lines[3].index(field) + len(field)
        lines[3] = lines[3][:place] + bytes([lines[3][place] ^ 1]) + lines[3][place + 1 :]
    write_lines(run, lines)
    assert any(f"{run / 'answers.jsonl'}:4" in message for message in changed_in(run))


def test_a_byte_that_breaks_a_line_is_found_and_said_to_prevent_scoring(run: Path) -> None:
    lines = lines_of(run)
    lines[2] = b"[" + lines[2][1:]
    write_lines(run, lines)
    stored, scores = changed_in(run)
    assert stored == f"{run / 'answers.jsonl'}:3: is not what was stored"
    assert scores.startswith(f"the answers cannot be scored: {run / 'answers.jsonl'}:3")


@pytest.mark.parametrize("place", [0, 9, 19])
def test_a_deleted_line_is_found_with_its_place_and_question(run: Path, place: int) -> None:
    lines = lines_of(run)
    question = json.loads(lines.pop(place))["question"]
    write_lines(run, lines)
    done = migbench("verify", run)
    answers = run / "answers.jsonl"
    assert f"{answers}: lines were deleted: it was sealed with 20, and has 19" in done.out
    assert (f"{answers}:{place + 1} (" in done.out) == (place < 19)
    assert f"INCOMPLETE  1 of 20 targets have no answer, {question} first" in done.out


def test_added_and_moved_lines_are_found(run: Path) -> None:
    lines = lines_of(run)
    write_lines(run, [*lines, lines[0]])
    messages = changed_in(run)
    assert any(":21 (" in each and "does not follow" in each for each in messages)
    assert any("1 lines were added after it was sealed" in each for each in messages)
    write_lines(run, [lines[1], lines[0], *lines[2:]])
    assert any("does not follow" in each for each in changed_in(run))


def test_answers_of_another_run_are_found(run: Path, guess: Path) -> None:
    shutil.copy(guess / "answers.jsonl", run / "answers.jsonl")
    assert any(":20: is not the line that was last" in each for each in changed_in(run))


def test_an_edited_manifest_is_found(run: Path) -> None:
    edited(run / "run.json", lambda content: content["environment"].update(commit="0" * 12))
    assert f"{run / 'run.json'}: was edited after it was sealed" in changed_in(run)


def test_scores_that_do_not_come_out_again_are_named(run: Path) -> None:
    edited(run / "scores.json", lambda content: content["macro"].update({"acc@0.5": 71.5}))
    edited(run / "scores.json", lambda content: content["tasks"]["diff"].update(n=3))
    task, macro = changed_in(run)
    assert task == f"{run / 'scores.json'}: tasks.diff.n is 3, and comes out as 2"
    assert f"{run / 'scores.json'}: macro.acc@0.5 is 71.5, and comes out as" in macro


@pytest.mark.parametrize("content", ["no json", "[1]", '{"protocol": "mine"}'])
def test_scores_that_cannot_be_read_are_named(run: Path, content: str) -> None:
    (run / "scores.json").write_text(content)
    (message,) = changed_in(run)
    assert f"{run / 'scores.json'}:" in message


def test_scores_are_computed_again_as_they_were(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = migbench(
        *("run", "--model", "whole-image", "--data", mini, "--out", out),
        *("--protocol", "released", "--limit", "1"),
    )
    assert done.status == 0, done.err
    done = migbench("verify", out)
    assert done.status == 0
    assert "(released, " in done.out


# --- The world around it -------------------------------------------------------------------------


def test_a_swapped_annotation_file_is_named(run: Path, mini: Path, tmp_path: Path) -> None:
    render(tmp_path / "other", per_task=2, seed=5)
    other = tmp_path / "other" / "MIG_mini.json"
    (message,) = changed_in(run, "--annotations", other)
    assert message.startswith(f"{other}: is not the annotation file that was answered (")


def test_annotations_swapped_in_place_are_named_and_gone_ones_asked_for(
    mini: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(mini, tmp_path / "data")
    out = tmp_path / "run"
    assert migbench("run", "--model", "whole-image", "--data", data, "--out", out).status == 0
    path = data / "MIG_mini.json"
    path.write_text(path.read_text().replace("0.5", "0.6", 1))
    (message,) = changed_in(out)
    assert message.startswith(f"{path}: is not the annotation file that was answered")
    path.unlink()
    (message,) = changed_in(out)
    assert "pass --annotations FILE" in message
    assert migbench("verify", out, "--annotations", mini / "MIG_mini.json").status == 0


@pytest.fixture
def task_files(tmp_path: Path) -> Iterator[Path]:
    """A copy of the task files that is read instead of them."""
    folder = shutil.copytree(tasks.tasks_folder(), tmp_path / "tasks")
    caches = (tasks.load_tasks, tasks.find_task)
    for cached in caches:
        cached.cache_clear()
    with (
        mock.patch.object(tasks, "tasks_folder", return_value=folder),
        mock.patch("migbench.checks.verify.changes.tasks_folder", return_value=folder),
    ):
        yield folder
    for cached in caches:
        cached.cache_clear()


def test_an_edited_task_yaml_is_named(run: Path, task_files: Path) -> None:
    assert migbench("verify", run).status == 0
    path = next(path for path in task_files.glob("*.yaml") if "key: region" in path.read_text())
    text = path.read_text()
    assert text.count("title: ") == 1
    path.write_text(text.replace("title: ", "title: My "))
    tasks.load_tasks.cache_clear()
    (message,) = changed_in(run)
    assert message == f"task region: its definition in {task_files} was edited"


def test_an_edited_dialect_is_named_with_what_differs(run: Path) -> None:
    known = dialects.find_dialect("qwen2-vl")
    other = msgspec.structs.replace(known, scale=999.0, title="Another title")
    with mock.patch.dict(dialect.load_dialects(), {"qwen2-vl": other}):
        (message,) = changed_in(run)
    assert message.startswith("dialect qwen2-vl: was edited (scale);")


def test_an_edited_profile_is_named_and_its_notes_do_not_matter(guess: Path) -> None:
    known = models.load_profiles()["whole-image"]
    noted = msgspec.structs.replace(known, notes="Else.")
    with mock.patch.dict(models.load_profiles(), {"whole-image": noted}):
        assert migbench("verify", guess).status == 0
    other = msgspec.structs.replace(known, settings={"answer": "(1,2),(3,4)"})
    with mock.patch.dict(models.load_profiles(), {"whole-image": other}):
        (message,) = changed_in(guess)
    assert message.startswith("profile whole-image: was edited")


def test_an_edited_adapter_file_is_named(run: Path, made: Path) -> None:
    path = made / "model.py"
    path.write_text(MODEL.replace("3 *", "2 *"))
    try:
        (message,) = changed_in(run)
    finally:
        path.write_text(MODEL)
    assert message.startswith(f"adapter {path}:Model: is another than answered")


def test_other_versions_are_a_remark(run: Path) -> None:
    real = read_manifest(run).environment
    packages = {**real.packages, "numpy": "1.0"}
    del packages["pillow"]
    other = msgspec.structs.replace(real, packages=packages, commit="f" * 12, python="3.99")
    with mock.patch("migbench.checks.verify.changes.current_environment", return_value=other):
        done = migbench("verify", run)
    assert done.status == 0
    *remarks, last = done.out.splitlines()
    assert [each.split(":")[0] for each in remarks] == [
        f"REMARK      {name}" for name in ("numpy", "pillow", "Python", "migbench")
    ]
    assert remarks[1].endswith("is not installed")
    assert ": all holds" in last


# --- Runs of every origin ------------------------------------------------------------------------


def test_shards_and_merged_runs_hold(made: Path, mini: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "part1", tmp_path / "part2"]
    for number, part in enumerate(parts, start=1):
        done = migbench(
            *("run", "--model", "mine", "--adapter", f"{made / 'model.py'}:Model"),
            *("--dialect", "qwen2-vl", "--data", mini, "--out", part, "--shard", f"{number}/2"),
        )
        assert done.status == 0, done.err
        assert migbench("verify", part).status == 0
    merged = tmp_path / "merged"
    assert migbench("merge", *reversed(parts), "--out", merged).status == 0
    done = migbench("verify", merged)
    assert done.status == 0
    assert f"run {hash_of(made / 'run')[:12]}," in done.out
    assert "has no scores.json to hold the scores against" in done.out
    commands = [one.command for one in read_manifest(merged).others]
    assert len(commands) == 1
    assert commands[0][-1] == "1/2"

    write_lines(parts[0], lines_of(parts[0])[1:])
    done = migbench("merge", *parts, "--out", tmp_path / "damaged")
    assert done.status == 2
    assert f"`migbench verify {parts[0]}` lists all changes" in done.err
    assert not (tmp_path / "damaged").exists()


def test_an_imported_run_holds_and_a_changed_answer_in_it_is_found(
    mini: Path, tmp_path: Path
) -> None:
    records = json.loads((mini / "MIG_mini.json").read_text())
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "\n".join(
            json.dumps({"index": place, "response": f"(0,0),({place},999)"})
            for place in range(len(records))
        )
    )
    out = tmp_path / "run"
    done = migbench(
        *("import", "jsonl", answers, "--annotations", mini / "MIG_mini.json"),
        *("--profile", "migician", "--out", out),
    )
    assert done.status == 0, done.err
    assert migbench("verify", out).status == 0
    write_lines(out, [line.replace(b"(0,0),(7,", b"(0,0),(8,") for line in lines_of(out)])
    (message,) = changed_in(out)
    assert f"{out / 'answers.jsonl'}:8 (" in message


def test_a_run_from_before_there_were_seals_is_unsealed_and_goes_on(
    guess: Path, mini: Path
) -> None:
    plain = [json.loads(line) for line in lines_of(guess)]
    for line in plain:
        del line["link"]
    write_lines(guess, [json.dumps(line).encode() + b"\n" for line in plain[:-1]])
    (guess / "scores.json").unlink()
    new = ("seal", "others", "serving")
    edited(guess / "run.json", lambda content: [content.pop(name) for name in new])
    done = migbench("verify", guess)
    assert done.status == 2
    assert "UNSEALED    " in done.out
    assert "19 answers are not sealed" in done.out
    assert "whether something was changed CANNOT BE TOLD" in done.out

    assert migbench("run", "--model", "whole-image", "--data", mini, "--out", guess).status == 0
    done = migbench("verify", guess)
    assert done.status == 2
    assert "19 answers are not sealed" in done.out
    write_lines(guess, lines_of(guess)[:-1])
    assert any("sealed with 20, and has 19" in each for each in changed_in(guess))


def test_a_killed_run_holds_and_says_what_its_seal_does_not_cover(guess: Path) -> None:
    manifest, lines = read_manifest(guess), lines_of(guess)
    (guess / "scores.json").unlink()
    write_lines(guess, lines[:5])
    running = msgspec.structs.replace(manifest, status="running")
    with open_run(guess, running, accept_changes=True):
        pass
    edit_manifest(guess, lambda content: content.update(history=[]))
    with open_run(guess, running):
        pass  # Killed: what follows was stored, and the manifest not written again.
    write_lines(guess, [*lines[:8], lines[8][:30]])
    done = migbench("verify", guess)
    assert done.status == 1
    assert "3 lines came after the seal: the run is under way, or was killed" in done.out
    assert "ends in a line that was cut off" in done.out
    assert "INCOMPLETE  12 of 20 targets have no answer" in done.out


def test_a_run_that_went_on_tells_every_sitting(mini: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("run", "--model", "whole-image", "--data", mini, "--out", out, "--tasks")
    assert migbench(*command, "OT").status == 0
    first = read_manifest(out)
    assert migbench(*command, "OT,diff").status == 0
    assert migbench(*command, "OT,diff", "--protocol", "released").status == 0
    again = read_manifest(out)
    assert again.created == first.created
    assert again.others == [first.environment]
    assert migbench("verify", out).status == 0


def test_answers_of_two_checkpoints_are_found(run: Path) -> None:
    """Under one name, a checkpoint was replaced between two sittings."""

    def mixed(manifest: Manifest) -> Manifest:
        was: Environment = msgspec.structs.replace(manifest.environment, checkpoint="files 1")
        now: Environment = msgspec.structs.replace(manifest.environment, checkpoint="files 2")
        return msgspec.structs.replace(manifest, environment=now, others=[was], seal=None)

    write_json(run / "run.json", mixed(read_manifest(run)))
    assert any("its answers are those of several models" in each for each in changed_in(run))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_under_every_protocol_come_out_again(guess: Path, protocol: str) -> None:
    scores = guess / "scores.json"
    assert migbench("score", guess, "--protocol", protocol, "--json", scores).status == 0
    done = migbench("verify", guess)
    assert (done.status, f"({protocol}, " in done.out) == (0, True)


def test_named_images_as_earlier_versions_counted_them_are_no_change(guess: Path) -> None:
    path = guess / "scores.json"
    scores = json.loads(path.read_text())
    for task in scores["tasks"].values():
        task["named_images"]["named"] += 1
    path.write_text(json.dumps(scores))
    assert "all holds" in migbench("verify", guess).out


def test_a_protocol_that_there_is_none_of_is_named(guess: Path) -> None:
    (guess / "scores.json").write_text('{"protocol": "mine"}')
    done = migbench("verify", guess)
    assert done.status == 2
    assert "protocol 'mine' is none of standard, released, univg" in done.out


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 1}', "[]"])
def test_a_broken_manifest_is_named(run: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    done = migbench("verify", run)
    assert done.status == 2
    assert f"{run / 'run.json'}: " in done.err


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"evaluator": "mine"}, "evaluator 'mine' is none of polling, all-at-once"),
        ({"strategy": "mine"}, "strategy 'mine' is none of direct, cot, mcot"),
        ({"prompts": "mine"}, "prompts 'mine' is none of released, paper"),
        ({"shard": {"number": 1, "of": 0}}, "there can be no shard 1/0"),
    ],
)
def test_forms_of_asking_that_there_are_none_of_are_named(
    run: Path, change: dict[str, object], complaint: str
) -> None:
    edited(run / "run.json", lambda content: content["settings"].update(change))
    for command in ("verify", "score", "rerun"):
        done = migbench(command, run)
        assert done.status == 2
        assert complaint in done.err


# --- The hash, and what stands under tables ------------------------------------------------------


def test_the_hash_is_computed_as_the_document_says(run: Path) -> None:
    """Anew, from the files, with nothing of migbench: docs/provenance.md, "A run's hash"."""

    def encoded(content: object) -> bytes:
        compact = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return compact.encode()

    def said(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: said(inner) for name, inner in value.items() if inner is not None}
        if isinstance(value, list):
            return [said(inner) for inner in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    settings = said(json.loads((run / "run.json").read_text())["settings"])
    source = settings["annotations"]
    settings["annotations"] = {
        "sha256": source["content_sha256"],  # A custom file; a published one has a name of its own.
        "version": source["version"],
        "scale": source["scale"],
    }
    settings["model"].pop("corrections", None)
    kept = settings["model"]["dialect"]
    plain = Dialect(name="", title="", source="", syntax=(), format="")
    usual = said(json.loads(msgspec.json.encode(plain)))
    kept.pop("structural_tokens")
    for name in YOUNGER_FIELDS:
        if kept[name] == usual[name]:
            del kept[name]
    settings["model"]["adapter"] = "model.py:Model"
    digests = {}
    for line in map(json.loads, lines_of(run)):
        place = [line["question"], line.get("turn", 0)]
        content = [*place, line["prompt"], line["text"], line.get("truncated", False), None]
        key = hashlib.sha256(encoded(place)).digest()[:16]
        digests[key] = hashlib.sha256(encoded(content)).digest()
    answers = hashlib.sha256(b"".join(digests[key] for key in sorted(digests))).hexdigest()
    whole = encoded({"answers": answers, "settings": settings})
    assert hash_of(run) == hashlib.sha256(whole).hexdigest()


def test_tables_and_comparisons_name_runs_by_hash(run: Path, guess: Path) -> None:
    for command in ("table", "compare"):
        done = migbench(command, run, guess)
        assert done.status == 0
        for each in (run, guess):
            assert f": run {hash_of(each)[:12]}, protocol standard" in done.out
    assert hash_of(run) != hash_of(guess)


# --- Requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [(), ("--evaluator", "all-at-once", "--strategy", "mcot")])
def test_requests_made_again_are_those_that_were_answered(
    made: Path, mini: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    done = migbench(
        *("run", "--model", "mine", "--adapter", f"{made / 'model.py'}:Model"),
        *("--dialect", "qwen2-vl", "--data", mini, "--out", out, *form),
    )
    assert done.status == 0, done.err
    done = migbench("verify", out, "--requests")
    assert done.status == 0, done.out
    (line,) = done.out.splitlines()
    assert ": all holds" in line


def test_a_swapped_image_and_another_wording_are_named(
    run: Path, mini: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(mini, tmp_path / "data")
    first = json.loads((mini / "MIG_mini.json").read_text())[0]["images"][0]
    path = data / first
    path.write_bytes(path.read_bytes() + b"\0")
    asked = json.loads(lines_of(run)[0])
    assert migbench("verify", run, "--images", data).status == 0
    (message,) = changed_in(run, "--requests", "--images", data)
    assert "was asked with other images, in other words" in message
    assert migbench("verify", run, "--requests").status == 0

    edited(run / "run.json", lambda content: content["settings"].update(prompts="paper"))
    assert any(asked["question"] in message for message in changed_in(run, "--requests"))


def test_without_images_requests_are_not_made_again(run: Path, tmp_path: Path) -> None:
    edit_manifest(run, lambda content: content.update(images="gone"))
    done = migbench("verify", run, "--requests")
    assert done.status == 0, done.out
    assert "gone: is not read, since the run was not made by you here; pass --images" in done.out
