"""Options that mean the same in every command that has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from migbench.boxes import EdgeLimited, Frame, Order, Original, PaddedSquare, SmartResized
from migbench.dialects import Dialect, find_dialect
from migbench.dialects.syntax import Syntax
from migbench.errors import UsageError
from migbench.models import Model, Overrides, Pixels, resolve_model
from migbench.scoring import Bootstrap, read_split

Command = TypeVar("Command", bound=Callable[..., Any])

FolderOrFile = click.Path(path_type=Path)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)
ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several option decorators as one, in the order given."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


scale_option = click.option(
    "--scale",
    type=float,
    help="The number that stands for 100 % in a custom annotation file's boxes (1 or 1000).",
)

data_options = together(
    click.option(
        "--data",
        required=True,
        type=FolderOrFile,
        help="The data set's folder, or an annotation file.",
    ),
    click.option(
        "--images",
        type=ExistingFolder,
        help="Folder below which image paths are looked up, if it is not the data's own.",
    ),
    scale_option,
)

protocol_options = together(
    click.option(
        "--protocol",
        type=click.Choice(["standard", "released"]),
        default="standard",
        show_default=True,
        help="standard: the declared convention; released: as the published evaluator scores.",
    ),
    click.option(
        "--corrections",
        type=click.Choice(["profile", "none"]),
        default="profile",
        show_default=True,
        help="Whether to apply the profile's correction of boxes (Migician's y scaling).",
    ),
)

scoring_options = together(
    protocol_options,
    click.option(
        "--accept-model-errors",
        is_flag=True,
        help="Count targets without an answer as misses; the table says so.",
    ),
)

data_of_run_options = together(
    click.option(
        "--annotations",
        type=ExistingFile,
        help="Where the run's annotation file is now, if it was moved.",
    ),
    click.option(
        "--images",
        type=ExistingFolder,
        help="The image folder; only pixel dialects need it, where a run kept no sizes.",
    ),
)

stored_run_options = together(scoring_options, data_of_run_options)


def _bootstrap(
    context: click.Context, parameter: click.Parameter, draws: int | None
) -> Bootstrap | None:
    return None if draws is None else Bootstrap(draws=draws, seed=context.params["seed"])


interval_options = together(
    click.option(
        "--bootstrap",
        type=click.IntRange(min=100),
        callback=_bootstrap,
        metavar="N",
        help="Intervals by resampling image clusters N times, in place of formulas.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        is_eager=True,
        help="Seed of whatever is drawn for intervals and tests.",
    ),
)

difficulty_option = click.option(
    "--difficulty",
    type=ExistingFile,
    callback=lambda context, parameter, path: path and read_split(path),
    help="Add accuracy by level of this split (`migbench difficulty make`).",
)

json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write the result as JSON to this file (- for standard output).",
)

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

model_options = together(
    click.option("--model", required=True, help="A profile, a checkpoint folder or a hub id."),
    click.option("--adapter", help="How to run it: a name, or path/to/file.py:Class."),
    dialect_options,
    click.option("--revision", help="Revision of a hub checkpoint."),
    click.option(
        "--model-arg",
        multiple=True,
        metavar="KEY=VALUE",
        help="A setting of the adapter; may be given several times.",
    ),
    click.option("--endpoint", metavar="URL", help="openai adapter: the server's base URL."),
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


def chosen_model(options: dict[str, Any]) -> Model:
    """The model that these command-line options describe; they are taken out of ``options``."""
    settings = dict(_setting(pair) for pair in options.pop("model_arg"))
    if endpoint := options.pop("endpoint"):
        settings["base_url"] = endpoint
    overrides = Overrides(
        adapter=options.pop("adapter"),
        dialect=chosen_dialect(options),
        revision=options.pop("revision"),
        max_new_tokens=options.pop("max_new_tokens"),
        temperature=options.pop("temperature"),
        seed=options.pop("seed"),
        pixels=Pixels(min=options.pop("min_pixels"), max=options.pop("max_pixels")),
        settings=settings,
    )
    return resolve_model(options.pop("model"), overrides)


def _setting(pair: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise UsageError(f"--model-arg {pair}: give it as KEY=VALUE")
    return key.strip().replace("-", "_"), yaml.safe_load(value)


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
