"""The functions that the task files name for lmms-eval. Asking and scoring are migbench's own.

A document is one question: its parts as the declared dialect asks them, images by path, and a
reference by which the answer finds back to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from math import nan
from pathlib import Path
from typing import Any

import msgspec

from migbench.asking.questions import Question, Strategy, by_image_set
from migbench.asking.strategies import find_strategy
from migbench.data.images import DataLocation
from migbench.dialects import PromptSet, ask
from migbench.errors import DataError, UsageError
from migbench.integrations.lmms_eval.declared import DATA, Declared, declared_data, declared_dialect
from migbench.integrations.lmms_eval.failures import failure, refused_by_filter
from migbench.integrations.lmms_eval.questions import Reference, questions_by_id, read_once
from migbench.messages import Answer, ImageFile
from migbench.runs.answer_lines import AnswerLine
from migbench.scoring import DEFAULT_PROTOCOL, PROTOCOLS, Outcome, SampleScore, Scorer
from migbench.scoring.scorer import HIT_AT

PROMPTS = PromptSet.RELEASED
Document = Mapping[str, Any]
Options = Mapping[str, Any]
FindImage = Callable[[str], ImageFile]


def dataset_kwargs() -> dict[str, Any]:
    """What loads the annotation file. Raises `UsageError` where something is not declared."""
    declared_dialect()
    return {"data_files": {"test": str(declared_data().annotations.resolve())}}


def polling(records: Any) -> Any:
    """One document for every instance of the task that the data set is named after."""
    return _documents(records, "polling")


def all_at_once(records: Any) -> Any:
    """One document for all targets of an image set."""
    return _documents(records, "all-at-once")


def _documents(records: Any, evaluator: str) -> Any:
    """The documents, as a data set of the same class as the ``records`` of the annotation file."""
    data, declared = declared_data(), declared_dialect()
    annotations = read_once(data.annotations)
    if list(records["question"]) != [each.question for each in annotations.instances]:
        raise UsageError(
            f"dataset_kwargs: names another annotation file than {DATA} ({data.annotations}); "
            f"lmms-eval does not tell which file it read, so set {DATA}"
        )
    task = records.info.config_name
    asked = questions_by_id(data.annotations, evaluator).values()
    questions = by_image_set(each for each in asked if each.task == task)
    if not questions:
        raise DataError(f"{data.annotations}: has no instances of {task}")
    image = cache(data.image)
    _refuse_missing_images(questions, image, data, declared)
    return type(records).from_list(
        [
            _document(question, evaluator, image, declared, annotations.content_sha256)
            for question in questions
        ]
    )


def _refuse_missing_images(
    questions: Iterable[Question], image: FindImage, data: DataLocation, declared: Declared
) -> None:
    """Better now than in the middle; a folder without any image still serves to replay answers."""
    names = list(dict.fromkeys(name for each in questions for name in each.images))
    missing = [name for name in names if not image(name).is_there]
    in_pixels = declared.dialect.needs_size
    if missing and (in_pixels or len(missing) < len(names)):
        why = f"; dialect {declared.dialect.name} counts in their pixels" if in_pixels else ""
        raise DataError(
            f"{data.annotations.parent}: {len(missing)} of {len(names)} images are missing, such "
            f"as {missing[0]}{why}; `migbench data check` lists them, {DATA} names the folder"
        )


def _document(
    question: Question, evaluator: str, image: FindImage, declared: Declared, content: str
) -> dict[str, Any]:
    turn = next(_strategy(declared)(question))
    images = [image(name) for name in question.images]
    request = ask(declared.dialect, turn, images, prompts=PROMPTS)
    reference = Reference(
        question=question.id,
        evaluator=evaluator,
        dialect=declared.dialect.name,
        content_sha256=content,
    )
    return {
        "reference": msgspec.json.encode(reference).decode(),
        "parts": [
            {"text": part, "image": None}
            if isinstance(part, str)
            else {"text": None, "image": str(part.path)}
            for part in request.parts
        ],
    }


def _strategy(declared: Declared) -> Callable[[Question], Strategy]:
    return find_strategy("direct", PROMPTS.value, declared.dialect.name)


def doc_to_messages(
    document: Document, lmms_eval_specific_kwargs: Options | None = None
) -> list[dict[str, Any]]:
    """The chat: images by path, in their order and before the question, so that caches work.

    Those that a model's own decoder would show otherwise are given decoded.
    """
    decoded = (lmms_eval_specific_kwargs or {}).get("decoded", False)
    content: list[dict[str, Any]] = [
        {"type": "text", "text": part["text"]}
        if part["image"] is None
        else {"type": "image", "url": _shown(part["image"], decoded)}
        for part in document["parts"]
    ]
    return [{"role": "user", "content": content}]


def doc_to_visual(document: Document) -> list[Any]:
    """The decoded images, in their order, for lmms-eval's simple models."""
    return [_open(part["image"]) for part in document["parts"] if part["image"] is not None]


