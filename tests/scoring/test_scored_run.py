"""Scoring a stored run: its answers in whatever order, of every form, as the folder holds them."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.answer_lines import answer_line
from support.data_files import write_annotations

from migbench.asking.evaluators import EVALUATORS
from migbench.asking.questions import Question
from migbench.asking.strategies import STRATEGIES
from migbench.data.annotations import Annotations, read_annotations
from migbench.errors import DataError
from migbench.mini import render
from migbench.models.resolving import resolve_model
from migbench.reporting.instance_table import write_instances
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.environment import new_manifest
from migbench.runs.opening import open_run
from migbench.runs.plan import DEFAULT_PROMPTS, source_of, strategy_of
from migbench.runs.selection import questions_of
from migbench.runs.settings import Settings
from migbench.runs.sharding import Shard
from migbench.runs.store import Run
from migbench.scoring.difficulty import LITERAL, DifficultySplit, Level, count_levels
from migbench.scoring.scored_run import score_run
from migbench.scoring.usage import measured_usage
from migbench.tasks import load_tasks, task_hashes

ORDER = [spec.key for spec in load_tasks()]


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
                answer_line(
                    question.id,
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


def stored(folder: Path, annotations: Annotations, seed: int, **changes: Any) -> Run:
    """A run whose questions were answered in an order of their own."""
    settings = Settings(
        model=resolve_model("qwen2-vl-7b"),
        annotations=source_of(annotations),
        tasks={key: value for key, value in task_hashes().items() if annotations.counts[key]},
    )
    settings = msgspec.structs.replace(settings, **changes)
    lines = lines_for(settings, annotations)
    # Question by question, or a failure might come to stand before its answer.
    groups = [list(group) for _, group in itertools.groupby(lines, lambda line: line.question)]
    random.Random(seed).shuffle(groups)
    with open_run(folder, new_manifest(settings, len(groups))) as store:
        for line in itertools.chain.from_iterable(groups):
            store.append(line)
    return Run(folder)


TWO_TASKS = {key: value for key, value in task_hashes().items() if key in ("region", "diff")}
PARTS: dict[str, dict[str, Any]] = {
    f"{evaluator} {strategy}": {
        "evaluator": evaluator,
        "strategy": strategy,
        "prompts": DEFAULT_PROMPTS[strategy].value,
    }
    for evaluator, strategy in itertools.product(EVALUATORS, STRATEGIES)
} | {
    "two tasks": {"evaluator": "all-at-once", "tasks": TWO_TASKS},
    "limit": {"limit": 3},
    "shard": {"evaluator": "all-at-once", "shard": Shard(number=2, of=3)},
}
"""Runs of every form, and of parts of the questions."""


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


@pytest.mark.parametrize("part", PARTS)
def test_the_order_of_answers_makes_no_difference(
    part: str, annotations: Annotations, tmp_path: Path
) -> None:
    split = split_of(annotations)
    one, other = (
        score_run(stored(tmp_path / str(seed), annotations, seed, **PARTS[part]), difficulty=split)
        for seed in (1, 2)
    )
    assert one.scores == other.scores
    assert one.samples == other.samples
    assert measured_usage(one) == measured_usage(other)


@pytest.mark.parametrize("part", PARTS)
def test_every_target_that_was_asked_for_is_scored_once_and_in_the_files_order(
    part: str, annotations: Annotations, tmp_path: Path
) -> None:
    run = stored(tmp_path / "run", annotations, 1, **PARTS[part])
    asked = {
        each.index
        for question in questions_of(run.settings, annotations)
        for each in question.targets
    }
    scored = score_run(run)
    assert [each.instance.index for each in scored.samples] == sorted(asked)
    assert scored.scores.macro.n == len(asked)


# --- Files that change or break -------------------------------------------------------------------


@pytest.fixture
def run(annotations: Annotations, tmp_path: Path) -> Run:
    return stored(tmp_path / "run", annotations, 1)


def test_a_torn_last_line_is_no_answer(run: Run) -> None:
    whole = score_run(run).scores
    with (run.folder / "answers.jsonl").open("ab") as file:
        file.write(b'{"question":"' + next(iter(run.lines))[0].encode() + b'","text":"(1,')
    assert score_run(Run(run.folder)).scores == whole


def test_a_line_that_is_not_utf_8_is_named(run: Run) -> None:
    answers = run.folder / "answers.jsonl"
    first, rest = answers.read_bytes().split(b"\n", 1)
    answers.write_bytes(first + b'\n{"question":"a","text":"\xff"}\n' + rest)
    with pytest.raises(DataError, match=r"answers\.jsonl:2: .*utf-8"):
        Run(run.folder)


def test_what_was_read_stays_what_it_was_while_files_change(run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved.json"
    moved.write_bytes(Path(run.settings.annotations.path).read_bytes())
    before = score_run(run, annotations=moved)
    (run.folder / "answers.jsonl").write_bytes(b"")
    assert score_run(run, annotations=moved).scores == before.scores
    moved.unlink()
    assert measured_usage(before).requests > 0
    write_instances(tmp_path / "targets.csv", before)
    with pytest.raises(DataError, match=r"moved\.json: the run's annotation file is gone"):
        score_run(run, annotations=moved)
