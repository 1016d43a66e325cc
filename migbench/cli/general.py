"""``migbench general``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from migbench.cli.model_options import chosen_model, model_options
from migbench.cli.options import ExistingFolder, json_option, lock_option
from migbench.cli.output import write_result
from migbench.cli.terminal import echo, echo_error
from migbench.integrations.lmms_eval.suites.chat_model import Watch
from migbench.integrations.lmms_eval.suites.runs import GeneralRun, measure, read_general_run
from migbench.integrations.lmms_eval.suites.suites import SUITES, Benchmark, choose
from migbench.integrations.lmms_eval.suites.tables import general_table
from migbench.reporting import tables


@click.command("general")
@model_options
@click.option(
    "--suite",
    "suites",
    type=click.Choice([*SUITES]),
    multiple=True,
    required=True,
    help="table2: several images; table3: one image; table4: RefCOCO. May be given several times.",
)
@click.option("--benchmarks", help="Only these columns: their keys, comma-separated.")
@click.option(
    "--data",
    type=ExistingFolder,
    help="A folder with one sub-folder a benchmark, each laid out as its set on the hub; without "
    "it, lmms-eval fetches what it can.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N questions of a task.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where answers and figures go."
)
@click.option(
    "--beside",
    type=ExistingFolder,
    multiple=True,
    help="Add the rows of an earlier --out; may be given several times.",
)
@click.option(
    "--format",
    "markup",
    type=click.Choice([*tables.FORMATS]),
    default="text",
    show_default=True,
    help="How to write the tables.",
)
@lock_option
@json_option
def command(
    suites: tuple[str, ...],
    benchmarks: str | None,
    data: Path | None,
    limit: int | None,
    out: Path,
    beside: tuple[Path, ...],
    markup: str,
    without_lock: bool,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Measure a model on the paper's other benchmarks, through lmms-eval's tasks.

    Any model of migbench will do. Every answer is stored as it arrives: the same command goes on.

    \b
    Examples:
      migbench general --model migician --suite table2 --data GENERAL --out results/general
      migbench general --model served --adapter openai --endpoint http://localhost:8000/v1 \\
        --dialect qwen2.5-vl --suite table4 --benchmarks refcoco_testA --out results/served-general
    """
    chosen = choose(suites, benchmarks.split(",") if benchmarks else ())
    others = {folder: read_general_run(folder) for folder in beside}
    generation = {
        name: options[name]
        for name in ("max_new_tokens", "temperature")
        if options[name] is not None
    }
    run = measure(
        chosen,
        chosen_model(options),
        out,
        data=data,
        limit=limit,
        generation=generation,
        watch=_bar,
        without_lock=without_lock,
    )
    if str(json_file) != "-":
        shown = _labelled({out: run} | others)
        written = [
            tables.FORMATS[markup](general_table(suite, shown, [*set_of(suite, chosen)]))
            for suite in dict.fromkeys(suites)
        ]
        echo("\n\n".join(written))
    write_result(json_file, run)
    unmeasured = [each for each in chosen if run.benchmarks[each.key].figure is None]
    for each in unmeasured:
        echo_error(f"{each.name}: {run.benchmarks[each.key].error}")
    if unmeasured:
        echo("migbench: the same command asks only these again", err=True)
    return 1 if unmeasured else 0


def set_of(suite: str, chosen: tuple[Benchmark, ...]) -> list[Benchmark]:
    """Those of the chosen benchmarks that belong to a suite."""
    return [each for each in chosen if each in SUITES[suite]]


def _labelled(runs: dict[Path, GeneralRun]) -> dict[str, GeneralRun]:
    """The runs by their models' names, with the folder's where that is not enough."""
    names = [run.model.name for run in runs.values()]
    return {
        f"{run.model.name} ({folder.name})"
        if names.count(run.model.name) > 1
        else run.model.name: run
        for folder, run in runs.items()
    }


def _bar(benchmark: Benchmark) -> Watch:
    """A progress bar on a terminal, for one benchmark."""
    bar = tqdm(desc=benchmark.name, unit="question", disable=None, file=sys.stderr)

    def watch(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return watch
