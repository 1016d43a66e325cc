"""Whether a run is this user's own, so that the places that it names may be used without asking.

A stored run is data. Whoever made it chose the image folder, the adapter's file, the checkpoint,
the settings (an address, a variable's name) that stand in its manifest. Where a command would load,
ask, send or show what they lead to, it takes them from the run only if the user has named them
before, on this machine: a run that `migbench run` makes bears a mark, a keyed hash of its places.
The key lies in the user's configuration folder, readable by the user alone, and never leaves it. A
run without a right mark (made by somebody else, or elsewhere, or edited since, or by a version
without marks) counts as received.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from migbench.runs.manifest import Manifest

_KEY_BYTES = 32


def key_file() -> Path:
    """Where the key of this user's marks lies."""
    return Path(click.get_app_dir("migbench")) / "run-marks.key"


def mark_of(manifest: Manifest) -> str | None:
    """The mark of a run whose places the user names now; None where no key can be kept."""
    key = _read_key() or _new_key()
    return _mark(key, manifest) if key else None


def is_own(manifest: Manifest) -> bool:
    """Whether the run was made by this user, with this key, and names what it named then."""
    if manifest.mark is None or (key := _read_key()) is None:
        return False
    return hmac.compare_digest(_mark(key, manifest).encode(), manifest.mark.encode())


def _mark(key: bytes, manifest: Manifest) -> str:
    model, environment = manifest.settings.model, manifest.environment
    places = {
        "adapter": model.adapter,
        "adapter_file": environment.adapter,
        "annotations": manifest.settings.annotations.path,
        "checkpoint": model.checkpoint,
        "folder": environment.folder,
        "images": manifest.images,
        "settings": model.settings,
    }
    content = msgspec.json.encode(places, order="sorted")
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def _read_key() -> bytes | None:
    try:
        key = key_file().read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _new_key() -> bytes | None:
    """A key that is kept; of several processes that make one at once, all get the first."""
    path = key_file()
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            with suppress(FileExistsError):
                os.link(partial, path)
        finally:
            partial.unlink()
    except OSError:
        return None  # A home that cannot be written to: the run counts as received.
    return _read_key()
