"""The command line: one module a command, each a thin layer over the library. Only here is printed.

Exit status: 0 done, 1 done but incomplete (model errors are left), 2 bad usage or input, 70 a fault
of migbench's own, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from io import TextIOWrapper

import click

from migbench.cli.stopping import TERMINATED, Termination, terminable
from migbench.cli.terminal import echo, echo_error, indented
from migbench.errors import MigbenchError
from migbench.models.credentials import keep_secrets_in_use
from migbench.util.suggestions import did_you_mean

OWN_FAULT = 70
"""EX_SOFTWARE of sysexits.h."""

COMMANDS = {
    "run": "Ask a model the benchmark's questions, and score it.",
    "ask": "Ask a model one question about images of your own.",
    "doctor": "Check how a model writes boxes, before a run is wasted on it.",
    "merge": "Join the shards of a run that several jobs have made.",
    "score": "Score a stored run, under one of the protocols.",
    "table": "Set runs, and the published rows, in the paper's layouts.",
    "compare": "Set runs side by side: accuracy, wins and losses, cost.",
    "report": "Write one page that shows every answer and box.",
    "view": "Serve that page to this machine alone, with whole images.",
    "plot": "Draw runs for print, as SVG, PDF or PNG.",
    "export": "Write a run as COCO, FiftyOne, CSV, Parquet or model-index.",
    "general": "Measure a model on the other benchmarks, Tables 2 to 4.",
    "verify": "Tell whether a stored run is what was stored.",
    "rerun": "Repeat a stored run, and compare the answers.",
    "published": "List, show and audit the published tables.",
    "difficulty": "Split the instances by difficulty, from four baseline runs.",
    "import": "Turn answers that exist already into a run.",
    "data": "Check, describe, download or render the data set.",
    "tasks": "List the tasks.",
    "models": "List the known models, adapters and dialects.",
}
"""Command names and their one-line help; their modules are loaded when they are called."""

MOVED = {"train": "migtrain run", "merge-weights": "migtrain merge"}
"""Commands of training's own distribution (``training/``), by the names that they had here."""


class LazyCommands(click.Group):
    """Loads a command's module only when it is called, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, from the module of that name."""
        if cmd_name in MOVED:
            raise click.UsageError(
                f"No such command '{cmd_name}'. Training is a distribution of its own: "
                f"{MOVED[cmd_name]} (training/README.md)."
            )
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("import", "imports").replace("-", "_")
        module = importlib.import_module(f"migbench.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same, with the likely name where there is none."""
        name = args[0]
        if name in COMMANDS or name in MOVED or name.startswith("-"):
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"No such command {name!r}{did_you_mean(name, COMMANDS)}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands from the table above, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="migbench")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Score vision-language models on MIG-Bench, multi-image grounding.

    \b
    The main job, with a model of yours:
      migbench data download MIG
      migbench run --model migician --data MIG --out results/migician
      migbench table results/migician --published

    \b
    Without data or a GPU, on a rendered miniature:
      migbench data mini MINI
      migbench run --model whole-image --data MINI --out results/guess

    Exit status: 0 done, 1 done but incomplete, 2 bad usage, 70 a fault of migbench's own, 130
    stopped by Ctrl-C, 143 by SIGTERM.
    """
    context.obj = debug


_LEAVING_SECONDS = 5.0
"""How long threads may go on once the program was stopped and all is written."""


class _Terminal(logging.Handler):
    """Warnings, tracebacks included, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        echo(indented(self.format(record)), err=True)


def _leave_behind(status: int) -> None:
    """End the program also where threads of an adapter's own go on: Python waits for these."""

    def leave() -> None:
        while not _is_python_ending():
            time.sleep(0.5)
        time.sleep(_LEAVING_SECONDS)
        os._exit(status)

    threading.Thread(target=leave, name="leaving", daemon=True).start()


def _is_python_ending() -> bool:
    """Whether Python waits for threads already, and for nothing else: no more work is taken."""
    with ThreadPoolExecutor(1) as threads:
        try:
            threads.submit(int)
        except RuntimeError:
            return True
    return False


def main() -> None:
    """Run the command line; errors meant for the user are printed without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # A file's name need not be UTF-8.
    keep_secrets_in_use({})
    log = logging.getLogger()
    if not log.hasHandlers():
        log.addHandler(_Terminal(logging.WARNING))
    with terminable() as termination:
        status = _status(termination)
    sys.exit(status)


def _status(termination: Termination) -> int:
    """Run the command; the exit status, all errors having been told."""
    try:
        status = cli.main(prog_name="migbench", standalone_mode=False)
    except MigbenchError as error:
        if "--debug" in sys.argv:
            echo(traceback.format_exc(), err=True, nl=False)
        echo_error(error)
        return 2
    except click.Abort as error:
        # Of click, what the end of input raised within a command looks like Ctrl-C.
        if isinstance(error.__cause__, EOFError):
            return _own_fault()
        return _stopped(termination)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo(shown.getvalue(), err=True, nl=False)
        return 2
    except KeyboardInterrupt:
        return _stopped(termination)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        # A full disk, a folder without permission: the system's own words name file and reason.
        echo_error(error)
        return 2
    except Exception:
        return _own_fault()
    return status if isinstance(status, int) else 0


def _stopped(termination: Termination) -> int:
    echo("\nmigbench: stopped; the same command goes on from here", err=True)
    status = TERMINATED if termination.received else 130
    _leave_behind(status)
    return status


def _own_fault() -> int:
    """Tell of an error that nobody foresaw: a mistake in migbench, whatever was given to it."""
    echo(traceback.format_exc(), err=True, nl=False)
    echo_error(
        "this is a fault of migbench's own; what was stored is not affected. Please report it with "
        "the lines above"
    )
    return OWN_FAULT
