"""What mkdocs does beside reading docs/: pages that lie elsewhere, and one page a command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from migbench.cli import COMMANDS, cli

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "performance.md": "benchmarks/performance.md",
}
"""Pages of the site that lie outside of docs/: their names there, and in the repository."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and those made from the command line's own help."""
    made = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in ELSEWHERE.items()}
    made["commands.md"] = _overview()
    made |= {f"commands/{name}.md": _command(name) for name in COMMANDS}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#|commands/)([^)#\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links between the repository's pages to where these pages are in the site."""
    return _LINK.sub(_in_site, markdown)


def _in_site(link: re.Match[str]) -> str:
    text, target, anchor = link.groups(default="")
    path = target.removeprefix("../")
    names = {path: name for name, path in ELSEWHERE.items()}
    name = names.get(path) or path.removeprefix("docs/")
    if path in names or (ROOT / "docs" / name).exists():
        return f"[{text}]({name}{anchor})"
    return text  # A folder or a file of code is named and not linked.


def _overview() -> str:
    rows = "".join(
        f"| [`migbench {name}`](commands/{name}.md) | {help} |\n" for name, help in COMMANDS.items()
    )
    return f"# Commands\n\n| command | what it does |\n| --- | --- |\n{rows}"


def _command(name: str) -> str:
    """A command's own help, and that of its sub-commands, as a terminal shows it."""
    context = click.Context(cli, info_name="migbench", max_content_width=100)
    command = cli.get_command(context, name)
    assert command is not None
    return f"# migbench {name}\n" + "".join(_helps(command, name, context))


def _helps(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield f"\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            one = command.get_command(context, inner)
            assert one is not None
            yield f"\n## {context.command_path} {inner}\n"
            yield from _helps(one, inner, context)
