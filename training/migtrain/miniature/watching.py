"""Watching a training: held-out questions, asked as in an evaluation and judged by its code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migbench.asking.evaluators.polling import polling
from migbench.asking.questions import Question
from migbench.asking.strategies import find_strategy
from migbench.data.annotations import read_annotations
from migbench.data.images import DataLocation, locate_data
from migbench.dialects import ask, find_dialect
from migbench.errors import UsageError
from migbench.messages import Answer, Generation, Request
from migbench.mini import render
from migbench.mini.conversations import DIALECT
from migbench.runs.answer_lines import AnswerLine
from migbench.scoring import PROTOCOLS, Scorer, macro_average, summarise_tasks
from migtrain.miniature.encoding import Encoder
from migtrain.miniature.recipe import Watch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Accuracy:
    """Acc@0.5 on the held-out questions, in percent: the mean of the tasks, and each of them."""

    macro: float
    tasks: dict[str, float]


class HeldOut:
    """Held-out questions, and how well a model answers them now."""

    def __init__(self, watch: Watch, data: Path | None, scenes: Path) -> None:
        """Find the questions; MIG-Mini's are rendered into ``scenes``. Raises `UsageError`."""
        self._watch = watch
        location = _locate(watch, data, scenes)
        counts: Counter[str] = Counter()
        kept = []
        for instance in read_annotations(location.annotations).instances:
            if watch.tasks and instance.task not in watch.tasks:
                continue
            counts[instance.task] += 1
            if counts[instance.task] <= watch.per_task:
                kept.append(instance)
        if not kept:
            raise UsageError(f"{location.annotations}: holds nothing of what the recipe watches")
        self._questions = tuple(polling(kept))
        self._tasks = list(counts)
        self._strategy = find_strategy("direct")
        self._requests = [self._request(question, location) for question in self._questions]

    def _request(self, question: Question, location: DataLocation) -> Request:
        turn = next(self._strategy(question))
        images = [location.image(name) for name in question.images]
        generation = Generation(max_new_tokens=self._watch.max_new_tokens)
        return ask(find_dialect(DIALECT), turn, images, generation=generation)

    def measure(self, model: Any, encoder: Encoder, *, rank: int = 0, world: int = 1) -> Accuracy:
        """Ask a model everything; of several processes each asks a share, and all learn the result.

        Decoding is greedy. The model is left in the mode in which it was, and random numbers are
        not touched.
        """
        share = range(rank, len(self._questions) + (-len(self._questions)) % world, world)
        places = [place % len(self._questions) for place in share]
        was_training = model.training
        model.eval()
        answers: dict[int, str] = {}
        for start in range(0, len(places), self._watch.batch):
            batch = places[start : start + self._watch.batch]
            requests = [self._requests[place] for place in batch]
            answers |= zip(batch, _answer(model, encoder, requests, world > 1), strict=True)
        model.train(was_training)
        return self._judged(_gathered(answers) if world > 1 else answers)

    def _judged(self, answers: dict[int, str]) -> Accuracy:
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
        assert macro is not None, "every held-out question has an answer"
        return Accuracy(macro, tasks)


def _locate(watch: Watch, data: Path | None, scenes: Path) -> DataLocation:
    if watch.data is None:
        render(scenes, per_task=watch.per_task, seed=watch.seed, split=watch.split)
        return locate_data(scenes)
    if data is None:
        raise UsageError("the recipe watches a data set: --data DIR says where it is")
    return locate_data(data / watch.data)


def _answer(
    model: Any, encoder: Encoder, requests: Sequence[Request], synchronised: bool
) -> list[str]:
    import torch

    device = model.device
    prompts = [
        encoder.prompt([part if isinstance(part, str) else part.open() for part in request.parts])
        for request in requests
    ]
    inputs = encoder.batch(prompts, left=True)
    arguments: dict[str, torch.Tensor] = {
        "input_ids": inputs["input_ids"].to(device),
        "attention_mask": inputs["attention_mask"].to(device),
        "mm_token_type_ids": (inputs["input_ids"] == encoder.image_id).int().to(device),
        "image_grid_thw": inputs["image_grid_thw"].to(device),
        "pixel_values": encoder.pixels.normalise(inputs["patches"].to(device)),
    }
    with torch.no_grad():
        output = model.generate(
            **arguments,
            max_new_tokens=requests[0].generation.max_new_tokens,
            do_sample=False,
            temperature=None,
            top_k=None,
            top_p=None,
            pad_token_id=encoder.pad_id,
            synced_gpus=synchronised,
        )
    rows = output[:, inputs["input_ids"].shape[1] :].tolist()
    return [encoder.spoken(row) for row in rows]


def _gathered(answers: dict[int, str]) -> dict[int, str]:
    """What all processes have, in all of them."""
    import torch.distributed

    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, answers)
    return {place: text for part in everyone for place, text in part.items()}
