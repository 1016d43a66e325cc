"""A run to export, made once, with whatever can become of a target."""

from __future__ import annotations

import pytest
from support.export_runs import Exportable, make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Exportable:
    return make_run(tmp_path_factory.mktemp("export"))
