"""A page that a viewer serves follows its run, and shows images in full size."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from support.report_runs import SIZES, make_data, make_run, served, truth
from support.watched import Open

from migbench.runs.answers_file import ANSWERS


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
            "() => document.querySelector('#focus .stage > figure img').naturalWidth > 0"
        )
        name = (shown.get_attribute("alt") or "").split("/")[-1]
        size = shown.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert tuple(size) == ((1600, 1200) if name == "plain.png" else SIZES[name])
        assert all(url.startswith((server.url, "data:")) for url in page.requests)


def test_images_are_shown_as_they_are_stored(tmp_path: Path, open_page: Open) -> None:
    """Boxes count in stored pixels, so that a note on how to turn an image is not followed."""
    data = make_data(tmp_path / "data")
    stored = Image.new("RGB", SIZES["plain.png"], "red")
    stored.paste("blue", (100, 0, 200, 150))
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by a quarter.
    path = tmp_path / "data" / "images" / "plain.png"
    stored.save(path, "JPEG", exif=exif, quality=95)
    make_run(tmp_path / "run", data, truth)
    place = next(
        each.id for each in data.instances if each.images[each.target_image].endswith("plain.png")
    )
    with served(tmp_path / "run") as server:
        page = open_page(server.url, f"view=gallery&at={place}&full=1&image=1")
        page.page.keyboard.press("b")
        for selector in ("#focus .stage > figure img", "#focus .thumbs img"):
            shown = page.page.locator(selector).first
            page.page.wait_for_function(
                "() => [...document.images].every(image => image.naturalWidth)"
            )
            picture = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
            assert abs(picture.width / picture.height - 200 / 150) < 0.1
            left = picture.getpixel((picture.width // 4, picture.height // 2))
            right = picture.getpixel((3 * picture.width // 4, picture.height // 2))
            assert isinstance(left, tuple)
            assert isinstance(right, tuple)
            assert left[0] > 200 > 60 > left[2]
            assert right[2] > 200 > 60 > right[0]
