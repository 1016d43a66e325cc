"""``--config`` and ``--save-config``: what a command line says, as a YAML file of its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from migbench.cli.options import ExistingFile, together
from migbench.errors import UsageError
from migbench.util.files import replaced
from migbench.util.yaml_files import read_yaml

_NOT_KEPT = frozenset({"config", "save-config", "dry-run", "help", "debug"})
_ARGUMENTS = "migbench.arguments"


class ConfigurableCommand(click.Command):
    """A command whose options can stand in a file: it remembers what was typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; kept as it was typed, for `save_config`."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def _read_config(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Make the file's values the defaults of this call."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **_defaults(context.command, path)}
    return path


config_options = together(
    click.option(
        "--config",
        type=ExistingFile,
        is_eager=True,  # Before the options whose defaults it gives.
        expose_value=False,
        callback=_read_config,
        metavar="RUN.yaml",
        help="Take options from this file; what the command line says goes before it.",
    ),
    click.option(
        "--save-config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="RUN.yaml",
        help="Write the options of this call into a file for --config.",
    ),
)


def save_config(context: click.Context, path: Path) -> None:
    """Write the options that were given, in a file or on the command line, and no defaults."""
    parser = context.command.make_parser(context)
    typed, _, _ = parser.parse_args(list(context.meta[_ARGUMENTS]))
    given = {**(context.default_map or {}), **typed}
    kept = {
        name: _as_yaml(option, given[option.name])
        for name, option in _options(context.command).items()
        if option.name in given and name not in _NOT_KEPT
    }
    with replaced(path) as partial:
        text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        partial.write_text(f"# migbench {context.info_name} --config {path.name}\n{text}", "utf-8")


def _defaults(command: click.Command, path: Path) -> dict[str, Any]:
    options = _options(command)
    defaults: dict[str, Any] = {}
    for name, value in read_yaml(path).items():
        option = options.get(name)
        if option is None or name in _NOT_KEPT:
            raise UsageError(
                f"{path}: migbench {command.name} has no option --{name} that a file may hold"
            )
        if value is None:
            continue
        if option.multiple and not isinstance(value, list):
            value = [value]
        if not option.multiple and isinstance(value, list | dict):
            raise UsageError(f"{path}: {name}: --{name} takes one value")
        assert option.name is not None
        defaults[option.name] = value
    return defaults


def _options(command: click.Command) -> dict[str, click.Option]:
    """The options by their long names."""
    found: dict[str, click.Option] = {}
    for option in command.params:
        if isinstance(option, click.Option):
            for flag in option.opts:
                if flag.startswith("--"):
                    found[flag.removeprefix("--")] = option
    return found


def _as_yaml(option: click.Option, value: Any) -> Any:
    """What was typed, numbers as numbers."""
    if isinstance(value, list | tuple):
        return [_as_yaml(option, each) for each in value]
    numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
    return yaml.safe_load(value) if numeric and isinstance(value, str) else value
