"""`migbench doctor` as a user has it: on a model, on a finished run, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import Done, migbench
from support.doctor_fakes import ADAPTER

from migbench.boxes import Box, Convention, Order
from migbench.checks.doctor import stored_run
from migbench.data.annotations import Annotations, Instance, read_annotations
from migbench.messages import ImageFile, Size
from migbench.mini import render
from migbench.models.resolving import resolve_model
from migbench.runs.importing import read_released, store_import
from migbench.runs.store import Run


def doctor(*arguments: object) -> Done:
    return migbench(
        "doctor", "--model", "fake", "--adapter", ADAPTER, "--dialect", "qwen2-vl", *arguments
    )


# --- On a model -----------------------------------------------------------------------------------


def test_a_sound_model_is_told_so_and_the_status_is_0() -> None:
    done = doctor("--scenes", 16)
    assert done.status == 0, done.err
    assert "24 questions about 16 rendered image sets" in done.out
    assert "xyxy, 0-1000 (declared)" in done.out
    _, findings = done.out.split("Findings\n")
    assert findings.startswith("  ok: The declared convention fits")
    assert "PROBLEM" not in findings
    assert max(map(len, done.out.splitlines())) <= 110


def test_a_wrong_declaration_is_told_with_the_flag_and_the_status_is_1(tmp_path: Path) -> None:
    faults = ("--model-arg", "order=yxyx", "--model-arg", "says='[{0}, {1}, {2}, {3}]'")
    done = doctor("--scenes", 16, *faults, "--json", tmp_path / "found.json")
    assert done.status == 1
    assert "PROBLEM: The declared convention is wrong: answers fit yxyx, 0-1000" in done.out
    assert "    set: --dialect gemini\n" in done.out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["conventions"]["ranked"][0]["name"] == "yxyx, 0-1000"
    assert found["conventions"]["declared"]["order"] == "xyxy"
    assert [each["flags"] for each in found["findings"] if each["flags"]] == [
        ["--dialect gemini", "--dialect gemma"]
    ]
    # The flag that is named mends it.
    mended = doctor("--scenes", 16, *faults, "--dialect", "gemini")
    assert mended.status == 0


def test_too_few_scenes_to_tell_are_not_taken_for_a_blessing() -> None:
    """Only large images show that a limit of the longer side was not declared; six are too few."""
    pixels = ("--dialect", "custom", "--box-order", "xyxy", "--box-scale", "pixels")
    asks = ("--box-syntax", "corner-pairs", "--box-format", " Where?")
    faults = ("--model-arg", "scale=pixels", "--model-arg", "frame=edge-limited:1568")
    done = doctor(*pixels, *asks, *faults, "--scenes", 16)
    assert done.status == 1
    said = " ".join(done.out.split())
    assert "Cannot tell whether the declared convention is right: xyxy, pixels (" in said
    assert "which may be chance. Ask about more scenes." in said


def test_json_alone_goes_to_standard_output() -> None:
    done = doctor("--scenes", 4, "--json", "-")
    assert json.loads(done.out)["questions"] == 6


def test_scenes_and_answers_are_kept_where_one_says(tmp_path: Path) -> None:
    out = tmp_path / "kept"
    first = doctor("--scenes", 4, "--out", out)
    assert len(Run(out / "run").lines) == 6
    before = (out / "run" / "answers.jsonl").read_bytes()
    again = doctor("--scenes", 4, "--out", out)
    assert (first.status, first.out) == (again.status, again.out)
    assert (out / "run" / "answers.jsonl").read_bytes() == before
    other = doctor("--scenes", 4, "--out", out, "--model-arg", "order=yxyx")
    assert other.status == 2
    assert "was made under other settings" in other.err


def test_a_baseline_that_looks_at_nothing_tells_nothing() -> None:
    done = migbench("doctor", "--model", "centre", "--scenes", 12)
    assert done.status == 1
    assert "Cannot tell which convention the model follows" in done.out


def test_an_untrained_checkpoint_is_told_honestly(checkpoint: Path) -> None:
    done = migbench(
        *("doctor", "--model", checkpoint, "--scenes", 4, "--max-new-tokens", 8),
        *("--max-pixels", 3136, "--json", "-"),
    )
    assert done.status == 1, done.err
    found = json.loads(done.out)
    assert found["answers"]["n"] == 6
    assert sum(found["answers"]["outcomes"].values()) == 6
    assert found["conventions"] is None
    texts = [each["text"] for each in found["findings"] if each["severity"] == "problem"]
    assert texts[-1].startswith("Cannot tell which convention the model follows: no answer holds")


def test_answers_are_shown_without_control_characters() -> None:
    done = doctor("--scenes", 3, "--model-arg", "silent=1.0", "--model-arg", r'instead="\e[31mred"')
    assert "\x1b" not in done.out
    assert r"\x1b[31mred" in done.out


def test_either_a_model_or_a_run() -> None:
    for arguments in ((), ("--model", "centre", "--run", ".")):
        done = migbench("doctor", *arguments)
        assert done.status == 2
        assert "give either --model" in done.err
        assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "centre", "--images", "."), "--images is about --run"),
        (("--run", ".", "--dialect", "gemini"), "--dialect is about --model"),
        (("--run", ".", "--model-arg", "a=1"), "--model-arg is about --model"),
        (("--run", "."), "is not a run"),
        (
            ("--model", "centre", "--adapter", "no-such"),
            "--adapter no-such: there is none of this name; choose from",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = migbench("doctor", *arguments, "--scenes", 1)
    assert done.status == 2
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_help_shows_examples_and_statuses() -> None:
    done = migbench("doctor", "--help")
    assert "migbench doctor --run" in done.out
    assert "Exit status" in done.out
    assert "  doctor " in migbench("--help").out


# --- On a finished run ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=10)
    return folder


Say = Callable[[Instance, Size], str]


@pytest.fixture
def run_of(mini: Path, tmp_path: Path) -> Callable[[Say], Path]:
    """A run on MIG-Mini with these answers, under a dialect in thousandths."""

    def made(say: Say) -> Path:
        answers = tmp_path / "answers.jsonl"
        with answers.open("w") as file:
            for instance in read_annotations(mini / "MIG_mini.json").instances:
                name = instance.images[instance.target_image]
                text = say(instance, ImageFile(name, mini / name).size())
                file.write(json.dumps({"id": instance.id, "response": text}) + "\n")
        done = migbench(
            *("import", "jsonl", answers, "--annotations", mini / "MIG_mini.json"),
            *("--profile", "mine", "--dialect", "qwen2-vl", "--out", tmp_path / "run"),
        )
        assert done.status == 0, done.err
        return tmp_path / "run"

    return made


def written_in(convention: Convention, digits: int = 0) -> Say:
    def say(instance: Instance, size: Size) -> str:
        numbers = convention.from_unit(instance.box, size)
        x1, y1, x2, y2 = (f"{number:.{digits}f}" for number in numbers)
        return f"({x1},{y1}),({x2},{y2})"

    return say


def test_a_run_that_is_what_it_says(mini: Path, run_of: Callable[[Say], Path]) -> None:
    done = migbench("doctor", "--run", run_of(written_in(Convention())), "--images", mini)
    assert done.status == 0, done.err
    assert "Nothing in the numbers speaks against xyxy, 0-1000" in done.out
    assert "Growth with the image's side" in done.out


@pytest.mark.parametrize(
    ("say", "complaint"),
    [
        pytest.param(written_in(Convention(scale=None)), "grow with the images", id="pixels"),
        pytest.param(written_in(Convention(scale=1), 3), "decimals in 0-1?", id="decimals"),
        pytest.param(written_in(Convention(Order.XYWH)), "more would be as xywh", id="xywh"),
        pytest.param(written_in(Convention(scale=10_000)), "reach beyond the frame", id="larger"),
        pytest.param(written_in(Convention(scale=100)), "same corner", id="percent"),
        pytest.param(lambda instance, size: "(250,250),(750,750)", "the same one", id="constant"),
        pytest.param(lambda instance, size: "[1, 2, 3, 4]", "another syntax", id="syntax"),
        pytest.param(lambda instance, size: "I am sorry", "nothing to find", id="refusals"),
    ],
)
def test_a_run_that_is_not(
    mini: Path, run_of: Callable[[Say], Path], say: Say, complaint: str
) -> None:
    done = migbench("doctor", "--run", run_of(say), "--images", mini)
    assert done.status == 1, done.out
    said = " ".join(done.out.split("Findings\n")[1].split())
    assert "PROBLEM" in said
    assert complaint in said


def test_without_images_small_images_in_pixels_still_show(run_of: Callable[[Say], Path]) -> None:
    done = migbench("doctor", "--run", run_of(written_in(Convention(scale=None))))
    assert done.status == 1
    assert "same corner" in done.out
    assert "pass --images" in done.out


def test_no_ground_truth_is_looked_at(
    mini: Path, run_of: Callable[[Say], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is the same where all true boxes are other ones."""
    run = run_of(written_in(Convention()))
    before = migbench("doctor", "--run", run, "--images", mini)

    read = stored_run.annotations_of

    def elsewhere(run: Run, moved_to: Path | None = None) -> Annotations:
        found = read(run, moved_to)

        moved = (replace(each, box=Box(0.9, 0.9, 0.8, 2.0)) for each in found.instances)
        return replace(found, instances=tuple(moved))

    monkeypatch.setattr(stored_run, "annotations_of", elsewhere)
    assert migbench("doctor", "--run", run, "--images", mini).out == before.out


# --- On published answers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "profile"), [("migician", "migician"), ("qwen2_vl", "qwen2-vl-7b")]
)
def test_published_answers_are_what_they_are_declared_to_be(
    shared: Path, revised: Annotations, tmp_path: Path, folder: str, profile: str
) -> None:
    answers = read_released(shared / "real_outputs" / folder, revised)
    store_import(answers, resolve_model(profile), revised, tmp_path / "run", folder)
    done = migbench("doctor", "--run", tmp_path / "run")
    assert done.status == 0
    assert "Nothing in the numbers speaks against xyxy, 0-1000" in done.out
    assert "pass --images" in done.out
