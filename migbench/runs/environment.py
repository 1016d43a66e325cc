"""Where and with what a run is made: versions, commit, machine. Goes into the manifest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from migbench.models.adapters import package_of, serving_settings
from migbench.models.credentials import refuse_secrets_of
from migbench.models.resolving import Model
from migbench.runs.fingerprints import (
    fingerprint_of_adapter,
    fingerprint_of_checkpoint,
    fingerprint_of_profile,
)
from migbench.runs.manifest import Environment, Manifest
from migbench.runs.ownership import mark_of
from migbench.runs.settings import Settings
from migbench.util.input_files import refuse_other_names
from migbench.util.plain_text import encodable
from migbench.util.redaction import redact

_PACKAGES = (
    "accelerate",
    "aiohttp",
    "flash-attn",
    "huggingface-hub",
    "lmms-eval",
    "msgspec",
    "numpy",
    "peft",
    "pillow",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "vllm",
)
"""Whose versions may decide what a model says, or how it is scored."""

_DRIVER = Path("/proc/driver/nvidia/gpus")


def new_manifest(
    settings: Settings,
    questions: int,
    *,
    images: Path | None = None,
    origin: str = "run",
    name: str | None = None,
) -> Manifest:
    """The manifest of a run that starts now, here.

    Raises `UsageError` where a setting holds a secret, which no manifest may.
    """
    refuse_secrets_of(settings.model)
    if images:
        refuse_other_names(images)
    environment = msgspec.structs.replace(
        current_environment(), profile=fingerprint_of_profile(settings.model)
    )
    serving: list[str] = []
    if origin == "run":
        serving = sorted(serving_settings(settings.model.adapter))
        environment = _with_model(environment, settings.model)
    manifest = Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="running",
        settings=settings,
        environment=environment,
        name=encodable(name) if name else None,
        serving=serving,
        images=str(images.resolve()) if images else None,
        questions=questions,
        origin=encodable(origin),
    )
    return msgspec.structs.replace(manifest, mark=mark_of(manifest))


def current_environment() -> Environment:
    """The process's surroundings."""
    packages = {name: found for name in _PACKAGES if (found := _version(name))}
    return Environment(
        migbench=_version("migbench") or "unknown",
        commit=_commit(),
        packages=packages,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        command=[encodable(redact(each)) for each in (Path(sys.argv[0]).name, *sys.argv[1:])],
        folder=encodable(str(Path.cwd())),
        accelerators=[*_accelerators()],
    )


def _with_model(environment: Environment, model: Model) -> Environment:
    """The surroundings with what runs the model, a third party's package too."""
    package = package_of(model.adapter)
    known = environment.packages
    return msgspec.structs.replace(
        environment,
        packages=known if package is None else dict(sorted((known | package).items())),
        adapter=fingerprint_of_adapter(model),
        checkpoint=fingerprint_of_checkpoint(model),
    )


def _accelerators() -> Iterator[str]:
    for path in sorted(_DRIVER.glob("*/information")):
        for line in path.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "Model":
                yield value.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The clone's commit, with ``+`` for uncommitted changes; None for an installed package."""
    clone = Path(__file__).parents[2]
    if not (clone / ".git").exists():
        return None
    commit = _git(clone, "rev-parse", "--short=12", "HEAD")
    changed = _git(clone, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if commit and changed else commit


def _git(clone: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(clone), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
