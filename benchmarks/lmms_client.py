"""lmms-eval as a client: its own command line, its model ``async_openai``, a task of our questions.

It runs in an environment of its own, whose interpreter is named. Whatever goes wrong inside, it
ends with status 0: `check` says whether everything was answered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

TASK = "migbench_client_cost"

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1",
}


@dataclass(frozen=True)
class Switches:
    """How lmms-eval is set: further model arguments, and what it reads from the environment."""

    arguments: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def _tuned(**environment: str) -> Switches:
    """Every image encoded once, and questions left in the order of their image sets.

    As it comes, lmms-eval keeps 256 encoded images and orders questions by their texts.
    """
    kept = {"LMMS_IMAGE_PATH_CACHE_MAX_ITEMS": "4096"}
    return Switches(",prefix_aware_queue=False", kept | environment)


SWITCHES = {
    "as it comes": Switches(),
    "tuned, PNG": _tuned(),
    "tuned, BMP": _tuned(LMMS_IMAGE_ENCODE_FORMAT="BMP"),
    "tuned, lossy JPEG": _tuned(LMMS_IMAGE_ENCODE_FORMAT="JPEG"),
}
"""PNG, what it sends unless told otherwise, and BMP are lossless; BMP is the quickest such format
that it can write, of three quarters more bytes, and not every server takes it."""


def command(
    python: str, switches: Switches, url: str, data: Path, out: Path, count: int, concurrency: int
) -> list[str]:
    """How to send the first ``count`` requests, ``concurrency`` at once; ``env`` sets and execs."""
    environment = _OFFLINE | {"HF_HOME": str(out / "cache")} | switches.environment
    return [
        *("env", *(f"{name}={value}" for name, value in environment.items())),
        *(python, "-m", "lmms_eval", "--model=async_openai"),
        f"--model_args=model_version=served,base_url={url},api_key=none,num_cpus={concurrency}"
        + switches.arguments,
        *(f"--tasks={TASK}", f"--include_path={data / 'lmms_task'}", f"--limit={count}"),
        *(f"--output_path={out}", "--log_samples"),
    ]


def check(out: Path, count: int) -> None:
    """Raise RuntimeError unless ``count`` answers, all of the null server's, were stored."""
    stored = [
        json.loads(line)["answered"]
        for path in out.rglob(f"*_samples_{TASK}.jsonl")
        for line in path.read_text().splitlines()
    ]
    if stored != [1.0] * count:
        raise RuntimeError(f"stored {len(stored)} of {count} answers, {sum(stored):.0f} good ones")
