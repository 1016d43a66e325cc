"""``migbench view``."""

from __future__ import annotations

import asyncio
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import click

from migbench.cli.options import ExistingFolder
from migbench.cli.report import make_page, page_options, score_runs, tell_unread_images
from migbench.cli.terminal import echo, echo_line


@click.command("view")
@click.argument("runs", type=ExistingFolder, nargs=-1, required=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Where to serve; 0 takes any port that is free.",
)
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@page_options
def command(runs: tuple[Path, ...], port: int, opens: bool, **options: Any) -> int:
    """Serve the page of RUNS to a browser on this machine, until Ctrl-C.

    It is the page that `migbench report` writes, with images in full size, and is renewed while
    runs are going. Nobody can reach it from another machine, nor without the whole address, which
    is another one every time.

    \b
    Example:
      migbench view results/migician results/qwen2-vl-7b --open
    """
    from migbench.reporting.html.viewer import Content, Viewer

    tell_unread_images(runs, options)
    content = Content(
        runs, lambda pictures, state: make_page(score_runs(runs, options), pictures, options, state)
    )
    content.page()  # What is wrong with the runs is said here and not in the browser.
    viewer = Viewer(content, port)
    with tempfile.TemporaryDirectory(prefix="migbench-") as folder:
        echo_line(f"{viewer.url} (Ctrl-C ends it)")
        if opens:
            _open(viewer.url, Path(folder))
        try:
            asyncio.run(viewer.serve())
        except KeyboardInterrupt:
            echo()
    return 0


def _open(url: str, private: Path) -> None:
    """Open an address in the browser by a file: every user can read a program's arguments."""
    page = private / "open.html"
    page.write_text(f'<meta http-equiv="refresh" content="0; url={url}">')
    webbrowser.open(page.as_uri())
