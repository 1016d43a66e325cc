"""The one way to the terminal: whatever a command prints goes through here.

Nothing printed holds a secret in use, nor a character that controls a terminal.
"""

from __future__ import annotations

import shutil
import sys

import click

from migbench.util import escaping
from migbench.util.folding import paragraph
from migbench.util.redaction import redact


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print lines of text, on standard error with ``err``, and nothing that controls a terminal.

    What is made of names or messages from elsewhere is printed by `echo_line`, or has passed
    `escaping.visible` before: a line break in it would forge a line.
    """
    click.echo(escaping.terminal(redact(str(text))), err=err, nl=nl)


def echo_line(text: object, *, err: bool = False) -> None:
    """Print one line, whatever stands in the names and messages that it is made of."""
    click.echo(escaping.visible(redact(str(text))), err=err)


def echo_note(text: object) -> None:
    """Print one line, on a terminal as a paragraph that fits it."""
    click.echo(paragraph(escaping.visible(redact(str(text))), terminal_width()))


def terminal_width() -> int | None:
    """The columns of the terminal that is printed to (``COLUMNS`` says otherwise); else None."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def echo_json(json: str) -> None:
    """Print JSON for programs: the same values, and nothing that controls a terminal."""
    click.echo(escaping.json(redact(json)))


def echo_error(message: object) -> None:
    """Print what went wrong."""
    echo(f"migbench: {indented(str(message))}", err=True)


def indented(message: str) -> str:
    """A message whose first line alone begins where lines of ours do."""
    first, *others = message.split("\n")
    return "\n".join([first, *(line if line[:1] == " " else f"  {line}" for line in others)])
