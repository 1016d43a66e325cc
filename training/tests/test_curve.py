"""The picture of a training: drawn where matplotlib is installed, said where it is not."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from migtrain.miniature.metrics import METRICS, append_metrics, draw_curve


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    path = tmp_path / METRICS
    append_metrics(path, {"step": 1, "loss": 3.0})
    append_metrics(path, {"step": 2, "loss": 2.0})
    append_metrics(path, {"step": 2, "acc@0.5": 25.0, "tasks": {"diff": 50.0, "region": 0.0}})
    return path


def test_without_matplotlib_no_picture_is_drawn(
    diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    assert not draw_curve(diary, diary.with_name("curve.png"))
    assert not diary.with_name("curve.png").exists()


def test_loss_and_accuracies_are_drawn(diary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure: Any = mock.MagicMock()
    module: Any = ModuleType("matplotlib.figure")
    module.Figure = mock.Mock(return_value=figure)
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    assert draw_curve(diary, diary.with_name("curve.png"))
    axes = figure.subplots.return_value
    (losses,) = axes.plot.call_args_list
    assert losses.args == ((1, 2), (3.0, 2.0))
    drawn = {call.kwargs["label"]: call.args for call in axes.twinx().plot.call_args_list}
    assert drawn == {
        "diff": ((2,), (50.0,)),
        "region": ((2,), (0.0,)),
        "mean of the tasks": ([2], [25.0]),
    }
    figure.savefig.assert_called_once()
