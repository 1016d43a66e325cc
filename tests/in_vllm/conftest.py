"""A checkpoint, MIG-Mini and odd images; the engine, a server and transformers, to be asked."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from migbench.messages import ImageFile
from migbench.mini import render
from model_adapters import tiny_qwen2_vl
from model_adapters.openai.adapter import OpenAIAdapter
from model_adapters.transformers.adapter import TransformersAdapter
from model_adapters.vllm.adapter import VllmAdapter

ENGINE = {"enforce_eager": True, "block_size": 32, "gpu_memory_utilization": 0.2}
"""For a small model on a small machine that does other things besides."""

CONTEXT = 4096
MAX_IMAGES = 6


def pytest_configure() -> None:
    """Let runs be interrupted, also where the suite's own parent ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, kept from saying other bytes than printable ASCII.

    An untrained model says any bytes; those that are no text, engines write differently.
    """
    folder = tiny_qwen2_vl.build(tmp_path_factory.mktemp("checkpoints") / "tiny")
    tokenizer = tiny_qwen2_vl.make_tokenizer()
    unwanted = [token for token in range(256) if tokenizer.decode([token]) not in string.printable]
    weights = load_file(folder / "model.safetensors")
    # Tied to the output: the scores of these tokens are 0, and of a hundred others some is higher.
    weights["model.embed_tokens.weight"][unwanted] = 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=4)
    return folder


@pytest.fixture(scope="session")
def odd_images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageFile]:
    """Images of odd sizes, aspect ratios, modes and formats, by what is odd about them."""
    folder = tmp_path_factory.mktemp("odd")
    sizes = [(37, 211), (640, 48), (1, 1), (5, 3), (1100, 6), (29, 28), (400, 399), (1021, 757)]
    images = {f"{width}x{height}.png": picture(width, height) for width, height in sizes}
    plain = picture(150, 100)
    images |= {
        "photo.jpg": plain,
        "photo.webp": plain,
        "grey.png": plain.convert("L"),
        "palette.png": plain.convert("P"),
        "bits.png": plain.convert("1"),
        "cmyk.jpg": plain.convert("CMYK"),
    }
    for name, image in images.items():
        image.save(folder / name)
    return {name: ImageFile(name, folder / name) for name in images}


def picture(width: int, height: int) -> Image.Image:
    """A picture that no resizing, cropping or turning leaves as it was."""
    image = Image.linear_gradient("L").resize((width, height))
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    return Image.merge("RGB", (image, across, Image.eval(image, lambda value: 255 - value // 2)))


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.Runner]:
    """The one event loop that an engine lives in."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def server_process(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM server on loopback, still starting; gives its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "server.log"
    options = {
        "--model": str(checkpoint),
        "--served-model-name": "tiny",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": "float32",
        "--max-model-len": str(CONTEXT),
        "--limit-mm-per-prompt": f'{{"image": {MAX_IMAGES}}}',
        "--block-size": str(ENGINE["block_size"]),
        "--gpu-memory-utilization": str(ENGINE["gpu_memory_utilization"]),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
                *(word for option in options.items() for word in option),
                *("--enforce-eager", "--enable-prompt-tokens-details"),
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, "VLLM_NO_USAGE_STATS": "1"},
        )
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(60)


@pytest.fixture(scope="session")
def vllm(server_process: str, checkpoint: Path, loop: asyncio.Runner) -> Iterator[VllmAdapter]:
    """The engine; it starts while the server does."""
    adapter = VllmAdapter(
        str(checkpoint),
        dtype="float32",
        max_model_len=CONTEXT,
        max_images=MAX_IMAGES,
        engine_args=ENGINE,
    )
    yield adapter
    loop.run(adapter.close())


@pytest.fixture(scope="session")
def server(server_process: str, vllm: VllmAdapter) -> str:
    """The server's base URL, once it answers."""
    deadline = time.monotonic() + 180
    while True:
        try:
            urllib.request.urlopen(f"{server_process}/models", timeout=5).close()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return server_process


@pytest.fixture(scope="session")
def served(server: str, loop: asyncio.Runner) -> Iterator[OpenAIAdapter]:
    adapter = OpenAIAdapter(
        checkpoint="tiny", base_url=server, extra_body={"skip_special_tokens": False}
    )
    yield adapter
    loop.run(adapter.close())


@pytest.fixture(scope="session")
def transformers(checkpoint: Path, loop: asyncio.Runner) -> Iterator[TransformersAdapter]:
    adapter = TransformersAdapter(str(checkpoint), dtype="float32")
    yield adapter
    loop.run(adapter.close())
