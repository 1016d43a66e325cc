"""Validation: questions of a benchmark answered by a model in memory, scored by migbench.

The questions are worded, the answers parsed and scored as in an evaluation (polling, the direct
strategy, the standard protocol); only the run's folder is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from migbench.asking.evaluators.polling import polling
from migbench.asking.questions import Question
from migbench.asking.strategies import find_strategy
from migbench.data.annotations import read_annotations
from migbench.data.images import DataLocation, locate_data
from migbench.dialects import ask, find_dialect
from migbench.errors import UsageError
from migbench.messages import Answer, Generation, ImageFile, Request
from migbench.mini import FILE_NAME, render
from migbench.mini.conversations import DIALECT
from migbench.runs.answer_lines import AnswerLine
from migbench.scoring import PROTOCOLS, Scorer, macro_average, summarise_tasks

MINI = "mini"
"""Names MIG-Mini's test split where a benchmark's folder may stand."""


@dataclass(frozen=True, slots=True)
class ValidationScore:
    """Acc@0.5 in percent: the mean of the tasks, and each of them."""

    macro: float
    tasks: dict[str, float]


class ValidationSet:
    """Questions, and what a model's answers to them are worth."""

    def __init__(
        self, location: DataLocation, *, per_task: int, max_new_tokens: int, tasks: Sequence[str]
    ) -> None:
        """The first ``per_task`` instances of each task of an annotation file; of all ``tasks``.

        Without tasks, of all. Raises `UsageError` where there is none.
        """
        counts: Counter[str] = Counter()
        kept = []
        for instance in read_annotations(location.annotations).instances:
            if tasks and instance.task not in tasks:
                continue
            counts[instance.task] += 1
            if counts[instance.task] <= per_task:
                kept.append(instance)
        if not kept:
            raise UsageError(f"{location.annotations}: holds no instance to validate on")
        self._questions = tuple(polling(kept))
        self._tasks = list(counts)
        self._strategy = find_strategy("direct")
        self._generation = Generation(max_new_tokens=max_new_tokens)
        self.requests = [self._request(question, location) for question in self._questions]

    def _request(self, question: Question, location: DataLocation) -> Request:
        turn = next(self._strategy(question))
        images = [location.image(name) for name in question.images]
        return ask(find_dialect(DIALECT), turn, images, generation=self._generation)

    def score(self, answers: dict[int, str]) -> ValidationScore:
        """The accuracy of answers, by the place of their request."""
        lines = {
            (self._questions[place].id, 0): AnswerLine(
                question=self._questions[place].id, answer=Answer(text)
            )
            for place, text in answers.items()
        }
        scorer = Scorer(PROTOCOLS["standard"], find_dialect(DIALECT), self._strategy)
        scores = summarise_tasks(scorer.score(self._questions, lines), self._tasks)
        tasks = {task: score.at_50 for task, score in scores.items() if score.at_50 is not None}
        macro = macro_average(scores).at_50
        assert macro is not None, "every question has an answer"
        return ValidationScore(macro, tasks)


def find_benchmark(name: str, folder: Path, *, per_task: int, seed: int) -> Path:
    """The folder of a benchmark; ``mini`` is MIG-Mini's test split, rendered into ``folder``.

    Raises `UsageError` where there is none.
    """
    if name != MINI:
        locate_data(Path(name))
        return Path(name)
    # A folder that has the annotations is complete.
    if not (folder / FILE_NAME).is_file():
        render(folder, per_task=per_task, seed=seed, split="test")
    return folder


def validate(model: Any, processor: Any, questions: ValidationSet, batch: int) -> ValidationScore:
    """Ask a model everything, greedily; of several processes each asks a share, and all score.

    ``processor`` is the checkpoint's, for images and text. The model is left in the mode in which
    it was, and random numbers are not touched.
    """
    rank, world = _process()
    count = len(questions.requests)
    # As many for every process: under ZeRO-3 all generate together.
    places = [place % count for place in range(rank, count + -count % world, world)]
    was_training = model.training
    model.eval()
    answers: dict[int, str] = {}
    for start in range(0, len(places), batch):
        chosen = places[start : start + batch]
        requests = [questions.requests[place] for place in chosen]
        answers |= zip(chosen, _generate(model, processor, requests, world > 1), strict=True)
    model.train(was_training)
    return questions.score(_gathered(answers, world))


def _process() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _generate(model: Any, processor: Any, requests: Sequence[Request], several: bool) -> list[str]:
    texts, images = [], []
    for request in requests:
        chat = [{"role": "user", "content": [_part(part) for part in request.parts]}]
        texts.append(processor.apply_chat_template(chat, add_generation_prompt=True))
        images += [part.open() for part in request.parts if isinstance(part, ImageFile)]
    inputs = processor(
        text=texts, images=images, padding=True, padding_side="left", return_tensors="pt"
    ).to(model.device)
    with torch.no_grad():
        output = model.generate(
            **inputs,
            max_new_tokens=requests[0].generation.max_new_tokens,
            do_sample=False,
            temperature=None,
            top_k=None,
            top_p=None,
            use_cache=True,
            synced_gpus=several,
        )
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    return [
        processor.tokenizer.decode(row[: row.index(end)] if end in row else row)
        for row in output[:, inputs["input_ids"].shape[1] :].tolist()
    ]


def _part(part: str | ImageFile) -> dict[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


def _gathered(answers: dict[int, str], world: int) -> dict[int, str]:
    """What all processes have, in all of them."""
    if world == 1:
        return answers
    everyone: list[Any] = [None] * world
    torch.distributed.all_gather_object(everyone, answers)
    return {place: text for part in everyone for place, text in part.items()}
