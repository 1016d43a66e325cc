"""Options that say which model is meant: how it is run, and how it writes boxes."""

from __future__ import annotations

from typing import Any

import click

from migbench.boxes import EdgeLimited, Frame, Order, Original, PaddedSquare, SmartResized
from migbench.cli.adapter_options import adapter_options, adapter_settings
from migbench.cli.options import together
from migbench.dialects import Dialect, find_dialect
from migbench.dialects.syntax import CornerNames, Syntax
from migbench.dialects.thoughts import ThinkingMarks
from migbench.errors import UsageError
from migbench.models.resolving import Model, Overrides, Pixels, resolve_model

dialect_options = together(
    click.option(
        "--dialect",
        help="How the model writes boxes: a name (`migbench models`), path/to/dialect.yaml, or "
        "custom.",
    ),
    click.option(
        "--box-order",
        type=click.Choice([order.value for order in Order]),
        help="custom: order of the numbers.",
    ),
    click.option("--box-scale", help="custom: the number for 100 % (1, 1000, ...), or pixels."),
    click.option(
        "--box-frame",
        help="custom: original, padded-square, edge-limited:LONGEST[:PATCH:MAX_PATCHES] or "
        "smart-resized:FACTOR:MIN_PIXELS:MAX_PIXELS.",
    ),
    click.option(
        "--box-offset",
        type=float,
        help="custom: added to every number; 0.5 for the middle of bins.",
    ),
    click.option(
        "--box-syntax",
        multiple=True,
        help="custom: how a box is recognised; may be given several times: "
        f"{', '.join(syntax.value for syntax in Syntax)}, or a template with {{}} for each number, "
        "such as '{}_{}_{}_{}'.",
    ),
    click.option("--box-format", help="custom: the sentence that asks for the format."),
    click.option(
        "--box-tag", multiple=True, help="custom: a tag around boxes: bbox, |det|; several times."
    ),
    click.option(
        "--box-brackets",
        multiple=True,
        help="custom: a pair of brackets around boxes or corners: {} or <>; several times.",
    ),
    click.option("--box-key", multiple=True, help="custom: a key of boxes in JSON; several times."),
    click.option(
        "--box-corners",
        multiple=True,
        help="custom: names of the four edges, LEFT,TOP,RIGHT,BOTTOM; several times.",
    ),
    click.option(
        "--images-from",
        type=click.Choice(["0", "1"]),
        help="custom: the number of the first image in answers; 1 if not given.",
    ),
    click.option(
        "--image-field",
        multiple=True,
        help="custom: a field of JSON or of tags that says which image a box is in; several times.",
    ),
    click.option(
        "--thinking-marks",
        nargs=2,
        multiple=True,
        help="custom: what stands before and after a thought; several times.",
    ),
    click.option(
        "--thought-opened",
        is_flag=True,
        default=None,
        help="custom: the prompt's template opens the thought, so that answers hold its end alone.",
    ),
)

running_options = together(
    click.option("--adapter", help="How to run it: a name, or path/to/file.py:Class."),
    dialect_options,
    click.option("--revision", help="Revision of a hub checkpoint."),
    adapter_options,
    click.option("--max-new-tokens", type=click.IntRange(min=1), help="Token limit of an answer."),
    click.option("--temperature", type=click.FloatRange(min=0), help="0 is greedy."),
    click.option("--seed", type=int, help="Seed of sampling."),
    click.option("--min-pixels", type=int, help="Smallest image area that the model sees."),
    click.option(
        "--max-pixels",
        type=int,
        help="Largest image area that the model sees (with openai: as its server is set up).",
    ),
)

MODEL_HELP = "A profile, a checkpoint folder or a hub id."

model_options = together(click.option("--model", required=True, help=MODEL_HELP), running_options)


def chosen_model(options: dict[str, Any]) -> Model:
    """The model that these command-line options describe; they are taken out of ``options``."""
    overrides = Overrides(
        adapter=options.pop("adapter"),
        dialect=chosen_dialect(options),
        revision=options.pop("revision"),
        max_new_tokens=options.pop("max_new_tokens"),
        temperature=options.pop("temperature"),
        seed=options.pop("seed"),
        pixels=Pixels(min=options.pop("min_pixels"), max=options.pop("max_pixels")),
        settings=adapter_settings(options),
    )
    return resolve_model(options.pop("model"), overrides)


_NEEDED = ("order", "scale", "syntax", "format")


def chosen_dialect(options: dict[str, Any]) -> Dialect | None:
    """The dialect named or described by these options; they are taken out of ``options``."""
    name = options.pop("dialect")
    box = {
        field: options.pop(f"box_{field}")
        for field in (*_NEEDED, "frame", "offset", "tag", "brackets", "key", "corners")
    }
    other = {
        field: options.pop(field)
        for field in ("images_from", "image_field", "thinking_marks", "thought_opened")
    }
    if name != "custom":
        if any((*box.values(), *other.values())):
            raise UsageError(
                "--box-..., --image... and --th... options describe a custom dialect: "
                "add --dialect custom"
            )
        return find_dialect(name) if name else None
    if missing := [field for field in _NEEDED if box[field] in (None, ())]:
        flags = ", ".join(f"--box-{field}" for field in missing)
        raise UsageError(f"--dialect custom: also needs {flags}")
    described: dict[str, Any] = {
        "order": Order(box["order"]),
        "scale": _scale(box["scale"]),
        "frame": _frame(box["frame"] or "original"),
        "offset": box["offset"] or 0.0,
        "syntax": box["syntax"],
        "format": box["format"],
        "tags": box["tag"],
        "brackets": box["brackets"],
        "keys": box["key"],
        "corners": tuple(_corners(text) for text in box["corners"]),
        "images_from": int(other["images_from"] or 1),
        "image_fields": other["image_field"],
        "thinking_marks": other["thinking_marks"],
        "thought_opened_by_template": other["thought_opened"],
    }
    given = {field: value for field, value in described.items() if value not in ((), None)}
    try:
        if marks := given.get("thinking_marks"):
            given["thinking_marks"] = tuple(ThinkingMarks(*each) for each in marks)
        return Dialect(
            name="custom", title="Declared on the command line", source="the user", **given
        )
    except ValueError as error:
        raise UsageError(f"--dialect custom: {error}") from error


def _corners(text: str) -> CornerNames:
    match [name.strip() for name in text.split(",")]:
        case [left, top, right, bottom] if all((left, top, right, bottom)):
            return left, top, right, bottom
    raise UsageError(f"--box-corners {text}: four names with commas, LEFT,TOP,RIGHT,BOTTOM")


def _scale(text: str) -> Any:
    if text == "pixels":
        return text
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0 < scale < float("inf"):
        raise UsageError(f"--box-scale {text}: a positive number, or pixels")
    return scale


def _frame(text: str) -> Frame:
    name, *numbers = text.split(":")
    try:
        match name, [int(number) for number in numbers if number.isdecimal()]:
            case "original", []:
                return Original()
            case "padded-square", []:
                return PaddedSquare()
            case "edge-limited", [longest]:
                return EdgeLimited(longest=longest)
            case "edge-limited", [longest, patch, most]:
                return EdgeLimited(longest=longest, patch=patch, max_patches=most)
            case "smart-resized", [factor, smallest, largest]:
                return SmartResized(factor=factor, min_pixels=smallest, max_pixels=largest)
    except ValueError as error:
        raise UsageError(f"--box-frame {text}: {error}") from error
    raise UsageError(f"--box-frame {text}: see --help for its forms")
