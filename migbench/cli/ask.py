"""``migbench ask``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from migbench.cli.first_answer import box_text
from migbench.cli.model_options import chosen_model, model_options
from migbench.cli.options import ExistingFile
from migbench.cli.terminal import echo, echo_error, echo_line
from migbench.messages import ImageFile
from migbench.models.boundary import Failure
from migbench.models.single_question import SingleAnswer, ask_single
from migbench.reporting.drawing import draw_boxes, write_page, write_png
from migbench.runs.preflight import CHECKS_OF_MODEL, model_problems, refuse_problems
from migbench.util.escaping import visible


@click.command("ask")
@click.argument("question")
@model_options
@click.option(
    "--image",
    "images",
    type=ExistingFile,
    multiple=True,
    required=True,
    help="An image to show; several are shown in the order given.",
)
@click.option(
    "--about",
    type=click.IntRange(min=1),
    metavar="N",
    help="The image, from 1, that the question is about, where it does not say it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="answer.png",
    show_default=True,
    metavar="FILE.png",
    help="Where to draw the boxes.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page too: the picture, the prompt and the answer.",
)
@click.option(
    "--skip-check",
    "skip_checks",
    multiple=True,
    type=click.Choice([*CHECKS_OF_MODEL]),
    help="Leave out a check before the start; may be given several times.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of whatever an adapter raises.")
def command(
    question: str,
    images: tuple[Path, ...],
    about: int | None,
    out: Path,
    page: Path | None,
    skip_checks: tuple[str, ...],
    debug: bool,
    **options: Any,
) -> int:
    """Ask a model one QUESTION about images of your own, and draw the boxes of its answer.

    The question is asked as the benchmark's are: in the model's dialect, with its sentence about
    the format. Answers go nowhere but to the screen and the picture.

    \b
    Examples:
      migbench ask --model migician --image a.jpg --image b.jpg \\
        "Where in image 2 is the dog of image 1?"
      migbench ask --model served-name --adapter openai --endpoint http://localhost:8000/v1 \\
        --dialect qwen3-vl --image a.jpg "Where is the cup?" --page cup.html

    Exit status: 0 where the answer holds a box, 1 where it does not, or there is no answer.
    """
    model = chosen_model(options)
    refuse_problems(model_problems(model, skip=skip_checks))
    files = [ImageFile(path.name, path) for path in images]
    try:
        answered = ask_single(model, question, files, about=None if about is None else about - 1)
    except Failure as failure:
        if debug:
            echo(visible(failure.details, keep="\n"), err=True)
        echo_error(f"no answer: {failure.message}")
        return 1
    found = list(_found(answered, files))
    echo_line(f"Answer: {answered.answer.text}")
    for line in found:
        echo_line(line)
    picture = draw_boxes(files, _by_image(answered))
    write_png(out, picture)
    echo_line(f"Picture: {out}")
    if page is not None:
        token = model.dialect.image_token or "<image>"
        texts = {
            "Prompt": answered.request.text(token),
            "Answer": answered.answer.text,
            f"Parsed by dialect {model.dialect.name}": "\n".join(found),
        }
        write_page(page, picture, f"{model.name}: {question}", texts)
        echo_line(f"Page: {page}")
    return 0 if answered.boxes else 1


def _found(answered: SingleAnswer, files: list[ImageFile]) -> Iterator[str]:
    """What was parsed, a line for each box, or why there is none."""
    for each in answered.boxes:
        size = files[each.image].size()
        x1, x2 = (round(edge * size.width) for edge in (each.box.x1, each.box.x2))
        y1, y2 = (round(edge * size.height) for edge in (each.box.y1, each.box.y2))
        yield (
            f"Box in image {each.image + 1} ({files[each.image].name}): {box_text(each.box)}; in "
            f"pixels {x1}, {y1}, {x2}, {y2}"
        )
    if answered.answer.refused:
        yield "No box: a content filter took the answer away"
    elif not answered.boxes:
        failure, reason = answered.parsed.failure, answered.parsed.reason
        why = f"{failure or 'in no image that was shown'}{f' ({reason})' if reason else ''}"
        yield f"No box: {why}"


def _by_image(answered: SingleAnswer) -> dict[int, list[Any]]:
    boxes: dict[int, list[Any]] = {}
    for each in answered.boxes:
        boxes.setdefault(each.image, []).append(each.box)
    return boxes
