"""The command line ``migtrain``: one module a command, loaded when it is called.

Exit status: 0 done, 1 done but incomplete, 2 bad usage or input, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import importlib
import sys

import click

from migbench.cli.terminal import echo
from migbench.errors import MigbenchError

COMMANDS = {
    "merge": "Average the weights of checkpoints.",
    "miniature": "Train the packaged miniature, by its frozen recipes.",
}
"""Command names and their one-line help."""


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
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Train multi-image grounding models, and merge their checkpoints.

    What comes out is scored by migbench: migbench run --model CHECKPOINT --data MIG --out RUN

    Exit status: 0 done, 1 done but incomplete, 2 bad usage, 130 stopped.
    """
    context.obj = debug


def main() -> None:
    """Run the command line; errors meant for the user are printed without a traceback."""
    try:
        status = cli.main(prog_name="migtrain", standalone_mode=False)
    except (MigbenchError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        echo(f"migtrain: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        echo("\nmigtrain: stopped", err=True)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)
