"""Packaged checkpoints are loaded only where their files are the ones that were measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from migbench.messages import AdapterError
from model_adapters.checkpoints import folder_or_hub_id, packaged_folder, write_sums


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("a card may be mended")
    write_sums(folder)
    return tmp_path


def test_an_unchanged_one_is_found(packaged: Path) -> None:
    (packaged / "small" / "README.md").write_text("mended")
    assert packaged_folder("small", packaged) == packaged / "small"


def test_one_changed_byte_is_named(packaged: Path) -> None:
    (packaged / "small" / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(AdapterError, match=r"model\.safetensors is not the file"):
        packaged_folder("small", packaged)


def test_a_missing_file_is_named(packaged: Path) -> None:
    (packaged / "small" / "config.json").unlink()
    with pytest.raises(AdapterError, match=r"config\.json cannot be read"):
        packaged_folder("small", packaged)


@pytest.mark.parametrize("name", ["large", "..", "../small", ""])
def test_another_name_is_refused_with_the_known_ones(packaged: Path, name: str) -> None:
    with pytest.raises(AdapterError, match="there is small"):
        packaged_folder(name, packaged)


def test_one_that_was_left_out_says_where_it_is(
    packaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = packaged / "wheel"
    (wheel / "small").mkdir(parents=True)
    shutil.copy(packaged / "small" / "SHA256SUMS", wheel / "small")
    with pytest.raises(AdapterError, match=r"in a clone of migbench alone.*--model CLONE/"):
        packaged_folder("small", wheel)
    monkeypatch.setenv("MIGBENCH_CHECKPOINTS", str(packaged))
    assert packaged_folder("small", wheel) == packaged / "small"


def test_the_miniature_is_packaged_and_whole() -> None:
    folder = Path(folder_or_hub_id("packaged:migician-mini"))
    assert (folder / "config.json").is_file()
    size = (folder / "model.safetensors").stat().st_size
    assert size <= 15_000_000, "at most 15 MB in 16 bits"
