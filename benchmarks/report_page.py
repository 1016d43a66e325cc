"""What a page of the whole benchmark takes: to make, to open, and to filter.

    python benchmarks/report_page.py REAL_OUTPUTS ANNOTATIONS

Two models' raw answers, in a folder of the released evaluator's files for each, become runs, and
the runs a page, by the command line and without images. A headless chromium opens
it from the disk. Filtering is measured from a click on a filter to the frame that shows its result.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import measured, recorded, table

if TYPE_CHECKING:
    from playwright.sync_api import Page

MIGBENCH = (sys.executable, "-m", "migbench")
PROFILES = {"migician": "migician", "qwen2_vl": "qwen2-vl-7b"}
"""Folders of answers, and whose they are."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
GOALS = {
    "make, s": 10.0,
    "make, CPU s": None,
    "size, MB": 25.0,
    "first paint, s": 1.5,
    "open the gallery, ms": None,
    "filter, ms": 200.0,
    "filter, worst, ms": 200.0,
    "filter, CPU ms": None,
    "search, ms": 200.0,
    "search, worst, ms": 200.0,
}
"""What each figure is to be below of, where something is promised. Medians, but for the worst."""

STEP = """async (click) => {
  const before = performance.now();
  (new Function(click))();
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - before;
}"""


def make(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The runs, and the page from them."""
    runs = []
    for name, profile in PROFILES.items():
        runs.append(str(folder / profile))
        measured(
            [*MIGBENCH, "import", "released", str(options.answers / name), "--annotations",
             str(options.annotations), "--profile", profile, "--out", runs[-1]],
            folder / "import.err",
        )  # fmt: skip
    page = folder / "page.html"
    used = measured([*MIGBENCH, "report", *runs, "--out", str(page)], folder / "report.err")
    if options.keep:
        shutil.copy(page, options.keep)
    return {
        "make, s": used.wall_seconds,
        "make, CPU s": used.cpu_seconds,
        "peak, MB": used.peak_mb,
        "size, MB": page.stat().st_size / 1e6,
        **look(page, options.rounds),
    }


FILTERS = (
    *(("task", task) for task in ("region", "diff", "region", "diff")),
    *(("outcome", "miss"), ("run", "0"), ("images", "3"), ("outcome", "miss")),
)
"""Clicked one after another; a second click on one takes it back."""
WORDS = ("t", "tr", "truck", "white truck", "")


def look(page: Path, rounds: int) -> dict[str, Any]:
    """Open the page anew some times."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is needed (Debian: apt-get install chromium)")
    paints, opens, filters, used, searches = [], [], [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for _ in range(rounds):
            opened = browser.new_page(viewport={"width": 1400, "height": 1000})
            opened.goto(page.as_uri(), wait_until="load")
            paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            opened.wait_for_function(f"{paint} > 0")
            paints.append(opened.evaluate(paint) / 1000)
            opens.append(
                opened.evaluate(STEP, "document.querySelector('[data-view=gallery]').click()")
            )
            clock = Clock(opened)
            for name, value in FILTERS:
                before = clock.milliseconds()
                click = f"document.getElementById('{name}-{value}').click()"
                filters.append(opened.evaluate(STEP, click))
                used.append(clock.milliseconds() - before)
            for words in WORDS:
                typed = (
                    "const box = document.getElementById('search');"
                    f"box.value = {words!r}; box.dispatchEvent(new Event('input'))"
                )
                searches.append(opened.evaluate(STEP, typed))
            data = "JSON.parse(document.getElementById('data').textContent)"
            targets = opened.evaluate(f"{data}.targets.length")
            opened.close()
        browser.close()
    return {
        "targets": targets,
        "first paint, s": statistics.median(paints),
        "open the gallery, ms": statistics.median(opens),
        "filter, ms": statistics.median(filters),
        "filter, worst, ms": max(filters),
        "filter, CPU ms": statistics.median(used),
        "search, ms": statistics.median(searches),
        "search, worst, ms": max(searches),
    }


class Clock:
    """What a page's main thread has computed, whatever else the machine was doing."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def milliseconds(self) -> float:
        """CPU time until now."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(each["value"] for each in metrics if each["name"] == "TaskDuration")


def show(record: dict[str, Any]) -> str:
    """The table."""
    rows = [
        [name, f"{record[name]:.1f}", "" if goal is None else f"{goal:g}"]
        for name, goal in GOALS.items()
    ]
    return table(["Figure", "Measured", "Goal: below"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", type=Path, help="folder of the models' folders of answers")
    parser.add_argument("annotations", type=Path, help="the annotation file answered")
    parser.add_argument("--rounds", type=int, default=3, help="how often the page is opened")
    parser.add_argument("--keep", type=Path, help="copy the page to this file")
    parser.add_argument("--json", type=Path, help="write the record to this file")
    options = parser.parse_args(arguments)
    record = recorded("report_page", options, make)
    print(f"{record['targets']:,} targets, 2 runs")
    print(show(record))


if __name__ == "__main__":
    main()
