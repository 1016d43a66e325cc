"""``migbench export``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import click

from migbench.cli.options import ExistingFolder, stored_run_options
from migbench.cli.output import exit_status, tell_withheld_images
from migbench.cli.terminal import echo, echo_line
from migbench.errors import UsageError
from migbench.messages import Size
from migbench.reporting.export import FORMATS, Wishes, write_export
from migbench.runs.store import Run
from migbench.scoring import coverage_of
from migbench.scoring.scored_run import image_folder, score_run

FOR_ONE_FORMAT = {
    "categories": "coco",
    "unknown_size": "coco",
    "copy_images": "fiftyone",
    "source_url": "model-index",
    "partial": "model-index",
}
"""Options that mean something in one format alone."""


def _size(context: click.Context, parameter: click.Parameter, text: str | None) -> Size | None:
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}x[1-9]\d{0,5}", text):
        raise click.BadParameter(f"{text!r}: width and height in pixels are expected (1000x1000)")
    return Size(*map(int, text.split("x")))


@click.command("export")
@click.argument("run", type=ExistingFolder)
@click.option(
    "--to",
    "kind",
    type=click.Choice([*FORMATS]),
    required=True,
    help="; ".join(f"{name}: {about}" for name, about in FORMATS.items()) + ".",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The file to write, replaced if it is there; or the folder, which must be new or empty.",
)
@click.option(
    "--categories",
    type=click.Choice(["task", "one"]),
    help="coco: a category for each task, or one for all.  [default: task]",
)
@click.option(
    "--unknown-size",
    callback=_size,
    metavar="WxH",
    help="coco: what to write for images whose size in pixels cannot be had.",
)
@click.option("--copy-images", is_flag=True, help="fiftyone: copy the images into the folder, too.")
@click.option("--source-url", help="model-index: where readers find what the figures came from.")
@click.option(
    "--partial",
    is_flag=True,
    help="model-index: write the figures of a run that was not asked all instances, too.",
)
@stored_run_options
def command(
    run: Path,
    kind: str,
    out: Path,
    categories: Literal["task", "one"] | None,
    unknown_size: Size | None,
    copy_images: bool,
    source_url: str | None,
    partial: bool,
    corrections: str,
    **options: Any,
) -> int:
    """Write the scored RUN in another program's format.

    \b
    Examples:
      migbench export results/migician --to coco --out coco
      migbench export results/migician --to csv --out targets.csv
    """
    given = {
        "categories": categories,
        "unknown_size": unknown_size,
        "copy_images": copy_images,
        "source_url": source_url,
        "partial": partial,
    }
    for name, format_ in FOR_ONE_FORMAT.items():
        if given[name] and kind != format_:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for --to {format_}; leave it out for {kind}")
    scored = score_run(Run(run), corrections=corrections == "profile", **options)
    if options["images"] is None and kind in ("coco", "fiftyone"):
        tell_withheld_images([scored.run.manifest], "--images")
    wishes = Wishes(
        images=image_folder(scored.run, options["images"]),
        categories=categories or "task",
        unknown_size=unknown_size,
        copy_images=copy_images,
        source_url=source_url,
        partial=partial,
    )
    for line in (str(out), *write_export(kind, scored, out, wishes)):
        echo_line(line)
    if (coverage := coverage_of(scored.scores)).is_part:
        echo(f"IN PART: {coverage} instances were asked.")
    if scored.scores.model_errors:
        echo(f"INCOMPLETE: {scored.scores.model_errors} targets without an answer.")
    return exit_status(scored.scores)
