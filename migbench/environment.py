"""Where and with what a run is made: versions, commit, machine. Goes into the manifest."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from migbench.run_store import Environment, Manifest
from migbench.settings import Settings

_PACKAGES = (
    "aiohttp",
    "numpy",
    "pillow",
    "lmms-eval",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
)


def new_manifest(
    settings: Settings, questions: int, *, images: Path | None = None, origin: str = "run"
) -> Manifest:
    """The manifest of a run that starts now, here."""
    return Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="running",
        settings=settings,
        environment=current_environment(),
        images=str(images.resolve()) if images else None,
        questions=questions,
        origin=origin,
    )


def current_environment() -> Environment:
    """The process's surroundings."""
    packages = {name: found for name in _PACKAGES if (found := _version(name))}
    return Environment(
        migbench=_version("migbench") or "unknown",
        commit=_commit(),
        packages=packages,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The clone's commit, with ``+`` for uncommitted changes; None for an installed package."""
    clone = Path(__file__).parent.parent
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
