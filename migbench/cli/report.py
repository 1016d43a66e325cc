"""``migbench report``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from migbench.cli.options import (
    ExistingFile,
    ExistingFolder,
    difficulty_option,
    image_options,
    interval_options,
    names_option,
    scoring_options,
    together,
)
from migbench.cli.output import exit_status, tell_withheld_images
from migbench.cli.terminal import echo_line
from migbench.errors import UsageError
from migbench.reporting.tables import run_labels
from migbench.runs.manifest import read_manifest
from migbench.runs.store import Run
from migbench.scoring.scored_run import score_run
from migbench.util.escaping import visible
from migbench.util.files import replaced

if TYPE_CHECKING:
    from migbench.reporting.html import LabelledRun
    from migbench.reporting.html.gathering import MakePictures
    from migbench.reporting.html.records import Picture

MEGABYTE = 1_000_000

page_options = together(
    scoring_options,
    click.option(
        "--annotations",
        type=ExistingFile,
        help="Where the runs' annotation file is now, if it was moved.",
    ),
    image_options(
        "--image-folder",
        help="The folder of the images, where it is not the one that the runs were made with.",
    ),
    click.option(
        "--published/--no-published", default=True, help="With the published rows, or without."
    ),
    names_option,
    click.option("--title", help="The page's heading, in place of the runs' names."),
    interval_options,
    difficulty_option,
)
"""What decides on a page's content, whether it is written or served."""


@click.command("report")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The HTML file to write.",
)
@click.option(
    "--images",
    type=click.Choice(["embed", "link"]),
    default="embed",
    show_default=True,
    help="Thumbnails inside of the file, or in a folder beside it.",
)
@click.option(
    "--thumbnail",
    type=click.IntRange(min=16, max=4096),
    default=400,
    show_default=True,
    metavar="PIXELS",
    help="The longer side of a thumbnail.",
)
@click.option(
    "--max-size",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="MB",
    help="What embedded images may take together.",
)
@page_options
def command(
    runs: tuple[Path, ...],
    out: Path,
    images: str,
    thumbnail: int,
    max_size: int,
    **options: Any,
) -> int:
    """Write one self-contained HTML page on which every answer and box of RUNS can be looked at.

    Two runs, or more, are compared, target by target. The page works from a disk, without a
    network, and asks nothing of any other place.

    \b
    Examples:
      migbench report results/migician --out migician.html
      migbench report results/migician results/qwen2-vl-7b --out both.html --images link
    """
    from migbench.reporting.html import embedded, linked

    limit = max_size * MEGABYTE
    making = partial(linked, page=out) if images == "link" else partial(embedded, limit=limit)
    make_pictures: MakePictures = partial(making, side=thumbnail, watch=_watch)
    scored = score_runs(runs, options)
    tell_unread_images(runs, options)
    html = make_page(scored, make_pictures, options)
    with replaced(out) as page:
        page.write_text(html, encoding="utf-8")
    echo_line(f"{out}: {len(html.encode()) / MEGABYTE:.1f} MB")
    return max(exit_status(run.scored.scores) for run in scored)


def _watch(pictures: Iterable[Picture], total: int) -> Iterable[Picture]:
    """Show on a terminal how far the thumbnails are."""
    return tqdm(pictures, total=total, unit=" images", leave=False, disable=None)


def score_runs(runs: Sequence[Path], options: dict[str, Any]) -> list[LabelledRun]:
    """The runs scored as the page's options say, with what the page calls them."""
    from migbench.reporting.html import LabelledRun

    if len(set(map(Path.resolve, runs))) < len(runs):
        raise UsageError("the same run is named twice")
    scored = [
        score_run(
            Run(folder),
            protocol=options["protocol"],
            corrections=options["corrections"] == "profile",
            annotations=options["annotations"],
            images=options["image_folder"],
            accept_model_errors=options["accept_model_errors"],
            difficulty=options["difficulty"],
            bootstrap=options["bootstrap"],
        )
        for folder in runs
    ]
    scores = [run.scores for run in scored]
    labels = run_labels(runs, scores, names=options["names"])
    return [LabelledRun(visible(label), run) for (label,), run in zip(labels, scored, strict=True)]


def tell_unread_images(runs: Sequence[Path], options: dict[str, Any]) -> None:
    """Say which runs' images are not shown, since only received runs name their folders."""
    if options["image_folder"] is None:
        tell_withheld_images(map(read_manifest, runs), "--image-folder")


def make_page(
    runs: Sequence[LabelledRun],
    make_pictures: MakePictures,
    options: dict[str, Any],
    live: str | None = None,
) -> str:
    """The page of scored runs."""
    from migbench.reporting.html import gather, page, summarise

    title = options["title"] or " and ".join(run.label for run in runs)
    summary = summarise(
        runs,
        published=options["published"],
        difficulty=options["difficulty"],
        bootstrap=options["bootstrap"],
        seed=options["seed"],
        names=options["names"],
    )
    gallery = gather(
        runs, make_pictures, images=options["image_folder"], difficulty=options["difficulty"]
    )
    return page(title, summary, gallery, live=live)
