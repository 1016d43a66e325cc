"""Scoring a chunk at a time: the same results as all at once, and little in memory."""

from __future__ import annotations

import gc
import itertools
import json
import random
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data_files import record, write_annotations
from support.examples import examples

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Question
from migbench.asking.strategies import STRATEGIES
from migbench.data import chunks
from migbench.data.annotations import Annotations, Instance, read_annotations
from migbench.errors import DataError
from migbench.mini import render
from migbench.models.resolving import resolve_model
from migbench.reporting.instance_table import write_instances
from migbench.runs.environment import new_manifest
from migbench.runs.plan import DEFAULT_PROMPTS, source_of, strategy_of
from migbench.runs.selection import questions_of
from migbench.runs.settings import Settings
from migbench.runs.sharding import Shard
from migbench.runs.store import AnswerLine, Run, open_run
from migbench.scoring import Side, compare, judge, summarise_levels, summarise_tasks
from migbench.scoring.costs import paid_costs
from migbench.scoring.difficulty import LITERAL, DifficultySplit, Level, count_levels
from migbench.scoring.scored_run import ScoredRun, make_judge, score_run
from migbench.tasks import load_tasks, task_hashes

ORDER = [spec.key for spec in load_tasks()]
FORMS = list(itertools.product(EVALUATORS, STRATEGIES))


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    """A MIG-Mini in disorder, so that image sets are torn apart, with some records twice."""
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=5)
    records = json.loads((folder / "MIG_mini.json").read_text())
    draws = random.Random(0)
    records += draws.sample(records, 6)
    draws.shuffle(records)
    return read_annotations(write_annotations(folder / "mixed.json", *records))


def made_up(question: Question, draws: random.Random) -> str:
    """Boxes near the truths, or something else."""
    if draws.random() < 0.2:
        return draws.choice(["I cannot find it.", "On the left.", ""])
    boxes = [
        "Image-{}: ({},{}),({},{})".format(
            each.target_image + 1,
            *(round(1000 * edge) + draws.randint(-90, 90) for edge in each.box),
        )
        for each in question.targets
    ]
    return "; ".join(boxes).replace("-", draws.choice(["-", ""]))


def lines_for(settings: Settings, annotations: Annotations) -> list[AnswerLine]:
    """What a run under these settings may have stored, with failures before and after answers."""
    draws = random.Random(1)
    lines: list[AnswerLine] = []
    for question in questions_of(settings, annotations):
        if draws.random() < 0.05:
            continue
        turns = strategy_of(settings)(question)
        next(turns)
        for number in itertools.count():
            text = made_up(question, draws)
            texts = draws.choice([[text], [text], [None, text], [text, None], ["earlier", text]])
            if draws.random() < 0.05:
                texts = [None]
            lines += [
                AnswerLine(
                    question=question.id,
                    turn=number,
                    text=each,
                    error="down" if each is None else None,
                    reused=draws.random() < 0.1,
                    prompt_tokens=draws.randrange(100),
                    completion_tokens=None if number else draws.randrange(100),
                )
                for each in texts
            ]
            if not any(texts):
                break
            try:
                turns.send(text)
            except StopIteration:
                break
    return lines


def stored(folder: Path, annotations: Annotations, **changes: Any) -> Run:
    """A run whose lines stand in another order than its questions."""
    settings = Settings(
        model=resolve_model("qwen2-vl-7b"),
        annotations=source_of(annotations),
        tasks={key: value for key, value in task_hashes().items() if annotations.counts[key]},
    )
    settings = msgspec.structs.replace(settings, **changes)
    lines = lines_for(settings, annotations)
    # Question by question, or a failure might come to stand before its answer.
    groups = [list(group) for _, group in itertools.groupby(lines, lambda line: line.question)]
    random.Random(2).shuffle(groups)
    with open_run(folder, new_manifest(settings, len(groups))) as store:
        for line in itertools.chain.from_iterable(groups):
            store.append(line)
    return Run(folder)


