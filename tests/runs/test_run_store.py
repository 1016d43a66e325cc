"""The run folder: nothing that was stored is lost, and nothing foreign gets in."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import msgspec
import pytest
from support.answer_lines import answer_line

from migbench.errors import AdapterError, DataError, UsageError
from migbench.models.resolving import resolve_model
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.manifest import Environment, Manifest
from migbench.runs.opening import open_run
from migbench.runs.settings import AnnotationSource, Settings
from migbench.runs.sharding import Shard
from migbench.runs.store import Run
from migbench.runs.stored import stored_findings
from migbench.runs.unused import removed_if_unused


def settings(**changes: object) -> Settings:
    base = Settings(
        model=resolve_model("whole-image"),
        annotations=AnnotationSource(path="a.json", sha256="0" * 64, version="custom", scale=1),
        tasks={"diff": "1" * 64},
    )
    return msgspec.structs.replace(base, **changes)


def manifest(**changes: object) -> Manifest:
    environment = Environment(
        migbench="0", commit=None, packages={}, python="3", machine="", command=[]
    )
    return Manifest(
        created="now", status="running", settings=settings(**changes), environment=environment
    )


def line(question: str, text: str | None = "(1,2),(3,4)", **fields: object) -> AnswerLine:
    return answer_line(question, text, key=f"key-{question}", **fields)  # type: ignore[arg-type]


def test_an_answer_is_on_disk_as_soon_as_it_is_stored(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
        assert Run(tmp_path / "run").lines["a", 0].text == "(1,2),(3,4)"


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
    with open_run(tmp_path / "run", manifest()) as store:
        assert set(store.lines) == {("a", 0)}
        store.append(line("b"))
    assert set(Run(tmp_path / "run").lines) == {("a", 0), ("b", 0)}


def test_the_wall_time_adds_up_over_resumptions(tmp_path: Path) -> None:
    for seconds, total in ((2.0, 2.0), (0.5, 2.5)):
        with open_run(tmp_path / "run", manifest()) as store:
            store.finish("stopped", seconds=seconds)
        assert Run(tmp_path / "run").manifest.wall_seconds == total


@pytest.mark.parametrize("end", ["killed", "not timed"])
def test_the_wall_time_is_unknown_as_soon_as_a_part_of_it_is(tmp_path: Path, end: str) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.finish("stopped", seconds=2.0)
    with open_run(tmp_path / "run", manifest()) as store:
        assert Run(tmp_path / "run").manifest.wall_seconds is None
        if end == "not timed":
            store.finish("stopped")
    with open_run(tmp_path / "run", manifest()) as store:
        store.finish("complete", seconds=1.0)
    assert Run(tmp_path / "run").manifest.wall_seconds is None


@pytest.mark.parametrize("torn", [b'{"question":"b","text":"(5,', b'{"question":"b"', b"\xe2\x82"])
def test_a_line_cut_off_by_a_kill_is_dropped_and_written_over(tmp_path: Path, torn: bytes) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
    with (tmp_path / "run" / "answers.jsonl").open("ab") as file:
        file.write(torn)
    assert set(Run(tmp_path / "run").lines) == {("a", 0)}
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("b"))
    assert set(Run(tmp_path / "run").lines) == {("a", 0), ("b", 0)}


def test_a_line_broken_in_the_middle_is_named(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
    answers = tmp_path / "run" / "answers.jsonl"
    answers.write_bytes(b"not json\n" + answers.read_bytes())
    with pytest.raises(DataError, match=r"answers\.jsonl:1"):
        Run(tmp_path / "run")


def test_an_answer_outlives_a_failure_before_and_after_it(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a", None, error="first"))
        store.append(line("a", "said"))
        store.append(line("a", None, error="again"))
    assert Run(tmp_path / "run").lines["a", 0].text == "said"


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a", ""))
    assert Run(tmp_path / "run").lines["a", 0].text == ""


def test_changed_settings_are_refused_and_named(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
    changed = manifest(prompts="paper", limit=3, model=resolve_model("centre"))
    with (
        pytest.raises(UsageError) as refusal,
        open_run(tmp_path / "run", changed),
    ):
        pass
    message = str(refusal.value)
    assert "prompts: was 'released', is now 'paper'" in message
    assert "limit: was None, is now 3" in message
    assert "model.settings.answer" in message


def test_an_edited_task_file_is_a_changed_setting(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
    with (
        pytest.raises(UsageError, match=r"tasks\.diff"),
        open_run(tmp_path / "run", manifest(tasks={"diff": "2" * 64})),
    ):
        pass


def test_how_a_model_is_served_may_change(tmp_path: Path) -> None:
    model = resolve_model("whole-image")
    slow = msgspec.structs.replace(model, settings={**model.settings, "concurrency": 1})
    fast = msgspec.structs.replace(model, settings={**model.settings, "concurrency": 64})
    with open_run(tmp_path / "run", manifest(model=slow)) as store:
        store.append(line("a"))
    served = msgspec.structs.replace(manifest(model=fast), serving=["concurrency"])
    with open_run(tmp_path / "run", served):
        pass
    with (
        pytest.raises(UsageError, match=r"concurrency: was 64, is now 1"),
        open_run(tmp_path / "run", manifest(model=slow)),
    ):
        pass


def grown(tmp_path: Path, **changes: object) -> Settings:
    """The settings of a run of five instances of one task, opened again under these."""
    folder = tmp_path / "run"
    with open_run(folder, manifest(limit=5, shard=Shard(number=1, of=2))) as store:
        store.append(line("a"))
    with open_run(folder, manifest(**{"limit": 5, "shard": Shard(number=1, of=2)} | changes)):
        pass
    run = Run(folder)
    assert run.lines["a", 0].text is not None
    assert list(stored_findings(folder, run.manifest)) == []
    return run.settings


@pytest.mark.parametrize(
    "more",
    [
        {"limit": 6},
        {"limit": None},
        {"shard": None},
        {"tasks": {"diff": "1" * 64, "region": "2" * 64}},
    ],
)
def test_a_run_grows_and_stays_sealed(tmp_path: Path, more: dict[str, object]) -> None:
    settings = grown(tmp_path, **more)
    assert {name: getattr(settings, name) for name in more} == more


@pytest.mark.parametrize(
    ("less", "told"),
    [
        ({"limit": 4}, "limit: was 5, is now 4"),
        ({"shard": Shard(number=2, of=2)}, "shard.number: was 1, is now 2"),
        ({"tasks": {"region": "2" * 64}}, "tasks.diff: was"),
        ({"instances": ("a",)}, "instances: was None"),
    ],
)
def test_a_run_does_not_shrink(tmp_path: Path, less: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as refusal:
        grown(tmp_path, **less)
    assert told in str(refusal.value)
    assert "may grow, and not shrink" in str(refusal.value)


def test_a_run_without_an_answer_takes_all_settings(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a", None, error="no such host"))
    with open_run(tmp_path / "run", manifest(prompts="paper")) as store:
        assert store.lines == {}
    run = Run(tmp_path / "run")
    assert (run.settings.prompts, run.manifest.others) == ("paper", [])


def test_a_run_whose_answers_were_deleted_is_not_one_without_answers(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()) as store:
        store.append(line("a"))
        store.finish("complete")
    (tmp_path / "run" / "answers.jsonl").write_bytes(b"")
    with (
        pytest.raises(UsageError, match="other settings"),
        open_run(tmp_path / "run", manifest(prompts="paper")),
    ):
        pass


def test_nothing_is_left_of_a_run_in_which_nothing_was_stored(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for folder in (tmp_path / "results" / "new", mine):
        with (
            pytest.raises(AdapterError),
            removed_if_unused(folder),
            open_run(folder, manifest()),
        ):
            raise AdapterError("no such checkpoint")
    assert [*tmp_path.rglob("*")] == [mine]


def test_what_was_stored_stays(tmp_path: Path) -> None:
    for text in ("(1,2),(3,4)", None):
        with (
            removed_if_unused(tmp_path / str(text)),
            open_run(tmp_path / str(text), manifest()) as store,
        ):
            store.append(line("a", text))
        assert ("a", 0) in Run(tmp_path / str(text)).lines


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(UsageError, match="not a run"), open_run(tmp_path, manifest()):
        pass
    assert {path.name for path in tmp_path.iterdir()} <= {"thesis.tex", ".lock"}


def test_reading_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run"):
        Run(tmp_path)


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", manifest()):
        pass
    (tmp_path / "run" / "run.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(DataError, match=r"run\.json"):
        Run(tmp_path / "run")


def _hold(folder: Path, ready: multiprocessing.synchronize.Event, done: object) -> None:
    with open_run(folder, manifest()):
        ready.set()
        done.wait(20)  # type: ignore[attr-defined]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "run", ready, done))
    other.start()
    try:
        assert ready.wait(20)
        with (
            pytest.raises(UsageError, match="another process"),
            open_run(tmp_path / "run", manifest()),
        ):
            pass
    finally:
        done.set()
        other.join()
    with open_run(tmp_path / "run", manifest()):
        pass
