"""Editing a manifest as its maker could: sealed as if it had been written so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from migbench.runs.hash_chain import manifest_digest


def edit_manifest(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``run.json``, and seal it anew."""
    path = run / "run.json"
    content = json.loads(path.read_text())
    change(content)
    content["seal"]["manifest"] = manifest_digest(json.dumps(content).encode())
    path.write_text(json.dumps(content))
