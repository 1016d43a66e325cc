"""Runs to draw, made once."""

from __future__ import annotations

import pytest
from support.plot_runs import Folder, make_runs


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make_runs(tmp_path_factory.mktemp("runs"))
