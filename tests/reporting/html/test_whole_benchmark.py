"""Two real models' answers to all targets, as one page: the benchmark of pages runs on it too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.watched import Open

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "benchmarks" / "report_page.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.is_file(), reason="benchmarks/ is not in the source distribution"
)


def test_the_page_of_everything(shared: Path, tmp_path: Path, open_page: Open) -> None:
    annotations = shared / "mig_bench" / "revised_MIG_bench.json"
    page = tmp_path / "page.html"
    record = tmp_path / "record.json"
    options = ("--rounds=1", f"--keep={page}", f"--json={record}")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(shared / "real_outputs"), str(annotations), *options],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(record.read_text())
    assert found["targets"] == 4276
    assert found["size, MB"] == pytest.approx(page.stat().st_size / 1e6)
    assert found["size, MB"] < 25
    # How long anything took is not looked at.
    assert all(found[name] > 0 for name in ("make, s", "first paint, s", "filter, CPU ms"))

    opened = open_page(page, "view=gallery&task=region")
    assert opened.page.inner_text("#count") == "1,203 of 4,276 targets, 499 image sets"
    # No image is here: placeholders are square, and have the boxes all the same.
    frame = opened.page.locator(".card .asked .frame").first
    box = frame.bounding_box()
    assert box is not None
    assert box["width"] == pytest.approx(box["height"], abs=1)
    assert frame.locator(".placeholder").is_visible()
    assert frame.locator(".truth, .predicted").count() == 3
    assert opened.page.evaluate("document.querySelectorAll('.card > header').length") < 40
    opened.page.click('[data-view="compare"]')
    numbers = opened.page.locator(".matrix strong").all_inner_texts()
    assert sum(int(number.replace(",", "")) for number in numbers) == 4276
    for cell, number in zip(("both", "losses", "wins", "neither"), numbers, strict=True):
        opened.page.goto(page.as_uri() + f"#view=gallery&cell={cell}")
        opened.page.wait_for_function(
            "text => document.getElementById('count').textContent.startsWith(text)",
            arg=f"{number} of 4,276",
        )
