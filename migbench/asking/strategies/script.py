"""The wordings of a chain of thought, for one prompt set and family; the tasks hold the texts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from migbench.asking.questions import REFERENCE_BOX, Asked, Question
from migbench.errors import UsageError
from migbench.tasks import ChainOfThought, Noun, find_task
from migbench.util.ordinals import WORDS

_CLOSING_REQUEST = re.compile(r"Find it and locate it in the \w+ image\.\s*")


@dataclass(frozen=True, slots=True)
class Script:
    """What to say at each step; direct inference has no use for it.

    ``prompts`` is the prompt set (`migbench.dialects.PromptSet`), ``strategy`` and ``dialect`` are
    names: the published script words one family's step differently.
    """

    prompts: str
    strategy: str
    dialect: str

    def describe(self, question: Question, asked: Asked) -> str:
        """Step 1: ask in words for what one of the question's boxes is to hold."""
        cot = _cot(question)
        instance = asked.instances[0]
        form = find_task(question.task).all_at_once
        number = form.number(instance.question) if form else None
        box = REFERENCE_BOX.search(instance.question)
        template = (cot.released if self.prompts == "released" else cot.paper).describe
        for departure in cot.departures if self.prompts == "released" else ():
            if (departure.dialect, departure.strategy) == (self.dialect, self.strategy):
                template = departure.describe
        return template.format(
            question=instance.question,
            stem=_CLOSING_REQUEST.sub("", instance.question),
            box=box.group() if box else "",
            choices=" | ".join(f"Image{place + 1}" for place in range(len(question.images))),
            picture=number + 1 if number and form and form.noun is Noun.REGION else number,
        )

    def ground(self, question: Question, asked: Asked, description: str) -> str:
        """Step 2: ask for the box of what was described."""
        cot = _cot(question)
        template = (cot.released if self.prompts == "released" else cot.paper).ground
        return template.format(question=asked.instances[0].question, description=description)

    def ground_all(self, question: Question, descriptions: list[str]) -> str:
        """Step 2 for several boxes at once, in the wording of the task's all-at-once form."""
        form = find_task(question.task).all_at_once
        assert form is not None
        description = descriptions[0]
        if len(set(descriptions)) > 1:
            named = zip(question.asked, descriptions, strict=True)
            description = "; ".join(
                f"{asked.noun.capitalize()}-{asked.number}: {said}" for asked, said in named
            )
        return form.ground.format(question=question.text, description=description)

    def look_at(self, question: Question, image: int) -> str:
        """How a multi-image step 2 begins; ``image`` counts from 0."""
        ordinal = WORDS[image] if image < len(WORDS) else f"{image + 1}th"
        named = _cot(question).look.format(ordinal=ordinal, number=image + 1)
        # The misprint is the script's; the paper gives no wording for this form.
        return f"Now {'ONIY' if self.prompts == 'released' else 'only'} look at {named}. "

    def chooses_image(self, question: Question) -> bool:
        """Whether step 1 says which image step 2 is about."""
        return _cot(question).chooses_image


def _cot(question: Question) -> ChainOfThought:
    cot = find_task(question.task).chain_of_thought
    if cot is None:
        raise UsageError(
            f"task {question.task} has no chain of thought: add 'chain_of_thought' to its file"
        )
    return cot
