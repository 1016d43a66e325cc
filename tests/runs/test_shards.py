"""Shards: each question in exactly one, and merged they are the run that they were parts of."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.command_line import Done, migbench
from support.sealed import edit_manifest
from test_runner import instance, questions

from migbench.asking.questions import Question
from migbench.data.annotations import read_annotations
from migbench.errors import UsageError
from migbench.mini import render
from migbench.runs import hash_chain
from migbench.runs.answers_file import ANSWERS, read_lines
from migbench.runs.locking import lock_run
from migbench.runs.sharding import Shard, read_shard, share_of
from migbench.runs.store import Run

MODEL = """
import hashlib
from pathlib import Path

from migbench.messages import ModelError

DOWN = Path(__file__).with_name("down")

class Model:
    def answer(self, request):
        if DOWN.exists() and request.images[0].name == DOWN.read_text():
            raise ModelError("the server is down")
        a, b, c, d = hashlib.sha256(request.text().encode()).digest()[:4]
        return f"Image-1: ({a},{b}),({a + 3 * c},{b + 3 * d})"
"""
PARTS = ("1/3", "2/3", "3/3")


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=4)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.py"
    path.write_text(MODEL)
    return path


Ask = Callable[..., Done]


@pytest.fixture(scope="module")
def ask(mini: Path, model: Path) -> Ask:
    """Runs the Python class on MIG-Mini, in a folder and with options."""

    def ask(out: Path, *options: str) -> Done:
        return migbench(
            *("run", "--model", "mine", "--adapter", f"{model}:Model", "--dialect", "qwen2-vl"),
            *("--data", mini, "--out", out, *options),
        )

    return ask


@pytest.fixture(scope="module")
def made(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unsharded run, ``whole``, its shards of three, and strangers to them."""
    folder = tmp_path_factory.mktemp("runs")
    runs: dict[str, tuple[str, ...]] = {
        "whole": (),
        "half": ("--shard", "2/2"),
        "paper": ("--shard", "2/3", "--prompts", "paper"),
        **{f"part{part[0]}": ("--shard", part) for part in PARTS},
    }
    for name, options in runs.items():
        done = ask(folder / name, *options)
        assert done.status == 0, done.err
    return folder


def scored(run: Path, folder: Path) -> tuple[Any, str]:
    """A run's scores, and its instance rows."""
    scores, rows = folder / f"{run.name}.json", folder / f"{run.name}.csv"
    done = migbench("score", run, "--json", scores, "--instances", rows)
    assert done.status == 0, done.err
    return json.loads(scores.read_text()), rows.read_text()


def parts(made: Path) -> list[Path]:
    return [made / f"part{part[0]}" for part in PARTS]


def images_of(run: Path) -> tuple[str, ...]:
    """The image set of a run's first answer."""
    stored = Run(run)
    annotations = read_annotations(Path(stored.settings.annotations.path))
    return annotations.by_id[next(iter(stored.lines))[0]].images


def stored_lines(run: Path) -> list[str]:
    return (run / "answers.jsonl").read_text().splitlines()


# --- The split -----------------------------------------------------------------------------------


def on_sets(sets: str | list[int]) -> list[Question]:
    """One question for every element, on the image set of that name."""
    return questions(*(instance(place, str(name)) for place, name in enumerate(sets)))


def split(asked: list[Question], of: int) -> list[list[Question]]:
    return [share_of(Shard(number=number + 1, of=of), asked) for number in range(of)]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 6))
def test_every_question_and_every_image_set_is_in_exactly_one_shard(
    sets: list[int], of: int
) -> None:
    assume(of <= len(set(sets)))
    asked = on_sets(sets)
    shards = split(asked, of)
    assert sorted(q.id for shard in shards for q in shard) == sorted(q.id for q in asked)
    homes = Counter(images for shard in shards for images in {q.images for q in shard})
    assert set(homes.values()) == {1}


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 6))
def test_shards_differ_by_the_largest_image_set_at_most(sets: list[int], of: int) -> None:
    assume(of <= len(set(sets)))
    sizes = [len(shard) for shard in split(on_sets(sets), of)]
    assert min(sizes) > 0
    assert max(sizes) - min(sizes) <= max(Counter(sets).values())


def test_the_split_is_the_same_everywhere() -> None:
    shards = split(on_sets("bacaadccfe"), 3)
    assert ["".join(q.images[0][0] for q in shard) for shard in shards] == ["aaae", "ccc", "bdf"]


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "-1/3", "1/0", "1/3/5", "a/b", "1.0/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="give it as i/n"):
        read_shard(text)


