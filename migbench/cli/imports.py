"""``migbench import``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from migbench.asking.evaluators import EVALUATORS
from migbench.cli.model_options import chosen_dialect, dialect_options
from migbench.cli.options import (
    ExistingFile,
    ExistingFolder,
    lock_option,
    scale_option,
    together,
)
from migbench.cli.terminal import echo_line
from migbench.data.annotations import Annotations, read_annotations
from migbench.integrations.lmms_eval.logs import read_logs
from migbench.models.resolving import Model, Overrides, resolve_model
from migbench.runs.importing import Imported, read_jsonl, read_released, store_import

import_options = together(
    click.option(
        "--annotations", required=True, type=ExistingFile, help="The annotation file answered."
    ),
    click.option("--profile", "--model", required=True, help="The model: a profile, or any name."),
    dialect_options,
    scale_option,
    click.option(
        "--out", required=True, type=click.Path(path_type=Path), help="The run folder to make."
    ),
    lock_option,
)


@click.group("import")
def command() -> None:
    """Turn answers that exist already into a run, to be scored like any other."""


@command.command("released")
@click.argument("folder", type=ExistingFolder)
@import_options
def released(folder: Path, **options: Any) -> int:
    """Import a FOLDER of the released evaluator's output files, one a task.

    \b
    Example:
      migbench import released outputs/ --annotations MIG_data.json \\
        --profile migician --out results/migician
    """
    return _import(folder, read_released, options)


@command.command("jsonl")
@click.argument("file", type=ExistingFile)
@import_options
def jsonl(file: Path, **options: Any) -> int:
    """Import a FILE of JSON lines: an instance's "id" or "index", and the "response".

    \b
    Example:
      migbench import jsonl answers.jsonl --annotations MIG_data.json \\
        --profile my-model --dialect qwen3-vl --out results/mine
    """
    return _import(file, read_jsonl, options)


@command.command("lmms-eval")
@click.argument("logs", type=click.Path(exists=True, path_type=Path))
@import_options
def lmms_eval(logs: Path, **options: Any) -> int:
    """Import the samples below LOGS, a folder or file, that lmms-eval logged of migbench's tasks.

    \b
    Example:
      migbench import lmms-eval logs/ --annotations MIG_data.json \\
        --profile migician --out results/migician
    """
    model, annotations = _model(options), _annotations(options)
    evaluator, answers = read_logs(logs, annotations, model)
    return _store(answers, model, annotations, logs, options, evaluator)


def _import(
    source: Path,
    reader: Callable[[Path, Annotations], Iterator[Imported]],
    options: dict[str, Any],
) -> int:
    model, annotations = _model(options), _annotations(options)
    answers = reader(source, annotations)
    return _store(answers, model, annotations, source, options)


def _model(options: dict[str, Any]) -> Model:
    overrides = Overrides(dialect=chosen_dialect(options))
    if overrides.dialect is not None:
        # Answers that exist need no adapter: any name will do, as long as the dialect is declared.
        overrides = Overrides(dialect=overrides.dialect, adapter="imported")
    return resolve_model(options["profile"], overrides)


def _annotations(options: dict[str, Any]) -> Annotations:
    return read_annotations(options["annotations"], options["scale"])


def _store(
    answers: Iterable[Imported],
    model: Model,
    annotations: Annotations,
    source: Path,
    options: dict[str, Any],
    evaluator: str = "polling",
) -> int:
    count = store_import(
        answers,
        model,
        annotations,
        options["out"],
        str(source),
        evaluator,
        without_lock=options["without_lock"],
    )
    # Tasks that no answer is about are not asked for, and yet belong to the benchmark.
    questions = sum(1 for _ in EVALUATORS[evaluator](annotations.instances))
    echo_line(f"{count:,} of {questions:,} answers imported; next: migbench score {options['out']}")
    return 0
