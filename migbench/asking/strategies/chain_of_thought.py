"""Chain of thought: first describe what is to be found, then ground the description.

Step 1 sees all images and asks for a few words. Step 2 sees one image alone (single-image, the
paper's +CoT) or all images again (multi-image, +mCoT). A step 1 that several boxes share is asked
once.
"""

from __future__ import annotations

from collections.abc import Generator

from migbench.asking.mentions import image_mentions
from migbench.asking.questions import Asked, Purpose, Question, Strategy, Turn
from migbench.asking.strategies.script import Script


def single_image(question: Question, script: Script) -> Strategy:
    """Describe with all images in view, then ground in each target's image alone."""
    descriptions = yield from _describe(question, script)
    for place, (asked, description) in enumerate(zip(question.asked, descriptions, strict=True)):
        chosen = _chosen_image(question, script, description)
        image = _image_to_look_at(question, asked, script, chosen)
        text = script.ground(question, asked, description)
        follows = script.chooses_image(question)
        yield Turn(Purpose.GROUND, text, (image,), (place,), chosen, follows)


def multi_image(question: Question, script: Script) -> Strategy:
    """Describe, then ground with all images in view; several boxes in one answer."""
    descriptions = yield from _describe(question, script)
    everything = tuple(range(len(question.images)))
    if len(question.asked) > 1:
        text = script.ground_all(question, descriptions)
        grounds = tuple(range(len(question.asked)))
        yield Turn(Purpose.GROUND, text, everything, grounds, wants_images=question.wants_images)
        return
    (asked,), (description,) = question.asked, descriptions
    chosen = _chosen_image(question, script, description)
    image = _image_to_look_at(question, asked, script, chosen)
    text = script.look_at(question, image) + script.ground(question, asked, description)
    yield Turn(Purpose.GROUND, text, everything, (0,), chosen, script.chooses_image(question))


def _describe(question: Question, script: Script) -> Generator[Turn, str, list[str]]:
    """Step 1 for every box that is asked for; equal ones are asked once."""
    everything = tuple(range(len(question.images)))
    said: dict[str, str] = {}
    texts = [script.describe(question, asked) for asked in question.asked]
    for text in dict.fromkeys(texts):
        said[text] = clean((yield Turn(Purpose.DESCRIBE, text, everything)))
    return [said[text] for text in texts]


def clean(description: str) -> str:
    """Step 1's answer as step 2 quotes it: without surrounding spaces and dots, as published."""
    return description.strip(" .\n\t\r")


def _chosen_image(question: Question, script: Script, description: str) -> int | None:
    """The image (from 0) that step 1 chose for step 2; None where it names none, or has no say."""
    if not script.chooses_image(question):
        return None
    named = (mention.image for mention in image_mentions(description))
    return next((image for image in named if image < len(question.images)), None)


def _image_to_look_at(question: Question, asked: Asked, script: Script, chosen: int | None) -> int:
    """The image that step 2 is about, from 0; where step 1 fails to choose one, the first."""
    if script.chooses_image(question):
        return chosen or 0
    return asked.instances[0].target_image
