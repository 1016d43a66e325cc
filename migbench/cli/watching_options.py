"""Options of commands that ask a model many questions: what is checked before, and waited for."""

from __future__ import annotations

import click

from migbench.cli.options import together
from migbench.runs.patience import PATIENCE
from migbench.runs.preflight import CHECKS
from migbench.runs.watchdog import SLOW_AFTER
from migbench.util.durations import duration_text, read_duration

watching_options = together(
    click.option(
        "--slow-after",
        type=click.FloatRange(min=0, min_open=True),
        default=SLOW_AFTER,
        show_default=True,
        metavar="SECONDS",
        help="Name requests that have been under way for longer than this.",
    ),
    click.option(
        "--patience",
        default=duration_text(PATIENCE).replace(" ", ""),
        show_default=True,
        metavar="DURATION",
        callback=lambda context, parameter, text: read_duration(text),
        help="How long to wait for a server that is down (90s, 10m, 2h) before the run stops.",
    ),
    click.option(
        "--skip-check",
        "skip_checks",
        multiple=True,
        type=click.Choice([*CHECKS]),
        help="Leave out a check before the start; may be given several times.",
    ),
    click.option("--debug", is_flag=True, help="Show the traceback of whatever an adapter raises."),
)