@pytest.fixture(scope="module")
def runs(annotations: Annotations, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of every form, and of parts of the questions."""
    folder = tmp_path_factory.mktemp("runs")
    parts: dict[str, dict[str, Any]] = {
        f"{evaluator} {strategy}": {
            "evaluator": evaluator,
            "strategy": strategy,
            "prompts": DEFAULT_PROMPTS[strategy].value,
        }
        for evaluator, strategy in FORMS
    }
    two = {key: value for key, value in task_hashes().items() if key in ("region", "diff")}
    parts |= {
        "two tasks": {"evaluator": "all-at-once", "tasks": two},
        "limit": {"limit": 3},
        "shard": {"evaluator": "all-at-once", "shard": Shard(number=2, of=3)},
    }
    return {name: stored(folder / name, annotations, **part) for name, part in parts.items()}


def split_of(annotations: Annotations) -> DifficultySplit:
    levels = {each.id: [*Level][each.index % 3] for each in annotations.instances}
    return DifficultySplit(
        version=annotations.version,
        content_sha256=annotations.content_sha256,
        rule=LITERAL,
        runs=(),
        counts=count_levels(levels.values()),
        levels=levels,
    )


def counted(figures: Mapping[Any, Any]) -> dict[Any, Any]:
    """The figures as they are counted, before intervals are added."""
    return {
        key: msgspec.structs.replace(each, clusters=None, intervals=None)
        for key, each in figures.items()
    }


@examples(0.4)
@given(data=st.data(), size=st.integers(1, 70), bits=st.sampled_from([64, 64, 2, 0]))
def test_the_size_of_chunks_makes_no_difference(
    annotations: Annotations, runs: dict[str, Run], data: st.DataObject, size: int, bits: int
) -> None:
    """However bad the hashes by which answers and siblings are found."""
    run = runs[data.draw(st.sampled_from([*runs]))]
    split = split_of(annotations)
    whole = judge(
        make_judge(run.settings, "standard", None, None),
        questions_of(run.settings, annotations),
        run.lines,
    )
    at_once = score_run(run, difficulty=split)
    paid = paid_costs(at_once)
    with (
        mock.patch.object(chunks, "CHUNK", size),
        mock.patch(
            "migbench.data.hash_index.hash", lambda key: hash(key) % 2**63 % 2**bits, create=True
        ),
    ):
        scored = score_run(Run(run.folder), difficulty=split)
        assert list(scored.judgements) == whole
        assert len(scored.judgements) == len(whole)
        assert scored.judgements[len(whole) // 2] == whole[len(whole) // 2]
        assert scored.scores == at_once.scores
        assert counted(scored.scores.tasks) == summarise_tasks(whole, ORDER)
        assert scored.scores.difficulty is not None
        assert counted(scored.scores.difficulty.levels) == summarise_levels(whole, split).levels
        assert paid_costs(scored) == paid


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_table_of_targets_is_the_same(
    runs: dict[str, Run], tmp_path: Path, ending: str
) -> None:
    import pandas

    read = {"csv": pandas.read_csv, "parquet": pandas.read_parquet}[ending]
    run = runs["all-at-once cot"]
    write_instances(tmp_path / f"whole.{ending}", score_run(run))
    with mock.patch.object(chunks, "CHUNK", 7):
        write_instances(tmp_path / f"chunks.{ending}", score_run(run))
    pandas.testing.assert_frame_equal(
        read(tmp_path / f"chunks.{ending}"), read(tmp_path / f"whole.{ending}")
    )


def test_comparing_in_chunks_is_comparing(runs: dict[str, Run]) -> None:
    def compared() -> object:
        scored = [score_run(runs[name]) for name in ("polling direct", "limit", "two tasks")]
        sides = [
            Side(str(one), run.scores, run.judgements, run.annotations.cluster_of)
            for one, run in enumerate(scored)
        ]
        return [compare(one, other) for one, other in itertools.permutations(sides, 2)]

    whole = compared()
    with mock.patch.object(chunks, "CHUNK", 7):
        assert compared() == whole


# --- What is in memory ----------------------------------------------------------------------------

MANY = 3000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 3,000 questions, each with an answer."""
    folder = tmp_path_factory.mktemp("many")
    records = (record(images=[f"{number}a.png", f"{number}b.png"]) for number in range(MANY))
    annotations = read_annotations(write_annotations(folder / "a.json", *records))
    return stored(folder / "run", annotations)


class Counted:
    """How many of the things that were made are still there, at most."""

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0

    def add(self, one: object) -> None:
        self.alive.add(one)
        self.most = max(self.most, len(self.alive))


def test_no_more_than_some_chunks_are_alive(
    many: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, lines = Counted(), Counted()

    class CountedInstance(Instance):
        __slots__ = ("__weakref__",)
        __hash__ = object.__hash__

        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            instances.add(self)

    class CountedLine(AnswerLine, frozen=True, weakref=True, eq=False):
        def __post_init__(self) -> None:
            lines.add(self)

    monkeypatch.setattr("migbench.data.instances.Instance", CountedInstance)
    monkeypatch.setattr("migbench.runs.store.AnswerLine", CountedLine)
    monkeypatch.setattr(chunks, "CHUNK", 100)
    gc.collect()
    scored = score_run(Run(many.folder))
    assert scored.scores.macro.n == MANY
    paid_costs(scored)
    write_instances(tmp_path / "rows.parquet", scored)
    write_instances(tmp_path / "rows.csv", scored)
    # Those that were made last, those that are made from them, and those being written.
    assert 100 <= instances.most <= 400
    assert 100 <= lines.most <= 400


# --- Files that change or break -------------------------------------------------------------------


def scored_in_chunks(run: Run, **options: Any) -> ScoredRun:
    with mock.patch.object(chunks, "CHUNK", 100):
        return score_run(run, **options)


def copied(many: Run, folder: Path) -> Run:
    """The same run in a folder that may be spoilt."""
    for name in ("run.json", "answers.jsonl"):
        (folder / name).write_bytes((many.folder / name).read_bytes())
    return Run(folder)


def test_a_torn_last_line_is_no_answer(many: Run, tmp_path: Path) -> None:
    whole = scored_in_chunks(many).scores
    torn = copied(many, tmp_path)
    with (tmp_path / "answers.jsonl").open("ab") as file:
        file.write(b'{"question":"' + next(iter(many.lines))[0].encode() + b'","text":"(1,')
    assert scored_in_chunks(torn).scores == scored_in_chunks(Run(tmp_path)).scores == whole


def test_a_line_that_is_not_utf_8_is_named(many: Run, tmp_path: Path) -> None:
    copied(many, tmp_path)
    answers = tmp_path / "answers.jsonl"
    first, rest = answers.read_bytes().split(b"\n", 1)
    answers.write_bytes(first + b'\n{"question":"a","text":"\xff"}\n' + rest)
    with pytest.raises(DataError, match=r"answers\.jsonl:2: .*utf-8"):
        Run(tmp_path)


def test_answers_that_change_under_way_are_refused(many: Run, tmp_path: Path) -> None:
    run = copied(many, tmp_path)
    (tmp_path / "answers.jsonl").write_bytes(b" " + (many.folder / "answers.jsonl").read_bytes())
    with pytest.raises(DataError, match=r"answers\.jsonl: was changed while it was read"):
        scored_in_chunks(run)


@pytest.fixture
def moved(many: Run, tmp_path: Path) -> Path:
    """The run's annotations in a file that may be spoilt."""
    path = tmp_path / "moved.json"
    path.write_bytes(Path(many.settings.annotations.path).read_bytes())
    return path


def test_annotations_that_change_under_way_are_refused(many: Run, moved: Path) -> None:
    scored = scored_in_chunks(many, annotations=moved)
    moved.write_bytes(moved.read_bytes().replace(b"0.1", b"0.3"))
    with pytest.raises(DataError, match=r"moved\.json: was changed while it was in use"):
        list(scored.judgements)


def test_annotations_that_vanish_under_way_are_named(many: Run, moved: Path) -> None:
    scored = scored_in_chunks(many, annotations=moved)
    moved.unlink()
    with pytest.raises(DataError, match=r"moved\.json: cannot be read"):
        list(scored.judgements)
