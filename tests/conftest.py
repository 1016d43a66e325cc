"""Fixtures of the whole suite."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import settings
from PIL import Image
from support.tiny_chat import Generate, Vision

from migbench.data.annotations import Annotations, read_annotations
from migbench.messages import ImageFile
from migbench.models.resolving import resolve_model
from migbench.runs.importing import read_released, store_import
from migbench.util.redaction import forget_secrets
from model_adapters import tiny_qwen2_vl
from model_adapters.transformers.adapter import TransformersAdapter

# A machine that is busy with something else makes no law wrong. The same examples every time, so
# that a change is what makes a test fail; `make test-deep` explores, and says how to repeat it.
settings.register_profile("migbench", deadline=None, derandomize=True)
settings.register_profile("deep", deadline=None, max_examples=4000, print_blob=True)
settings.load_profile("migbench")


def pytest_configure() -> None:
    """Let programs under test be interrupted, also where the suite's own parent ignores SIGINT.

    An ignored signal stays ignored in every child; one with a handler is the child's to decide.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-crashes",
        action="store_true",
        help="End commands at every place where they change files, not at a few (make test-crash).",
    )


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Print the figures that tests have kept, where they were asked for."""
    if config.getoption("--all-crashes"):
        for report in terminalreporter.getreports("passed"):
            for name, figure in report.user_properties:
                if name == "figures":
                    terminalreporter.write_line(str(figure))


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


@pytest.fixture(scope="session")
def published_runs(
    shared: Path, revised: Annotations, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The published raw answers of two models, as runs that no test writes into."""
    folder = tmp_path_factory.mktemp("published")
    for name, profile in {"migician": "migician", "qwen2_vl": "qwen2-vl-7b"}.items():
        answers = read_released(shared / "real_outputs" / name, revised)
        store_import(answers, resolve_model(profile), revised, folder / name, name)
    return {name: folder / name for name in ("migician", "qwen2_vl")}


@pytest.fixture(autouse=True)
def no_secrets() -> Iterator[None]:
    """No test knows another one's secrets: they belong to the process."""
    forget_secrets()
    yield
    forget_secrets()


@pytest.fixture(scope="session", autouse=True)
def this_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A configuration folder of the tests' own: the key of their runs' marks lies in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


# The tiny checkpoint, and images to show it


@pytest.fixture(scope="session", autouse=True)
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    return tiny_qwen2_vl.build(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    """Eight images of odd sizes, each brighter than the one before."""
    folder = tmp_path_factory.mktemp("images")
    sizes = [(60, 90), (200, 50), (97, 131), (56, 56), (33, 301), (128, 72), (84, 84), (150, 149)]
    files = []
    for number, size in enumerate(sizes):
        shade = 30 * number
        path = folder / f"{number}.png"
        Image.new("RGB", size, (shade, 255 - shade, shade)).save(path)
        files.append(ImageFile(path.name, path))
    return files


@pytest.fixture
def adapter(checkpoint: Path) -> Iterator[TransformersAdapter]:
    adapter = TransformersAdapter(str(checkpoint), batch_size=4)
    yield adapter
    asyncio.run(adapter.close())


@pytest.fixture
def generate(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Generate:
    return Generate(monkeypatch)


@pytest.fixture
def vision(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Vision:
    return Vision(monkeypatch)
