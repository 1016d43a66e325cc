"""A page of what nobody would like to be answered: all of it is text, and the page stays usable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.command_line import migbench
from support.report_runs import make_data, make_run, small_records, truth
from support.watched import Open, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Locator

ATTACKS = (
    "</script><script>window.ran = 1</script>",
    '<img src=x onerror="window.ran = 2">',
    "<svg><script>window.ran = 3</script></svg>",
    "\"><b onmouseover='window.ran = 4'>bold</b>",
    "<!-- <script> ]]> &lt;b&gt; {{ 7 * 7 }} ${window.ran = 5}",
    "\u202egnirts desrever a \u2066(1,2),(3,4)",
    "line\u2028separators\u2029and \x00 controls \x1b[31m",
    "javascript:window.ran=6",
)
MODEL = "\u202e" + ATTACKS[1]
LONG = "<i>word</i> " * 90_000
"""More than a megabyte."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    records = [
        {**each, "question": f"{each['question']} {ATTACKS[place % len(ATTACKS)]}"}
        for place, each in enumerate(small_records())
    ]
    data = make_data(folder / "data", records)
    images = folder / "data" / "images"
    (images / "tall.png").write_bytes(b"GIF89a" + b"\0" * 20)
    (images / "wide.png").unlink()
    for name, answer in (
        ("attacks", lambda each: ATTACKS[each.index % len(ATTACKS)] + truth(each)),
        ("long", lambda each: LONG + truth(each) + LONG if each.index else "9" * 1_000_000),
    ):
        make_run(folder / name, data, answer)
    manifest = json.loads((folder / "attacks" / "run.json").read_text("utf-8"))
    manifest["settings"]["model"]["name"] = MODEL
    (folder / "attacks" / "run.json").write_text(json.dumps(manifest), "utf-8")
    out = folder / 'page "of" <b>.html'
    done = migbench(
        "report", folder / "attacks", folder / "long", "--title", ATTACKS[0], "--out", out
    )
    assert done.status == 0, done.err
    return out


def card_of(opened: Watched, place: int) -> Locator:
    """The card of the target at this place of the annotation file, in view."""
    target = opened.page.evaluate(
        "place => JSON.parse(document.getElementById('data').textContent).targets[place].id", place
    )
    card = opened.page.locator(f'.card[data-target="{target}"]')
    card.scroll_into_view_if_needed()
    card.locator("header").wait_for()
    return card


def test_nothing_runs_and_all_is_text(page: Path, open_page: Open) -> None:
    opened = open_page(page, "view=gallery")
    for place in range(10):
        card = card_of(opened, place)
        attack = ATTACKS[place % len(ATTACKS)]
        if attack.isascii() and attack.isprintable():
            assert attack in card.locator(".question").inner_text()
            assert card.locator(".answer").first.inner_text().startswith(attack)
        assert card.locator("script, .answer img, .answer b, .answer svg").count() == 0
    for view in ("compare", "summary"):
        opened.page.click(f'[data-view="{view}"]')
    assert opened.page.evaluate("window.ran") is None
    assert opened.page.title() == ATTACKS[0]
    assert opened.page.inner_text("h1") == ATTACKS[0]
    assert {url.split(":")[0] for url in opened.requests} <= {"file", "data"}


def test_a_models_name_is_shown_as_it_is(page: Path, open_page: Open) -> None:
    opened = open_page(page)
    labels = opened.page.locator("#summary .label").all_inner_texts()
    assert labels == [r"\u202e" + ATTACKS[1], "qwen2-vl-7b"]
    opened.page.click('[data-view="gallery"]')
    assert r"\u202e<img src=x" in opened.page.inner_text("#gallery .card")
    assert opened.page.evaluate("window.ran") is None


def test_characters_that_are_not_seen_are_shown(page: Path, open_page: Open) -> None:
    opened = open_page(page, "view=gallery&run=0")
    card = card_of(opened, 5)
    assert card.locator(".answer .unseen").all_inner_texts() == ["U+202E", "U+2066"]
    assert "gnirts desrever a" in card.locator(".answer").inner_text()
    card = card_of(opened, 6)
    shown = card.locator(".answer .unseen").all_inner_texts()
    assert shown == ["U+2028", "U+2029", "U+0000", "U+001B"]


def test_long_answers_are_cut_and_what_was_read_is_kept(page: Path, open_page: Open) -> None:
    assert page.stat().st_size < 1_000_000
    opened = open_page(page, "view=gallery&run=1")
    card = card_of(opened, 1)
    assert card.locator("mark").inner_text() == "(200,200),(600,700)"
    assert card.locator(".answer .gap").count() == 2
    card.locator("summary").click()
    assert "characters" in card.locator("details .note").inner_text()
    box = card.bounding_box()
    assert box is not None
    assert box["height"] < 1500
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 1280


def test_the_page_stays_usable(page: Path, open_page: Open) -> None:
    opened = open_page(page, "view=gallery")
    opened.page.fill("#search", "<svg><script>window.ran")
    assert opened.page.inner_text("#count").startswith("1 of 10")
    opened.page.fill("#search", "")
    opened.page.locator("#count").click()
    for key in ("j", "j", "f", "j", "k", "f"):
        opened.page.keyboard.press(key)
    assert opened.state("at") == opened.shown()[1]
    # Images that are none have a place of their own, with the boxes in it.
    placeholder = opened.page.locator(".card.current .asked .placeholder")
    assert placeholder.is_visible()
    assert opened.page.locator(".card.current .asked .truth").count() == 1


@pytest.mark.parametrize(
    "state",
    [
        "view=gallery&task=<script>,%00&at=nothing&iou=9-1&pair=5-x&sort=__proto__&image=-1&full=1",
        "view=nowhere&cell=constructor&q=%E0%A4%A",
        "%%%&&==",
    ],
)
def test_an_address_that_is_wrong_does_no_harm(page: Path, open_page: Open, state: str) -> None:
    opened = open_page(page, state)
    assert opened.page.evaluate("window.ran") is None
    opened.page.click('[data-view="gallery"]')
    opened.page.wait_for_selector("#gallery:not([hidden])")
