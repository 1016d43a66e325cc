"""Running one process and counting what it used.

Keep the process that calls `measured` small: Linux counts its memory at the moment of the start
into the peak of the process that it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path

_TIME_LIMIT = 1800.0
"""Seconds after which a measured process is taken to hang, and killed, unless more are allowed."""


@dataclass(frozen=True)
class Usage:
    """What a process and those it waited for used; ``output`` is what it printed.

    ``started`` is the monotonic clock's time, which on Linux is the same in all processes.
    """

    started: float
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    output: str


def measured(
    command: Sequence[str],
    errors: Path,
    limit: float = _TIME_LIMIT,
    *,
    accepted: Container[int] = (0,),
) -> Usage:
    """Run a command to its end, in ``limit`` seconds; ``errors`` takes its stderr.

    Raises RuntimeError if its exit status is none of the ``accepted``.
    """
    started = time.monotonic()
    output = errors.with_suffix(".out")
    with errors.open("wb") as err, output.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        watch = threading.Timer(limit, process.kill)
        watch.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in accepted:
        last_words = errors.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}\n{last_words}")
    return Usage(
        started=started,
        cpu_seconds=used.ru_utime + used.ru_stime,
        wall_seconds=time.monotonic() - started,
        peak_mb=used.ru_maxrss / 1024,
        output=output.read_text(),
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain text table: the first column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def recorded(
    benchmark: str,
    options: argparse.Namespace,
    compare: Callable[[argparse.Namespace, Path], dict[str, object]],
) -> dict[str, object]:
    """Compare in a folder of its own; the record, written to ``options.json`` if that is given."""
    with tempfile.TemporaryDirectory(prefix="migbench-") as folder:
        found = compare(options, Path(folder))
    record: dict[str, object] = {
        "benchmark": benchmark,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **found,
    }
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return record
