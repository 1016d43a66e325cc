"""What a model is to be taught: the very prompts of an evaluation, and the boxes as answers.

Questions in the wording of MIG-Bench become exchanges in Qwen2-VL's dialect, through the same
`migbench.dialects.ask` that asks them at evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from migbench.boxes import Box
from migbench.dialects import PromptSet, ask, find_dialect
from migbench.dialects.dialect import wording
from migbench.messages import ImageFile
from migbench.questions import REFERENCE_BOX, Purpose, Turn
from migbench.tasks import find_task
from migbench.training.conversations import IMAGE, Conversation, Exchange, Target

DIALECT = "qwen2-vl"


def converse(
    identity: str,
    kind: str,
    images: Sequence[str],
    asked: Sequence[tuple[str, Target]],
    grain: int = 1,
) -> Conversation:
    """A conversation about an image set: its first exchange shows the images, the others ask on.

    ``asked`` holds questions in the data set's wording and what is to be found.
    """
    dialect = find_dialect(DIALECT)
    files = [ImageFile(image) for image in images]
    exchanges: list[Exchange] = []
    for text, target in asked:
        turn = Turn(Purpose.DIRECT, text, tuple(range(len(images))), (0,))
        request = ask(dialect, turn, files)
        question = str(request.parts[-1]) if exchanges else request.text(IMAGE)
        exchanges.append(Exchange(question, write_box(target.box, grain), (target,)))
    return Conversation(identity, kind, tuple(images), tuple(exchanges))


def converse_at_once(
    identity: str,
    kind: str,
    images: Sequence[str],
    asked: Sequence[tuple[str, Target]],
    grain: int = 1,
) -> Conversation:
    """One exchange about all of an image set's targets, as the all-at-once evaluator asks.

    ``asked`` are the questions about the single targets; they say which image or region each is.
    """
    form = find_task(kind).all_at_once
    assert form is not None, f"{kind} is not asked at once"
    named = sorted(((form.number(text) or 0, target) for text, target in asked), key=itemgetter(0))
    reference = REFERENCE_BOX.search(asked[0][0])
    text = form.question.format(box=reference.group() if reference else "")
    noun = form.noun.capitalize()
    lines = [f"{noun}-{number}: {write_box(target.box, grain)}" for number, target in named]
    files = [ImageFile(image) for image in images]
    places = tuple(range(len(images)))
    request = ask(find_dialect(DIALECT), Turn(Purpose.DIRECT, text, places, places), files)
    targets = tuple(target for _, target in named)
    exchange = Exchange(request.text(IMAGE), "\n".join(lines), targets)
    return Conversation(identity, kind, tuple(images), (exchange,))


def write_box(box: Box, grain: int = 1) -> str:
    """A box in 0-1 as Qwen2-VL writes it: in thousandths, from 0 to 999, in steps of ``grain``.

    >>> write_box(Box(0.25, 0.1, 1.0, 0.5))
    '<|box_start|>(250,100),(999,500)<|box_end|>'
    """
    dialect = find_dialect(DIALECT)
    assert dialect.box is not None
    edges = dialect.convention.from_unit(box)
    x1, y1, x2, y2 = (min(grain * round(edge / grain), 999) for edge in edges)
    return wording(dialect.box, PromptSet.PAPER).format(x1=x1, y1=y1, x2=x2, y2=y2)
