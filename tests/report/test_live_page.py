"""A page that a viewer serves follows its run, and shows images in full size."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from report_runs import SIZES, make_data, make_run, served, truth
from watched import Open

from migbench.run_store import ANSWERS


def test_answers_appear_as_they_arrive(tmp_path: Path, open_page: Open) -> None:
    from playwright.sync_api import expect

    data = make_data(tmp_path / "data")
    large = tmp_path / "data" / "images" / "plain.png"
    Image.new("RGB", (1600, 1200), "white").save(large)
    run = tmp_path / "run"
    make_run(run, data, truth, status="running")
    answers = run / ANSWERS
    lines = answers.read_bytes().splitlines(keepends=True)
    answers.write_bytes(b"".join(lines[:3]))
    with served(run) as server:
        page = open_page(server.url, "view=gallery&outcome=hit&sort=best")
        counted = "text => document.getElementById('count').textContent.startsWith(text)"
        page.page.wait_for_function(counted, arg="3 of 10")
        # Half a line, as where a writer is in the middle of it.
        answers.write_bytes(b"".join(lines[:7]) + lines[7][:20])
        page.page.wait_for_function(counted, arg="7 of 10")
        assert (page.state("sort"), page.state("outcome")) == ("best", "hit")
        # What stays on the page stays where it is, and is brought up to date.
        page.page.click("#chosen button")
        page.page.select_option("#sort", "set")
        last = page.page.locator(".card").nth(9)
        last.scroll_into_view_if_needed()
        expect(last.locator(".outcome")).to_have_text("not asked yet", timeout=60_000)
        place = page.page.evaluate("scrollY")
        answers.write_bytes(b"".join(lines))
        expect(last.locator(".outcome")).to_have_text("hit", timeout=60_000)
        assert page.page.evaluate("scrollY") == pytest.approx(place, abs=120)
        page.page.click('[data-view="summary"]')
        assert page.page.is_visible("#summary .warning")
        page.page.click('[data-view="gallery"]')
        page.page.locator(".card figure").first.click()
        shown = page.page.locator("#focus .stage > figure img")
        page.page.wait_for_function(
            "document.querySelector('#focus .stage > figure img').naturalWidth > 0"
        )
        name = (shown.get_attribute("alt") or "").split("/")[-1]
        size = shown.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert tuple(size) == ((1600, 1200) if name == "plain.png" else SIZES[name])
        assert all(url.startswith((server.url, "data:")) for url in page.requests)
