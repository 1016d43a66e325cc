"""The command line ``migtrain``: one module a command, loaded when it is called.

Exit status: 0 done, 1 done but incomplete, 2 bad usage or input, 70 a fault of migtrain's own, 130
stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import importlib
import sys
import traceback

import click

from migbench.cli.stopping import TERMINATED, Termination, terminable
from migbench.cli.terminal import echo, indented
from migbench.errors import MigbenchError

COMMANDS = {
    "check": "Check conversation records before they are trained on.",
    "prepare": "Write records as LLaMA-Factory reads them, in the paper's shares.",
    "run": "Train a stage of the paper's model, and score the result.",
    "merge": "Average the weights of checkpoints.",
    "ablate": "Write the data settings of Tables 6 and 9, or train them in miniature.",
    "miniature": "Train the packaged miniature, by its frozen recipes.",
}
"""Command names and their one-line help."""
OWN_FAULT = 70
"""EX_SOFTWARE of sysexits.h."""


class LazyCommands(click.Group):
    """Loads a command's module only when it is called, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names, in the order in which they are needed."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, from the module of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"migtrain.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands from the table above, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="migtrain")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.", expose_value=False)
def cli() -> None:
    """Train multi-image grounding models, and merge their checkpoints.

    What comes out is scored by migbench: migbench run --model CHECKPOINT --data MIG --out RUN

    Exit status: 0 done, 1 done but incomplete, 2 bad usage, 70 a fault of migtrain's own, 130
    stopped by Ctrl-C, 143 by SIGTERM.
    """


def main() -> None:
    """Run the command line; errors meant for the user are printed without a traceback."""
    with terminable() as termination:
        status = _status(termination)
    sys.exit(status)


def _status(termination: Termination) -> int:
    """Run the command; the exit status, all errors having been told."""
    try:
        status = cli.main(prog_name="migtrain", standalone_mode=False)
    except (MigbenchError, OSError) as error:
        if "--debug" in sys.argv:
            echo(traceback.format_exc(), err=True, nl=False)
        echo(f"migtrain: {indented(str(error))}", err=True)
        return 2
    except click.Abort:
        return _stopped(termination)
    except click.ClickException as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        return _stopped(termination)
    except Exception:
        echo(traceback.format_exc(), err=True, nl=False)
        echo("migtrain: this is a fault of migtrain's own; please report these lines", err=True)
        return OWN_FAULT
    return status if isinstance(status, int) else 0


def _stopped(termination: Termination) -> int:
    echo("\nmigtrain: stopped", err=True)
    return TERMINATED if termination.received else 130
