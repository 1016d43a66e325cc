"""``migtrain merge``."""

from __future__ import annotations

from pathlib import Path

import click

from migbench.cli.terminal import echo
from migbench.errors import UsageError
from migtrain.cli.options import ExistingFolder


@click.command("merge")
@click.argument("checkpoints", type=ExistingFolder, nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to make.")
@click.option(
    "--weights", metavar="W,W,…", help="How much each counts; without it they count the same."
)
def command(checkpoints: tuple[Path, ...], out: Path, weights: str | None) -> int:
    """Average the weights of CHECKPOINTS (folders of safetensors) into the checkpoint --out.

    Computed in float64 and rounded once, to the first one's types. Nothing is written where
    architectures or shapes differ, tensors are missing or a file is cut off.

    \b
    Examples:
      migtrain merge stage1/model stage2/model --out migician
      migtrain merge stage1/model stage2/model --weights 1,3 --out migician
    """
    from migtrain.merging import merge_weights

    merged = merge_weights(checkpoints, out, weights=_numbers(weights))
    echo(
        f"{merged.folder}: the mean of {len(checkpoints)} checkpoints, {merged.parameters:,} "
        f"numbers in {merged.tensors} tensors; next: migbench run --model {merged.folder} "
        "--data DATA --out RUN"
    )
    return 0


def _numbers(weights: str | None) -> list[float] | None:
    if weights is None:
        return None
    try:
        return [float(weight) for weight in weights.split(",")]
    except ValueError as error:
        raise UsageError(f"--weights {weights}: numbers with commas between them") from error
