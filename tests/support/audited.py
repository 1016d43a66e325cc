"""What a stretch of a test opens, executes and connects to, as the interpreter's audit tells it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Audit:
    """Paths that were opened, and addresses that were connected to."""

    opened: list[Path] = field(default_factory=list)
    connected: list[object] = field(default_factory=list)

    def below(self, folder: Path) -> list[Path]:
        """What was opened in a folder, or the file itself."""
        return [path for path in self.opened if path.is_relative_to(folder)]


_current: list[Audit] = []
_installed: list[bool] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _current:
        return
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str | bytes):
        _current[-1].opened.append(Path(os.fsdecode(arguments[0])).resolve())
    elif event == "socket.connect":
        _current[-1].connected.append(arguments[1])


@contextmanager
def audited() -> Iterator[Audit]:
    """Record while the block runs; a hook cannot be taken out again, so there is one for all."""
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    audit = Audit()
    _current.append(audit)
    try:
        yield audit
    finally:
        _current.remove(audit)