def doc_to_text(document: Document, lmms_eval_specific_kwargs: Options | None = None) -> str:
    """The text without its images, for lmms-eval's simple models, which put these first."""
    return "".join(part["text"] for part in document["parts"] if part["text"] is not None)


def _shown(path: str, decoded: bool) -> Any:
    image = ImageFile(path, Path(path))
    if decoded:
        return image.open()
    # Where answers are replayed there need be no images.
    return image.open() if image.is_there and image.difference() is not None else path


def _open(path: str) -> Any:
    return ImageFile(path, Path(path)).open()


def process_results(document: Document, results: Sequence[str]) -> dict[str, Any]:
    """What one answer is worth by every metric of the task files, for each of its targets.

    A failure that lmms-eval put in an answer's place has no score, and with it the task has none.
    """
    data, declared = declared_data(), declared_dialect()
    reference = msgspec.json.decode(document["reference"], type=Reference)
    question = questions_by_id(data.annotations, reference.evaluator)[reference.question]
    text, error = results[0], failure(results[0])
    line = AnswerLine(
        question=question.id,
        answer=None if error else Answer(text, refused=refused_by_filter(text)),
        error=error,
    )
    samples = {
        name: Scorer(
            protocol=protocol,
            dialect=declared.dialect,
            strategy=_strategy(declared),
            correction=declared.correction,
            image=data.image,
        ).score([question], {(question.id, 0): line})
        for name, protocol in PROTOCOLS.items()
    }
    cluster = read_once(data.annotations).cluster_of(question.targets[0])
    return {name: _item(values, cluster) for name, values in _values(samples)}


def _values(
    samples: Mapping[str, Sequence[SampleScore]],
) -> Iterator[tuple[str, list[float | None]]]:
    """Every metric's name, and its value for each target, None where there is no answer.

    ``samples`` are by protocol: the default's metrics bear no name of it, of the others there is
    the accuracy alone.
    """
    default = samples[DEFAULT_PROTOCOL]
    for threshold in (HIT_AT, 0.3, 0.7):
        yield f"acc@{threshold}", [_hit(each, threshold) for each in default]
    yield "mean_iou", [None if _failed(each) else each.iou for each in default]
    for protocol, scored in samples.items():
        if protocol != DEFAULT_PROTOCOL:
            yield f"{protocol}_acc@{HIT_AT}", [_hit(each, HIT_AT) for each in scored]
    for outcome in (Outcome.UNREADABLE, Outcome.MODEL_ERROR):
        yield outcome.value, [float(each.outcome is outcome) for each in default]


def _failed(sample: SampleScore) -> bool:
    return sample.outcome is Outcome.MODEL_ERROR


def _hit(sample: SampleScore, threshold: float) -> float | None:
    return None if _failed(sample) else float(sample.iou >= threshold)


def _item(values: list[float | None], cluster: int) -> dict[str, Any]:
    """A sample's part in a metric.

    lmms-eval makes standard errors, clustered ones too, of the key ``score``. Answers with several
    targets leave it out, since the mean of their means is not the accuracy.
    """
    item: dict[str, Any] = {"values": values, "cluster": cluster}
    if len(values) == 1 and values[0] is not None:
        item["score"] = values[0]
    return item


def mean(items: Iterable[Mapping[str, Any]]) -> float:
    """The mean over all targets, a fraction; not a number as soon as one has no answer."""
    values = [nan if value is None else float(value) for item in items for value in item["values"]]
    return sum(values) / len(values)
