"""Options that mean the same in every command that has them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from migbench.data.images import Images, ImageSearch
from migbench.scoring import DEFAULT_PROTOCOL, PROTOCOLS, Bootstrap, read_split

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


def image_options(name: str, help: str) -> Callable[[Command], Command]:
    """The option that names the folder of images, and ``--follow-links``, as one argument."""

    def joined(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Images:
        return ImageSearch(folder, follow_links=True) if context.meta.get(_FOLLOW) else folder

    def noted(context: click.Context, parameter: click.Parameter, follow: bool) -> None:
        context.meta[_FOLLOW] = follow

    return together(
        click.option(name, type=ExistingFolder, callback=joined, help=help),
        click.option(
            "--follow-links",
            is_flag=True,
            is_eager=True,  # Before the folder that it says something of.
            expose_value=False,
            callback=noted,
            help="Follow symbolic links out of the image folder (a hub's cache, another disk).",
        ),
    )


_FOLLOW = "migbench.follow_links"

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
    image_options("--images", help="Folder of the images, if it is not the data's own."),
    scale_option,
)

protocol_options = together(
    click.option(
        "--protocol",
        type=click.Choice([*PROTOCOLS]),
        default=DEFAULT_PROTOCOL,
        show_default=True,
        help="; ".join(f"{name}: {protocol.about}" for name, protocol in PROTOCOLS.items()) + ".",
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
    image_options(
        "--images", help="The image folder; only pixel dialects need it, where a run kept no sizes."
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

lock_option = click.option(
    "--without-lock",
    is_flag=True,
    help="Go on where the file system has no locks: you vouch that no other process is at it.",
)


def _names(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    if not text:
        return ()
    (names,) = csv.reader([text.replace("\n", " ")], skipinitialspace=True)
    return tuple(name.strip() for name in names)


names_option = click.option(
    "--names",
    callback=_names,
    metavar="NAME,...",
    help='What to call the runs, in their order, with commas between the names ("Ours, 7B" in '
    "quotes of its own). Where there is none between two commas, a run keeps its own.",
)
