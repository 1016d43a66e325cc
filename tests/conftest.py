"""Fixtures of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from migbench.data.annotations import Annotations, read_annotations

# A machine that is busy with something else makes no law wrong.
settings.register_profile("migbench", deadline=None)
settings.load_profile("migbench")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the reference material (shared/) does not lie beside this repository")
    return folder


@pytest.fixture(scope="session")
def original(shared: Path) -> Annotations:
    """The paper's annotation file, as published."""
    return read_annotations(shared / "mig_bench" / "MIG_data.json")


@pytest.fixture(scope="session")
def revised(shared: Path) -> Annotations:
    """UniVG-R1's revision of it, as published."""
    return read_annotations(shared / "mig_bench" / "revised_MIG_bench.json")
