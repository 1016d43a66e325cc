"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Qwen2-VL in the published file layout."""
    pytest.importorskip("torch")
    from model_adapters import tiny_qwen2_vl

    return tiny_qwen2_vl.build(tmp_path_factory.mktemp("checkpoints") / "tiny")
