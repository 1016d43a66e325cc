"""Options that say which model is meant: how it is run, and how it writes boxes."""

from __future__ import annotations

from typing import Any

import click

from migbench.boxes import EdgeLimited, Frame, Order, Original, PaddedSquare, SmartResized
from migbench.cli.adapter_options import adapter_options, adapter_settings
from migbench.cli.options import together
from migbench.dialects import Dialect, find_dialect
from migbench.dialects.syntax import Syntax
from migbench.errors import UsageError
from migbench.models import Model, Overrides, Pixels, resolve_model

dialect_options = together(
    click.option(
        "--dialect", help="How the model writes boxes: a name (`migbench models`), or custom."
    ),
    click.option(
        "--box-order",
        type=click.Choice([order.value for order in Order]),
        help="custom: order of the numbers.",
    ),
    click.option("--box-scale", help="custom: the number for 100 % (1, 1000, ...), or pixels."),
    click.option(
        "--box-frame",
        help="custom: original, padded-square, edge-limited:LONGEST or "
        "smart-resized:FACTOR:MIN_PIXELS:MAX_PIXELS.",
    ),
    click.option(
        "--box-syntax",
        multiple=True,
        type=click.Choice([syntax.value for syntax in Syntax]),
        help="custom: how a box is recognised; may be given several times.",
    ),
    click.option("--box-format", help="custom: the sentence that asks for the format."),
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


def chosen_dialect(options: dict[str, Any]) -> Dialect | None:
    """The dialect named or described by these options; they are taken out of ``options``."""
    name = options.pop("dialect")
    described = {
        field: options.pop(f"box_{field}")
        for field in ("order", "scale", "frame", "syntax", "format")
    }
    if name != "custom":
        if any(described.values()):
            raise UsageError("--box-... options describe a custom dialect: add --dialect custom")
        return find_dialect(name) if name else None
    if missing := [field for field, value in described.items() if not value and field != "frame"]:
        flags = ", ".join(f"--box-{field}" for field in missing)
        raise UsageError(f"--dialect custom: also needs {flags}")
    return Dialect(
        name="custom",
        title="Declared on the command line",
        source="the user",
        order=Order(described["order"]),
        scale=_scale(described["scale"]),
        frame=_frame(described["frame"] or "original"),
        syntax=tuple(Syntax(syntax) for syntax in described["syntax"]),
        format=described["format"],
    )


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
            case "smart-resized", [factor, smallest, largest]:
                return SmartResized(factor=factor, min_pixels=smallest, max_pixels=largest)
    except ValueError as error:
        raise UsageError(f"--box-frame {text}: {error}") from error
    raise UsageError(f"--box-frame {text}: see --help for its four forms")
