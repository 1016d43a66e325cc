"""``migbench table``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from migbench import tables
from migbench.benchmark import score_run
from migbench.cli.options import ExistingFolder, json_option, stored_run_options
from migbench.cli.output import exit_status, write_result
from migbench.run_store import Run
from migbench.scoring import Scores


@click.command("table")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True)
@click.option("--published", is_flag=True, help="Add the published rows of Tables 1 and 11.")
@click.option(
    "--format",
    "layout",
    type=click.Choice([*tables.FORMATS]),
    default="text",
    show_default=True,
    help="How to write the table.",
)
@stored_run_options
@json_option
def command(
    runs: tuple[Path, ...],
    published: bool,
    layout: str,
    corrections: str,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Set RUNS in the layout of the paper's Table 1.

    Figures are ranked only against figures on the same annotation file.

    \b
    Example:
      migbench table results/migician results/guess --published --format markdown
    """
    scored = [
        score_run(Run(run), corrections=corrections == "profile", **options).scores for run in runs
    ]
    if str(json_file) != "-":
        click.echo(tables.FORMATS[layout](table_of(runs, scored, published=published)))
    write_result(json_file, dict(zip(map(str, runs), scored, strict=True)))
    return max(map(exit_status, scored))


def table_of(runs: tuple[Path, ...], scored: list[Scores], *, published: bool) -> tables.Table:
    """The runs, one section for every annotation file, and the published rows if wanted."""
    labels = _labels(runs, scored)
    rows = [tables.run_row(scores, label) for label, scores in zip(labels, scored, strict=True)]
    sections = [
        tables.Section(f"On {files} annotations", tuple(r for r in rows if r.annotations == files))
        for files in dict.fromkeys(row.annotations for row in rows)
    ]
    notes = ["Acc@0.5 in percent; * is the best of those on the same annotations."]
    notes += tables.run_notes(zip(labels, scored, strict=True))
    if published:
        sections += tables.published_sections()
        notes += tables.PUBLISHED_NOTES
    return tables.Table(tuple(sections), tuple(notes))


def _labels(runs: tuple[Path, ...], scored: list[Scores]) -> list[str]:
    """The models' names, with the folder's where two runs are of one model."""
    names = [scores.model for scores in scored]
    return [
        f"{name} ({run.name})" if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]
