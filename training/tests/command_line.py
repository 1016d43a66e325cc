"""Calling the two command lines in the test's own process, as fast as functions."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from unittest import mock

import migbench.cli
import migtrain.cli


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def migtrain_command(*arguments: object) -> Done:
    """Run ``migtrain`` with these arguments."""
    return _call(migtrain.cli.main, "migtrain", *arguments)


def migbench_command(*arguments: object) -> Done:
    """Run ``migbench`` with these arguments."""
    return _call(migbench.cli.main, "migbench", *arguments)


def _call(main: Callable[[], None], *arguments: object) -> Done:
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        mock.patch.object(sys, "argv", list(map(str, arguments))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    return Done(status, out.getvalue(), err.getvalue())