def test_more_shards_than_image_sets_are_refused() -> None:
    with pytest.raises(UsageError, match="only 2 image sets"):
        share_of(Shard(number=1, of=3), on_sets("aabb"))


# --- Running a shard -----------------------------------------------------------------------------


def test_a_shard_is_scored_on_its_own_instances(made: Path, tmp_path: Path) -> None:
    whole, rows = scored(made / "whole", tmp_path)
    shards = [scored(part, tmp_path) for part in parts(made)]
    heads, *_ = rows.splitlines()
    assert all(shard_rows.splitlines()[0] == heads for _, shard_rows in shards)
    together = [row for _, shard_rows in shards for row in shard_rows.splitlines()[1:]]
    assert sorted(together) == sorted(rows.splitlines()[1:])
    for key, task in whole["tasks"].items():
        assert sum(s["tasks"][key]["n"] for s, _ in shards if key in s["tasks"]) == task["n"]
    assert migbench("table", *parts(made)).status == 0


def test_a_dry_run_tells_the_shards_share(mini: Path) -> None:
    totals = [0, 0]
    for part in PARTS:
        done = migbench("run", "--model", "migician", "--data", mini, "--dry-run", "--shard", part)
        assert f"shard {part};" in done.out
        row = next(line.split() for line in done.out.splitlines() if line.startswith("all "))
        totals = [total + int(more) for total, more in zip(totals, row[1:3], strict=True)]
    assert totals == [40, 40]


def test_a_dry_run_is_shown_where_a_task_is_in_other_shards(mini: Path) -> None:
    done = migbench(
        *("run", "--model", "migician", "--data", mini, "--dry-run"),
        *("--tasks", "OT,region", "--limit", "1", "--shard", "2/2"),
    )
    assert done.status == 0, done.err
    *_, heading, prompt = done.out.splitlines()
    assert heading.endswith("the first question of each task:")
    assert prompt.startswith(("object_tracking: ", "region: "))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--shard", "2/3"), "shard.number: was 1, is now 2"),
        (("--shard", "1/2"), "shard.of: was 3, is now 2"),
    ],
)
def test_a_shards_folder_takes_no_other_shard(
    ask: Ask, made: Path, options: tuple[str, ...], complaint: str
) -> None:
    done = ask(made / "part1", *options)
    assert done.status == 2
    assert complaint in done.err


def test_a_shard_grows_into_the_whole_run(ask: Ask, made: Path, tmp_path: Path) -> None:
    grown = shutil.copytree(made / "part1", tmp_path / "grown")
    part = len(Run(grown).lines)
    assert ask(grown).status == 0
    assert len(Run(grown).lines) > part
    assert migbench("verify", grown).status == 0


# --- Merging -------------------------------------------------------------------------------------


