"""``migbench data``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from migbench.cli.options import FolderOrFile, image_options, json_option, scale_option
from migbench.cli.output import write_result
from migbench.cli.terminal import echo, echo_line
from migbench.data import Progress
from migbench.data.annotations import read_annotations
from migbench.data.image_check import Fault, ImageReport
from migbench.data.images import Images, locate_data
from migbench.data.inspection import Report, check
from migbench.data.statistics import Statistics, TaskStatistics, count
from migbench.tasks import load_tasks
from migbench.util.plain_table import plain_table

if TYPE_CHECKING:
    from migbench.mini import Split

SHOWN = 10
"""How many findings of a kind are printed; the JSON holds all."""

NewFolder = click.Path(path_type=Path, file_okay=False)


@click.group("data")
def command() -> None:
    """Check, describe, download or render the data set."""


@command.command("check")
@click.argument("data", type=FolderOrFile)
@image_options("--images", help="Folder of the images, if it is not the data's own.")
@click.option("--decode", is_flag=True, help="Read every pixel, not the headers alone; slower.")
@scale_option
@json_option
def check_command(
    data: Path, images: Images, decode: bool, scale: float | None, json_file: Path | None
) -> int:
    """Check DATA, a folder or an annotation file: records, boxes, duplicates, images.

    Ends with status 2 where no run can be made of it, and with 1 where some models cannot be shown
    all of its images. An annotation file without any of its images is no fault: baselines and
    stored answers do not need them.

    \b
    Examples:
      migbench data check MIG
      migbench data check MIG/MIG_data.json --images /elsewhere --decode
    """
    location = locate_data(data, images)
    required = images is not None or data.is_dir()
    with _progress_bar("Images") as progress:
        report = check(location, scale, images_required=required, decode=decode, progress=progress)
    if str(json_file) != "-":
        show_report(report)
    write_result(json_file, report)
    if not report.usable:
        return 2
    return 1 if report.limited_because else 0


@command.command("stats")
@click.argument("data", type=FolderOrFile)
@scale_option
@json_option
def stats_command(data: Path, scale: float | None, json_file: Path | None) -> int:
    """Count what DATA, a folder or an annotation file, holds; images are not needed.

    \b
    Example:
      migbench data stats MIG/MIG_data.json
    """
    statistics = count(read_annotations(locate_data(data).annotations, scale))
    if str(json_file) != "-":
        show_statistics(statistics)
    write_result(json_file, statistics)
    return 0


@command.command("download")
@click.argument("folder", metavar="DIR", type=NewFolder)
@click.option("--revision", help="Commit, tag or branch of the data set; the newest without it.")
@json_option
def download_command(folder: Path, revision: str | None, json_file: Path | None) -> int:
    """Download the real data set (about 1 GB) into DIR and unpack its images there.

    After an interruption the same command goes on where it stopped.

    \b
    Example:
      migbench data download MIG --revision main
    """
    from migbench.data.download import download

    with _progress_bar("Unpacking") as progress:
        fetched = download(folder, revision, progress=progress)
    if str(json_file) != "-":
        echo_line(f"{fetched.annotations}: version {fetched.version}")
        echo(f"{fetched.images} images, {fetched.unpacked} of them unpacked now")
        echo(f"{fetched.repository} at {fetched.revision}; next: migbench data check {folder}")
    write_result(json_file, fetched)
    return 0


@command.command("mini")
@click.argument("folder", metavar="DIR", type=NewFolder)
@click.option(
    "--per-task",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Instances a task.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--split",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="The two come from disjoint seeds.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["benchmark", "conversations"]),
    default="benchmark",
    show_default=True,
    help="conversations: also as training records, in the format of MGrounding-630k.",
)
def mini_command(folder: Path, per_task: int, seed: int, split: Split, layout: str) -> int:
    """Render MIG-Mini, a small drawn replica of the ten tasks, into DIR.

    The same options give the same bytes.

    \b
    Examples:
      migbench data mini MINI --per-task 20 --seed 1
      migbench data mini TRAINING --per-task 500 --split train --format conversations
    """
    from migbench.mini import render

    file = render(folder, per_task=per_task, seed=seed, split=split)
    if layout == "conversations":
        from migbench.mini.conversations import write_conversations

        written = write_conversations(file, seed=seed)
        echo(f"{written}; next: train on it (training/README.md)")
        return 0
    echo(f"{file}; next: migbench run --model whole-image --data {folder} --out RUN")
    return 0


def show_report(report: Report) -> None:
    """Print what a check found, worst last, and the verdict."""
    _show_source(report)
    echo(f"Boxes in 0-{report.scale:g}\n")
    rows = [
        [key, _column(key), each.instances, "–" if each.expected is None else each.expected]
        for key, each in report.tasks.items()
    ]
    expected = [each.expected for each in report.tasks.values() if each.expected is not None]
    rows.append(["all", "", report.instances, sum(expected) if expected else "–"])
    echo(plain_table(rows, ["Task", "Column", "Instances", "Expected"], numbers=True) + "\n")
    if report.images is None:
        echo("Images: none here, not checked (--images DIR says where they are)")
    else:
        _show_images(report.images)
    _show(
        "Defective boxes",
        [
            f"record {each.index}, {each.id}: {', '.join(each.defects)} "
            f"({', '.join(f'{edge:g}' for edge in each.box)})"
            for each in report.defective_boxes
        ],
    )
    _show(
        "Duplicates",
        [
            f"record {each.index} repeats record {each.repeats}, "
            f"with {'the same' if each.same_box else 'another'} box"
            for each in report.duplicates
        ],
    )
    _show(
        "Image sets that show an image twice",
        [f"record {each.index}, {each.id}: {each.image}" for each in report.repeated_images],
    )
    _show(
        "Id collisions",
        [
            f"records {each.collides_with} and {each.index} differ, but not in the id {each.id}"
            for each in report.id_collisions
        ],
    )
    _show(
        "Malformed records",
        [f"record {each.index} (line {each.line}): {each.message}" for each in report.malformed],
    )
    reasons = "; ".join(report.unusable_because)
    echo()
    if report.usable and report.limited_because:
        reasons = "; ".join(report.limited_because)
        echo_line(f"Usable, but not with every model: {reasons}")
    else:
        echo_line("Usable" if report.usable else f"Not usable: {reasons}")


def _show_images(images: ImageReport) -> None:
    how = "all pixels read" if images.decoded else "headers read; --decode reads all pixels"
    echo_line(f"Images: {images.found} of {images.named} are in {images.folder} ({how})")
    for fault in reversed(Fault):
        found = [each.message for each in images.findings if each.fault is fault]
        if found:
            _show(f"{fault.capitalize()} images", found)


def _show(title: str, findings: Sequence[str]) -> None:
    echo(f"{title}: {len(findings) or 'none'}")
    for finding in findings[:SHOWN]:
        echo_line(f"  {finding}")
    if len(findings) > SHOWN:
        echo(f"  … and {len(findings) - SHOWN} more (--json FILE lists all)")


def show_statistics(statistics: Statistics) -> None:
    """Print the counts, one task a line."""
    _show_source(statistics)
    echo()
    rows = [_row(key, each) for key, each in [*statistics.tasks.items(), ("all", statistics.all)]]
    header = ["Task", "Column", "Instances", "Image sets", "Clusters", "Images an instance"]
    echo(plain_table(rows, header, align=("left", "left", *["right"] * 4), numbers=True))
    echo(
        "\nImage sets: in brackets, told apart by the reference box in the question."
        "\nClusters: groups of image sets that share an image; the unit of standard errors.\n"
    )
    shown = statistics.images_shown
    images = [
        ["by polling, every instance anew", shown.polling],
        ["each image set once", shown.image_sets],
        ["each distinct beginning of an image set once", shown.prefixes],
        ["each image once", shown.images],
    ]
    echo(plain_table(images, ["Images shown to a model", ""], numbers=True))


def _row(key: str, each: TaskStatistics) -> list[Any]:
    sets = str(each.image_sets)
    if each.referred_sets != each.image_sets:
        sets += f" ({each.referred_sets})"
    images = str(each.fewest_images)
    if each.most_images != each.fewest_images:
        images += f"-{each.most_images}"
    return [key, _column(key), each.instances, sets, each.clusters, images]


def _show_source(source: Report | Statistics) -> None:
    echo_line(f"{source.annotations}: version {source.version}, content {source.content_sha256}")


def _column(key: str) -> str:
    return next((spec.column for spec in load_tasks() if spec.key == key), "")


@contextmanager
def _progress_bar(title: str) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    with tqdm(desc=title, unit="image", leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
