"""MIBench and MMIU as lmms-eval's task files name them: what is asked, and what an answer is worth.

Both show their images first and give the whole text after them, as the paper's release asks them.
Documents hold their images' absolute paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from migbench.data.instances import normalise_path
from migbench.dialects.thoughts import final_part
from migbench.errors import DataError
from migbench.integrations.lmms_eval.failures import failure
from migbench.integrations.lmms_eval.suites.choices import chosen_letter, chosen_option
from migbench.integrations.lmms_eval.suites.declared import folder_of
from migbench.messages import ImageFile

Document = Mapping[str, Any]
Options = Mapping[str, Any]

STRICTLY = "Please only strictly answer from the choice list: "
"""How the paper's release asks MIBench."""
_MARK = re.compile("<image>")
_OPTION = re.compile(r"^\s*\(?([A-Z])\s?[:.)]\s*(.*?)\s*$", re.MULTILINE)


def mibench_documents(records: Any) -> Any:
    """The rows with their images where they are. Raises `DataError` where some are missing."""
    return _located(records, "image", folder_of("mibench"))


def mmiu_documents(records: Any) -> Any:
    """The rows that have an answer, with their images where they are.

    Raises `DataError` where some are missing.
    """
    answered = [place for place, output in enumerate(records["output"]) if output is not None]
    return _located(records.select(answered), "input_image_path", folder_of("mmiu"))


def _located(records: Any, column: str, folder: Path) -> Any:
    """The data set with the paths of its images made absolute."""
    names = {name for row in records[column] for name in row}
    paths = {}
    for name in sorted(names):
        try:
            paths[name] = str(folder.resolve() / normalise_path(name))
        except ValueError as error:
            raise DataError(f"{folder}: {error}") from error
    missing = [name for name, path in paths.items() if not Path(path).is_file()]
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(names)} images are missing, such as {missing[0]}; "
            "unpack the data set's archives so that they lie there"
        )
    return records.map(lambda row: {column: [paths[name] for name in row[column]]})


def mibench_text(document: Document, lmms_eval_specific_kwargs: Options | None = None) -> str:
    """The question with its images by number, and the list of options."""
    numbers = count(1)
    question = _MARK.sub(lambda mark: f"Image-{next(numbers)}", document["question"])
    return f"{question}{STRICTLY}{' | '.join(document['options'])}"


def mmiu_text(document: Document, lmms_eval_specific_kwargs: Options | None = None) -> str:
    """The question, and the context with the options."""
    return f"Question:\n{document['question']}\nSpecifically:\n{document['context']}"


def mibench_messages(
    document: Document, lmms_eval_specific_kwargs: Options | None = None
) -> list[dict[str, Any]]:
    """The images by path, in their order, then the text; decoded ones as in `_messages`."""
    return _messages(document["image"], mibench_text(document))


def mmiu_messages(
    document: Document, lmms_eval_specific_kwargs: Options | None = None
) -> list[dict[str, Any]]:
    """The images by path, in their order, then the text; decoded ones as in `_messages`."""
    return _messages(document["input_image_path"], mmiu_text(document))


def _messages(images: Iterable[str], text: str) -> list[dict[str, Any]]:
    """Images by path; those that a model's own decoder would show otherwise are given decoded."""
    content: list[dict[str, Any]] = [{"type": "image", "url": _shown(path)} for path in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def mibench_images(document: Document) -> list[Any]:
    """The decoded images, for lmms-eval's simple models."""
    return _opened(document["image"])


def mmiu_images(document: Document) -> list[Any]:
    """The decoded images, for lmms-eval's simple models."""
    return _opened(document["input_image_path"])


def _shown(path: str) -> Any:
    image = ImageFile(path, Path(path))
    return path if image.difference() is None else image.open()


def _opened(paths: Iterable[str]) -> list[Any]:
    return [ImageFile(path, Path(path)).open() for path in paths]


def mibench_results(document: Document, results: Sequence[str]) -> dict[str, Any]:
    """Whether the answer chooses the right option; where the data set has none, no answer does."""
    options = document["options"]
    right = chosen_option(document["answer"], options)
    chosen = chosen_option(_said(results[0]), options)
    return _result("mibench_acc", document, results[0], right is not None and chosen == right)


def mmiu_results(document: Document, results: Sequence[str]) -> dict[str, Any]:
    """Whether the answer chooses the right letter.

    The data set's right letter may be one that the options leave out; then no answer is right.
    """
    options = dict(_OPTION.findall(document["options"]))
    right = document["output"].strip().upper()
    return _result(
        "mmiu_acc", document, results[0], chosen_letter(_said(results[0]), options) == right
    )


def _said(answer: str) -> str:
    """The final part: inside ``<answer>``, after ``</think>``, or all of it."""
    final = final_part(answer)
    return answer[final.start : final.end]


def _result(metric: str, document: Document, answer: str, right: bool) -> dict[str, Any]:
    score = None if failure(answer) else float(right)
    return {metric: {"task": document["task"], "score": score}}


def mean_of_tasks(items: Iterable[Mapping[str, Any]]) -> float:
    """The unweighted mean of the tasks' accuracies; not a number where an answer is missing."""
    tasks: dict[str, list[float]] = {}
    for item in items:
        score = item["score"]
        tasks.setdefault(item["task"], []).append(float("nan") if score is None else score)
    return sum(sum(scores) / len(scores) for scores in tasks.values()) / len(tasks)
