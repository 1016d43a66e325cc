"""Fixtures of training's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from model_adapters import tiny_qwen2_vl

settings.register_profile("migtrain", deadline=None, derandomize=True)
settings.load_profile("migtrain")


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    """No test reaches a hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Qwen2-VL of 0.6 million parameters."""
    return tiny_qwen2_vl.build(tmp_path_factory.mktemp("checkpoints") / "tiny")
