"""One row a target, as CSV or Parquet: the table that `migbench score --instances` writes too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from migbench.reporting.export import Wishes
from migbench.reporting.instance_table import write_instances
from migbench.scoring.scored_run import ScoredRun


def write(scored: ScoredRun, out: Path, wishes: Wishes) -> Sequence[str]:
    """Write the file ``out``, whose ending says which of the two it is."""
    write_instances(out, scored)
    return [f"{len(scored.samples)} rows, one a target; docs/export.md has the columns."]
