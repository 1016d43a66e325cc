"""Answers that exist already: files of the released evaluator, or lines of JSON, become a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from migbench.data.annotations import Annotations, Instance
from migbench.errors import DataError, shortened
from migbench.messages import Answer
from migbench.models.resolving import Model
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.environment import new_manifest
from migbench.runs.opening import new_run, refuse_filled
from migbench.runs.plan import source_of
from migbench.runs.selection import questions_of
from migbench.runs.settings import Settings
from migbench.tasks import load_tasks, task_hashes
from migbench.util.input_files import read_bytes
from migbench.util.json_files import INVALID, decode_answers, read_json, trouble


@dataclass(frozen=True, slots=True)
class Imported:
    """One answer and the instance it is for, or the first of them.

    ``question`` is the id of the question answered, where it is not the instance's own.
    """

    instance: Instance
    answer: Answer | None
    error: str | None = None
    prompt: str = ""
    question: str | None = None


class ReleasedRow(msgspec.Struct, frozen=True):
    """One answer as the released evaluator writes it."""

    task: str
    question: str
    answer: str
    groundtruth: list[float]


def read_released(folder: Path, annotations: Annotations) -> Iterator[Imported]:
    """The answers in a folder of the released evaluator's files, one a task.

    Each is a list of answers in the annotation file's order, then the totals. Question and ground
    truth of every answer are checked against the annotations. Raises `DataError` naming file and
    place.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise DataError(f"{folder}: holds no .json files of the released evaluator")
    seen: dict[str, Path] = {}
    for path in paths:
        rows = _released_rows(path)
        task = rows[0].task
        if task in seen:
            raise DataError(f"{path}: holds {task}, and so does {seen[task].name}")
        seen[task] = path
        instances = [each for each in annotations.instances if each.task == task]
        if len(rows) != len(instances):
            raise DataError(
                f"{path}: {len(rows)} answers, but {annotations.path.name} has {len(instances)} "
                f"instances of {task}; is it the annotation file that was answered?"
            )
        for place, (row, instance) in enumerate(zip(rows, instances, strict=True)):
            _check_row(row, instance, annotations.scale, f"{path}: answer {place}")
            yield Imported(instance, Answer(row.answer), prompt=row.question)


def _released_rows(path: Path) -> list[ReleasedRow]:
    try:
        *rows, _totals = read_json(
            path, list[Any], "a file of the released evaluator", holds_answers=True
        )
        decoded = msgspec.convert(rows, list[ReleasedRow])
    except (ValueError, msgspec.ValidationError) as error:
        raise DataError(f"{path}: not a file of the released evaluator ({error})") from error
    if not decoded or len({row.task for row in decoded}) != 1:
        raise DataError(f"{path}: answers to one task are expected")
    return decoded


def _check_row(row: ReleasedRow, instance: Instance, scale: float, where: str) -> None:
    truth = [edge / scale for edge in row.groundtruth]
    same_box = len(truth) == 4 and all(
        math.isclose(*edges, abs_tol=1e-6) for edges in zip(truth, instance.box, strict=True)
    )
    if not same_box or not row.question.startswith(instance.question.strip()):
        raise DataError(
            f"{where}: its question or ground truth is not that of {instance.id} "
            f"(record {instance.index}); is it the annotation file that was answered?"
        )


class JsonLine(msgspec.Struct, frozen=True):
    """One line of a JSON-lines import: an instance, by id or place in the annotation file."""

    id: str | None = None
    index: int | None = None
    response: str | None = None
    truncated: bool = False
    refused: bool = False
    error: str | None = None


def read_jsonl(path: Path, annotations: Annotations) -> Iterator[Imported]:
    """The answers in a file of lines with ``id`` or ``index``, and ``response``.

    A line may say ``"truncated": true`` (the token limit was reached), ``"refused": true`` (by a
    content filter), or ``"error": "..."`` instead of a response. Raises `DataError` naming file and
    line.
    """
    by_index = {instance.index: instance for instance in annotations.instances}
    seen: dict[str, int] = {}
    for number, content in enumerate(read_bytes(path).splitlines(), start=1):
        if not content.strip():
            continue
        where = f"{path}:{number}"
        try:
            line = decode_answers(content, JsonLine)
        except INVALID as error:
            raise DataError(
                f"{where}: {trouble(error, content)}; correct this line, or delete it"
            ) from error
        instance = annotations.by_id.get(line.id) if line.id else by_index.get(line.index or 0)
        if instance is None or (line.id is None and line.index is None):
            raise DataError(
                f"{where}: no instance with id {shortened(line.id)}, index {line.index}"
            )
        if line.index is not None and line.index != instance.index:
            raise DataError(f"{where}: {instance.id} has index {instance.index}, not {line.index}")
        if instance.id in seen:
            raise DataError(
                f"{where}: {instance.id} was answered on line {seen[instance.id]} already"
            )
        if (line.response is None) == (line.error is None):
            raise DataError(f"{where}: give either 'response' or 'error'")
        seen[instance.id] = number
        answer = None
        if line.response is not None or line.refused:
            answer = Answer(line.response or "", truncated=line.truncated, refused=line.refused)
        yield Imported(instance, answer, line.error)


def store_import(
    answers: Iterable[Imported],
    model: Model,
    annotations: Annotations,
    out: Path,
    origin: str,
    evaluator: str = "polling",
    *,
    without_lock: bool = False,
) -> int:
    """Write imported answers as a run of direct inference; their number.

    The run covers the tasks that the answers cover. Raises `UsageError` where ``out`` holds
    something: answers of two sources are two runs.
    """
    refuse_filled(out)
    annotations.require_usable()
    found = list(answers)
    if not found:
        raise DataError(f"{origin}: holds no answers")
    hashes = task_hashes()
    present = {each.instance.task for each in found}
    settings = Settings(
        model=model,
        evaluator=evaluator,
        annotations=source_of(annotations),
        tasks={spec.key: hashes[spec.key] for spec in load_tasks() if spec.key in present},
    )
    questions = sum(1 for _ in questions_of(settings, annotations))
    manifest = new_manifest(settings, questions, origin=origin)
    with new_run(out, manifest, without_lock=without_lock) as store:
        for each in found:
            store.append(
                AnswerLine(
                    question=each.question or each.instance.id,
                    prompt=each.prompt,
                    answer=each.answer,
                    error=each.error,
                )
            )
        answered = sum(each.error is None for each in found)
        store.finish("complete" if answered == questions else "incomplete")
    return len(found)