def test_merged_shards_are_the_unsharded_run(ask: Ask, made: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    done = migbench("merge", *parts(made), "--out", merged)
    assert done.status == 0, done.err
    assert f"migbench score {merged}" in done.out
    assert scored(merged, tmp_path) == scored(made / "whole", tmp_path)

    manifest, whole = Run(merged).manifest, Run(made / "whole").manifest
    assert manifest.settings == whole.settings
    for count in ("status", "questions", "answered", "failed", "images"):
        assert getattr(manifest, count) == getattr(whole, count)
    shards = [Run(part).manifest for part in parts(made)]
    assert manifest.wall_seconds == pytest.approx(sum(shard.wall_seconds or 0 for shard in shards))
    assert manifest.created == min(shard.created for shard in shards)

    assert "(0 requests made now)" in ask(merged).out


def test_the_order_of_the_shards_is_free(made: Path, tmp_path: Path) -> None:
    assert migbench("merge", *reversed(parts(made)), "--out", tmp_path / "merged").status == 0
    assert scored(tmp_path / "merged", tmp_path) == scored(made / "whole", tmp_path)


@pytest.mark.parametrize("form", [(), ("--evaluator", "all-at-once"), ("--strategy", "mcot")])
def test_other_forms_and_a_limit_merge_as_well(
    mini: Path, tmp_path: Path, form: tuple[str, ...]
) -> None:
    for name, options in {"whole": (), **{part[0]: ("--shard", part) for part in PARTS}}.items():
        done = migbench(
            *("run", "--model", "whole-image", "--data", mini, "--out", tmp_path / name),
            *("--limit", "3", *form, *options),
        )
        assert done.status == 0, done.err
    merged = tmp_path / "merged"
    done = migbench("merge", *(tmp_path / part[0] for part in PARTS), "--out", merged)
    assert done.status == 0, done.err
    assert scored(merged, tmp_path) == scored(tmp_path / "whole", tmp_path)


def test_failures_are_kept_and_asked_again_after_merging(
    ask: Ask, model: Path, made: Path, tmp_path: Path
) -> None:
    down = model.with_name("down")
    folders = [made / "part1", tmp_path / "part2", made / "part3"]
    down.write_text(images_of(made / "part2")[0])
    try:
        assert ask(tmp_path / "part2", "--shard", "2/3").status == 1
    finally:
        down.unlink()
    done = migbench("merge", *folders, "--out", tmp_path / "merged")
    assert done.status == 1
    assert f"unfinished are {tmp_path / 'part2'} (" in done.err
    assert "without --shard" in done.err
    merged = Run(tmp_path / "merged")
    assert merged.manifest.status == "incomplete"
    assert merged.manifest.failed == Run(tmp_path / "part2").manifest.failed > 0
    kept = [read_lines(folder / ANSWERS) for folder in folders]
    assert list(read_lines(merged.folder / ANSWERS)) == list(itertools.chain(*kept))
    again = ask(tmp_path / "merged")
    assert again.status == 0, again.err
    assert f"({merged.manifest.failed} requests made now)" in again.out
    assert scored(tmp_path / "merged", tmp_path) == scored(made / "whole", tmp_path)


def test_a_killed_shard_merges_as_far_as_it_came(ask: Ask, made: Path, tmp_path: Path) -> None:
    killed = shutil.copytree(made / "part3", tmp_path / "part3")
    manifest = json.loads((killed / "run.json").read_text())
    manifest |= {"status": "running", "answered": 0, "wall_seconds": None}
    manifest["seal"] = {
        "lines": 0,
        "link": "",
        "manifest": hash_chain.manifest_digest(json.dumps(manifest).encode()),
    }
    (killed / "run.json").write_text(json.dumps(manifest))
    *kept, last = stored_lines(killed)
    (killed / "answers.jsonl").write_text("\n".join([*kept, last[:20]]))
    done = migbench("merge", *parts(made)[:2], killed, "--out", tmp_path / "merged")
    assert done.status == 1
    merged = Run(tmp_path / "merged").manifest
    assert (merged.status, merged.answered, merged.wall_seconds) == ("incomplete", 39, None)
    assert "(1 requests made now)" in ask(tmp_path / "merged").out
    assert scored(tmp_path / "merged", tmp_path) == scored(made / "whole", tmp_path)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["part1", "part2", "part3", "part2"], "part2: is shard 2/3, and so is "),
        (["part1", "part1"], "part1: is shard 1/3, and so is "),
        (["part2"], "not all shards of the run are here: 1/3, 3/3 missing"),
        (["part1", "half"], "shard.of: 3 there, 2 here"),
        (["part1", "paper", "part3"], "prompts: 'released' there, 'paper' here"),
        (["part1", "whole"], "whole: is not a shard; it was run without --shard"),
        (["whole"], "whole: is not a shard"),
        (["part1", "."], "is not a run"),
        ([], "Missing argument"),
    ],
)
def test_what_is_not_all_shards_of_one_run_is_refused(
    made: Path, tmp_path: Path, names: list[str], complaint: str
) -> None:
    done = migbench("merge", *(made / name for name in names), "--out", tmp_path / "merged")
    assert done.status == 2
    assert complaint in done.err
    assert not (tmp_path / "merged").exists()


def test_shards_of_different_checkpoints_are_refused(made: Path, tmp_path: Path) -> None:
    copies = [shutil.copytree(part, tmp_path / part.name) for part in parts(made)]
    for number, copy in enumerate(copies):
        found = {"checkpoint": f"files {min(number, 1)}"}
        edit_manifest(copy, lambda content, found=found: content["environment"].update(found))
    done = migbench("merge", *copies, "--out", tmp_path / "merged")
    assert done.status == 2
    assert f"different checkpoints: {copies[0]} (files 0), " in done.err
    assert not (tmp_path / "merged").exists()


def test_a_shard_that_is_under_way_is_refused(made: Path, tmp_path: Path) -> None:
    with lock_run(made / "part2"):
        done = migbench("merge", *parts(made), "--out", tmp_path / "merged")
    assert done.status == 2
    assert f"{made / 'part2'}: another process is working on this run" in done.err
    assert not (tmp_path / "merged").exists()


def test_a_folder_that_holds_something_is_left_alone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    done = migbench("merge", *parts(made), "--out", tmp_path)
    assert done.status == 2
    assert f"{tmp_path}: is not empty; choose another --out" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
