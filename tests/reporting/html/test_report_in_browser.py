"""The page in a browser: what is seen, filtered, compared and linked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.command_line import migbench
from support.report_runs import SIZES, beside, make_data, make_run, small_records, truth
from support.watched import Open, Watched

from migbench.data.annotations import Annotations, Instance
from migbench.reporting import palette

LINE = 2.5
"""Pixels across the line of a box."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def report(data: Annotations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: one hits even places and refuses one target, the other hits the first five."""
    folder = tmp_path_factory.mktemp("runs")

    def first(instance: Instance) -> str:
        if instance.index == 9:
            return "I'm sorry, I cannot find it."
        return beside(instance) if instance.index % 2 else truth(instance)

    make_run(folder / "first", data, first)
    make_run(
        folder / "second",
        data,
        lambda each: truth(each) if each.index < 5 else beside(each),
        strategy="cot",
    )
    out = folder / "report.html"
    done = migbench("report", folder / "first", folder / "second", "--out", out)
    assert done.status == 0, done.err
    return out


def count(page: Watched) -> int:
    return int(page.page.inner_text("#count").split(" of ")[0])


def tick(page: Watched, name: str, value: str) -> None:
    page.page.check(f'#facets input[name="{name}"][value="{value}"]')


def test_a_page_asks_for_nothing_but_itself(report: Path, open_page: Open) -> None:
    page = open_page(report)
    for view in ("gallery", "compare", "summary"):
        page.page.click(f'[data-view="{view}"]')
        page.page.wait_for_selector(f"#{view}:not([hidden])")
    page.page.click('[data-view="gallery"]')
    page.page.wait_for_function("() => [...document.images].every(image => image.naturalWidth)")
    assert page.page.locator("#cards img").count() >= 2
    asked = [url for url in page.requests if not url.startswith("data:")]
    assert asked == [report.as_uri()]


def test_linked_images_are_shown(data: Annotations, tmp_path: Path, open_page: Open) -> None:
    make_run(tmp_path / "run", data, truth)
    out = tmp_path / "with blanks & # 100%.html"
    migbench("report", tmp_path / "run", "--images", "link", "--out", out)
    page = open_page(out, "view=gallery")
    page.page.wait_for_function("document.images.length > 4")
    page.page.wait_for_function("() => [...document.images].every(image => image.naturalWidth)")
    folder = out.with_name("with blanks & # 100%_files").as_uri()
    images = [url for url in page.requests if url.endswith(".jpg")]
    assert images
    assert all(url.startswith(folder + "/") for url in images)


def test_the_policy_forbids_what_the_page_does_not_do(report: Path, open_page: Open) -> None:
    page = open_page(report)
    refused = page.page.evaluate(
        """async () => {
          const refused = [];
          addEventListener("securitypolicyviolation",
            event => refused.push(event.violatedDirective));
          try { await fetch("https://example.invalid/"); } catch {}
          const image = new Image();
          image.src = "https://example.invalid/a.png";
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(image, script);
          await new Promise(done => setTimeout(done, 200));
          return [refused, window.ran];
        }"""
    )
    page.complaints.clear()
    assert set(refused[0]) >= {"connect-src", "img-src", "script-src-elem"}
    assert refused[1] is None


def test_filters_leave_what_they_say(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery")
    assert count(page) == len(page.shown()) == 10
    tick(page, "task", "diff")
    assert all(name.startswith("diff") for name in page.shown())
    assert count(page) == len(page.shown()) == 4
    promised = page.page.inner_text('#facets label:has(input[value="refused"]) .n')
    tick(page, "outcome", "refused")
    assert count(page) == len(page.shown()) == int(promised) == 1
    assert "I'm sorry" in page.page.inner_text(".card .answer")
    assert (page.state("task"), page.state("outcome")) == ("diff", "refused")
    page.page.click("#chosen .all")
    assert count(page) == 10
    tick(page, "images", "2")
    assert count(page) == 4


def test_runs_are_chosen_by_how_they_were_asked(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery")
    assert page.page.locator(".card").first.locator(".verdict").count() == 2
    tick(page, "strategy", "cot")
    card = page.page.locator(".card").first
    assert card.locator(".verdict").count() == 1
    assert card.locator(".steps .answer").all_inner_texts() == [
        "a red boat",
        "<|box_start|>(100,200),(500,700)<|box_end|>",
    ]
    assert "sees images 1, 2, 3" in card.locator(".steps li").first.inner_text()
    assert card.locator("mark").all_inner_texts() == ["(100,200),(500,700)"]


def test_the_iou_range_is_a_filter(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery&run=0")
    page.page.locator("#iou-low").fill("0.5")
    assert count(page) == 5
    assert page.state("iou") == "0.5-1"
    page.page.locator("#iou-high").fill("0.2")
    assert (page.state("iou"), count(page)) == ("0.2-0.2", 0)
    assert page.page.is_visible(".nothing")


def test_search_looks_into_questions_and_answers(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery")
    page.page.keyboard.press("/")
    page.page.keyboard.type("blue kite")
    assert count(page) == 1
    assert page.page.inner_text(".card .question em") == "a blue kite"
    page.page.fill("#search", "CANNOT find")
    assert count(page) == 1
    page.page.fill("#search", "no such words")
    assert count(page) == 0


def test_sorting_by_iou(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery&run=1")
    overlap = """() => {
      const data = JSON.parse(document.getElementById("data").textContent);
      const found = new Map(data.targets.map(target => [target.id, target.results[1].iou]));
      return [...document.querySelectorAll(".card")].map(card => found.get(card.dataset.target));
    }"""
    page.page.select_option("#sort", "worst")
    worst = page.page.evaluate(overlap)
    assert (len(worst), len(set(worst))) == (10, 2)
    assert worst == sorted(worst)
    page.page.select_option("#sort", "best")
    assert page.page.evaluate(overlap) == sorted(worst, reverse=True)


def test_keys_walk_through_targets(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery")
    order = page.shown()
    keys = page.page.keyboard
    for key, place in (("j", 0), ("j", 1), ("ArrowRight", 2), ("k", 1), ("ArrowLeft", 0), ("k", 0)):
        keys.press(key)
        assert page.state("at") == order[place]
        assert page.page.get_attribute(".card.current", "data-target") == order[place]
    keys.press("f")
    assert page.page.is_visible("#focus")
    assert page.page.inner_text("#focus .place") == "1 of 10"
    keys.press("j")
    assert (page.state("at"), page.page.inner_text("#focus .place")) == (order[1], "2 of 10")
    shown = "#focus .stage > figure"
    assert page.page.get_attribute(shown, "data-image") == "2"
    keys.press("ArrowDown")
    assert page.page.get_attribute(shown, "data-image") == "3"
    keys.press("ArrowDown")
    assert page.page.get_attribute(shown, "data-image") == "1"
    keys.press("b")
    assert not page.page.is_visible("#focus .boxes")
    keys.press("Escape")
    assert not page.page.is_visible("#focus")
    assert page.state("at") == order[1]
    keys.press("?")
    assert page.page.is_visible("#help")


def test_every_state_has_a_link(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery")
    tick(page, "task", "common_object")
    tick(page, "run", "1")
    page.page.fill("#search", "object")
    page.page.select_option("#sort", "best")
    page.page.keyboard.press("Escape")
    page.page.locator("#count").click()
    for key in ("j", "j", "f"):
        page.page.keyboard.press(key)
    seen = [page.shown(), page.page.inner_text("#focus"), page.page.url]
    page.page.reload()
    page.page.wait_for_selector("#focus[open]")
    assert [page.shown(), page.page.inner_text("#focus"), page.page.url] == seen
    page.page.keyboard.press("f")
    assert page.page.input_value("#search") == "object"
    assert page.page.input_value("#sort") == "best"
    assert page.page.is_checked('input[name="task"][value="common_object"]')
    # The browser's own way back leads through what was looked at.
    page.page.goto(report.as_uri() + "#view=summary")
    page.page.click('[data-view="gallery"]')
    page.page.go_back()
    page.page.wait_for_selector("#summary:not([hidden])")


def test_siblings_stand_together_and_lead_to_each_other(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery&task=common_object")
    assert page.page.locator(".card.goes-on").count() == 2
    links = page.page.locator(".card").first.locator(".sibling")
    # Group grounding asks about the same images.
    assert links.count() == 4
    assert links.first.get_attribute("aria-current") == "true"
    links.nth(3).click()
    group = [name for name in page.shown() if name.startswith("group_grounding")]
    assert [page.state("at")] == group


@pytest.mark.parametrize("cell", ["both", "wins", "losses", "neither"])
def test_the_matrix_filters_the_gallery(report: Path, open_page: Open, cell: str) -> None:
    expected = {
        "both": {0, 2, 4},
        "wins": {1, 3},
        "losses": {6, 8},
        "neither": {5, 7, 9},
    }[cell]
    page = open_page(report, "view=compare")
    link = page.page.locator(f'.matrix a[data-cell="{cell}"]')
    assert int(link.locator("strong").inner_text()) == len(expected)
    link.click()
    page.page.wait_for_selector("#gallery:not([hidden])")
    assert count(page) == len(expected)
    places = page.page.evaluate(
        """() => {
          const data = JSON.parse(document.getElementById("data").textContent);
          return [...document.querySelectorAll(".card")].map(card =>
            data.targets.findIndex(target => target.id === card.dataset.target));
        }"""
    )
    assert set(places) == expected


def test_a_dot_of_the_comparison_opens_its_target(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=compare")
    canvas = page.page.locator("canvas")
    box = canvas.bounding_box()
    assert box is not None
    # Targets that both runs hit exactly are in the upper right corner.
    margin = 14 * box["width"] / 640
    page.page.mouse.click(box["x"] + box["width"] - margin, box["y"] + margin)
    page.page.wait_for_selector("#focus[open]")
    assert page.page.locator("#focus .iou b").all_inner_texts() == ["1.000", "1.000"]


def contrast(page: Watched, selector: str) -> float:
    """WCAG's contrast of an element's text with the nearest background that is not transparent."""
    found: float = page.page.eval_on_selector(
        selector,
        """element => {
          const parse = text => text.match(/[0-9.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
            .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
          const ink = parse(getComputedStyle(element).color);
          let under = element, paper = [0, 0, 0, 0];
          while (under && paper.length > 3 && paper[3] === 0) {
            paper = parse(getComputedStyle(under).backgroundColor);
            under = under.parentElement;
          }
          const [high, low] = [light(ink), light(paper)].sort((a, b) => b - a);
          return (high + 0.05) / (low + 0.05);
        }""",
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_the_dark_and_in_the_light(
    report: Path, open_page: Open, scheme: str
) -> None:
    page = open_page(report, "view=gallery", color_scheme=scheme)
    paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = sum(int(part) for part in paper[4:-1].split(",")) < 3 * 128
    assert is_dark == (scheme == "dark")
    for selector in (".question", ".card .id", ".answer", "mark", "#count", ".asked figcaption"):
        assert contrast(page, selector) >= 4.5, selector
    page.page.click("#theme")
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    page.page.reload()
    assert page.page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    for view, selector in (
        ("summary", ".published td"),
        ("compare", ".scroll td"),
        ("compare", ".notes"),
    ):
        page.page.click(f'[data-view="{view}"]')
        assert contrast(page, f"#{view} {selector}") >= 4.5, selector


CORNERS = """group => {
  const line = group.querySelector(".line");
  const box = line.getBBox(), matrix = line.getScreenCTM();
  const at = (x, y) => new DOMPoint(x, y).matrixTransform(matrix);
  const [from, to] = [at(box.x, box.y), at(box.x + box.width, box.y + box.height)];
  return [from.x, from.y, to.x, to.y];
}"""


@pytest.mark.parametrize(("width", "height"), [(1440, 1000), (390, 800)])
def test_boxes_are_where_they_belong(
    report: Path, data: Annotations, open_page: Open, width: int, height: int
) -> None:
    page = open_page(report, "view=gallery", width=width, height=height)
    seen = set()
    for instance in data.instances:
        shell = page.page.locator(f'.card[data-target="{instance.id}"]')
        shell.scroll_into_view_if_needed()
        figure = shell.locator(f'figure[data-image="{instance.target_image + 1}"]')
        name = Path(instance.images[instance.target_image]).name
        seen.add(name)
        frame = figure.locator("img").evaluate(
            "image => { const box = image.getBoundingClientRect();"
            " return [box.x, box.y, box.width, box.height]; }"
        )
        left, top, wide, tall = frame
        assert wide / tall == pytest.approx(SIZES[name][0] / SIZES[name][1], abs=1 / tall)
        expected = [
            left + instance.box.x1 * wide,
            top + instance.box.y1 * tall,
            left + instance.box.x2 * wide,
            top + instance.box.y2 * tall,
        ]
        assert figure.locator(".truth").evaluate(CORNERS) == pytest.approx(expected, abs=1)
        assert figure.locator(".predicted").count() == (1 if instance.index == 9 else 2)
    assert seen == set(SIZES)
    # The reference box is in the first image, as the question says it.
    tracking = page.page.locator('.card[data-target^="object_tracking"]').first
    tracking.scroll_into_view_if_needed()
    image = tracking.locator('figure[data-image="1"] img').bounding_box()
    assert image is not None
    corners = tracking.locator('figure[data-image="1"] .reference').evaluate(CORNERS)
    assert corners == pytest.approx(
        [
            image["x"] + 0.1 * image["width"],
            image["y"] + 0.2 * image["height"],
            image["x"] + 0.3 * image["width"],
            image["y"] + 0.4 * image["height"],
        ],
        abs=1,
    )


@pytest.mark.parametrize(("width", "height"), [(1440, 1000), (390, 800)])
@pytest.mark.parametrize("image", ["wide.png", "tall.png", "odd.png"])
def test_what_is_painted_is_where_it_belongs(
    data: Annotations, tmp_path: Path, open_page: Open, image: str, width: int, height: int
) -> None:
    """The same once more by the colour of pixels, without a word from the page's own geometry."""
    instance = next(
        each for each in data.instances if each.images[each.target_image].endswith(image)
    )
    make_run(tmp_path / "run", data, lambda each: "nothing")
    migbench("report", tmp_path / "run", "--out", tmp_path / "page.html")
    state = f"view=gallery&at={instance.id}&full=1&image={instance.target_image + 1}"
    page = open_page(tmp_path / "page.html", state, width=width, height=height)
    stage = page.page.locator("#focus .stage > figure img")
    page.page.wait_for_function("() => [...document.images].every(image => image.complete)")
    around = stage.bounding_box()
    assert around is not None
    picture = Image.open(io.BytesIO(page.page.screenshot())).convert("RGB")
    # The image is white on a darker ground; the browser puts it on whole pixels.
    rows = slice(int(around["y"]) - 3, int(around["y"] + around["height"]) + 4)
    columns = slice(int(around["x"]) - 3, int(around["x"] + around["width"]) + 4)
    pixels = np.asarray(picture).astype(int)[rows, columns]
    top, bottom = ends((pixels[:, 6] > 250).all(axis=1))
    left, right = ends((pixels[top + 2] > 250).all(axis=1))
    colour = [int(palette.TRUTH[place : place + 2], 16) for place in (1, 3, 5)]
    green = np.abs(pixels - colour).max(axis=2) < 60
    first_row, last_row = ends(green.any(axis=1))
    first_column, last_column = ends(green.any(axis=0))
    # The line lies half inside and half outside of the box's edges.
    half = LINE / 2
    painted = [first_column + half, first_row + half, last_column - half, last_row - half]
    expected = [
        left + instance.box.x1 * (right - left),
        top + instance.box.y1 * (bottom - top),
        left + instance.box.x2 * (right - left),
        top + instance.box.y2 * (bottom - top),
    ]
    assert painted == pytest.approx(expected, abs=1)


def ends(is_there: NDArray[np.bool_]) -> tuple[int, int]:
    """Where a run of places begins, and where it ends."""
    places = np.flatnonzero(is_there)
    return int(places[0]), int(places[-1]) + 1


def test_a_phone_shows_it_all(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=summary", width=360, height=740, has_touch=True)
    for view in ("summary", "gallery", "compare"):
        page.page.click(f'[data-view="{view}"]')
        assert page.page.evaluate("document.documentElement.scrollWidth") == 360, view
    page.page.click('[data-view="gallery"]')
    assert not page.page.is_visible("#facets")
    page.page.click("#filters > summary")
    tick(page, "task", "diff")
    assert count(page) == 4


@pytest.mark.parametrize("view", ["summary", "compare"])
def test_a_phones_tables_show_numbers_and_that_there_are_more(
    report: Path, open_page: Open, view: str
) -> None:
    page = open_page(report, f"view={view}", width=390, height=844, has_touch=True)
    page.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.page.wait_for_function("document.querySelectorAll('.scroll[data-more]').length > 1")
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390
    tables = page.page.evaluate(
        r"""() => [...document.querySelectorAll(".scroll")].filter(each => each.offsetParent)
          .map(each => ({
            name: each.ariaLabel,
            wide: each.scrollWidth > each.clientWidth + 1,
            hint: each.previousElementSibling.checkVisibility(),
            numbers: [...each.querySelectorAll("tbody td")].filter(cell => {
              const { left, right } = cell.getBoundingClientRect();
              return /\d/.test(cell.textContent) && left >= 0 && right <= innerWidth;
            }).length,
          }))"""
    )
    assert len(tables) >= 3
    for table in tables:
        assert table["hint"] == table["wide"], table
        assert table["numbers"] >= 2, table
    wide = page.page.locator(".scroll[data-more]").first
    hint = page.page.locator(".more:visible").first
    assert hint.inner_text() == "more columns →"
    seen = page.page.locator(".more:visible").count()
    wide.evaluate("each => { each.scrollLeft = each.scrollWidth }")
    page.page.wait_for_function(
        "seen => [...document.querySelectorAll('.more')]"
        ".filter(each => each.checkVisibility()).length === seen - 1",
        arg=seen,
    )


def test_unreadable_answers_are_told_before_anything_else(
    data: Annotations, tmp_path: Path, open_page: Open
) -> None:
    def half(instance: Instance) -> str:
        return truth(instance) if instance.index % 2 else "It is on the left."

    make_run(tmp_path / "half", data, half)
    make_run(tmp_path / "fewer", data, lambda each: half(each) if each.index else truth(each))
    for name, told in (("half", True), ("fewer", False)):
        migbench("report", tmp_path / name, "--out", tmp_path / "page.html")
        for view in ("summary", "gallery"):
            page = open_page(tmp_path / "page.html", f"view={view}", width=390, height=844)
            head = page.page.locator("main > .warning")
            assert head.count() == told
            if told:
                assert "5 of 10 answers hold no box that can be read (5 unreadable)" in (
                    head.inner_text()
                )
                assert f"migbench doctor --run {tmp_path / name}" in head.inner_text()
                box = head.bounding_box()
                assert box is not None
                assert box["y"] + box["height"] < 844


def test_everything_that_can_be_used_has_a_name(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery")
    page.page.keyboard.press("f")
    nameless = page.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, canvas, dialog, img")]
          .filter(each => !(each.ariaLabel || each.alt || each.textContent.trim()
            || each.labels?.[0]?.textContent.trim()))
          .map(each => each.outerHTML)"""
    )
    assert nameless == []
    page.page.keyboard.press("f")
    page.page.focus(".top a")
    page.page.keyboard.press("Tab")
    outline = page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_only_what_is_near_is_filled(tmp_path: Path, open_page: Open) -> None:
    records = [
        {**each, "question": f"{each['question']} {copy}"}
        for copy in range(60)
        for each in small_records()
    ]
    data = make_data(tmp_path, records)
    make_run(tmp_path / "run", data, truth)
    migbench("report", tmp_path / "run", "--out", tmp_path / "page.html")
    page = open_page(tmp_path / "page.html", "view=gallery")
    filled = "document.querySelectorAll('.card > header').length"
    page.page.wait_for_selector(".card > header")
    page.page.wait_for_function("document.querySelectorAll('.card').length === 600")
    assert page.page.evaluate(filled) < 40
    far = page.shown()[450]
    page.page.goto((tmp_path / "page.html").as_uri() + f"#view=gallery&at={far}")
    page.page.wait_for_function(
        """id => {
          const card = document.querySelector(`.card[data-target="${id}"]`);
          const { top, bottom } = card.getBoundingClientRect();
          return card.querySelector("header") && top < innerHeight && bottom > 0;
        }""",
        arg=far,
    )
    assert page.page.evaluate(filled) < 60


def test_print_has_the_cards_and_not_the_tools(report: Path, open_page: Open) -> None:
    page = open_page(report, "view=gallery&task=diff")
    page.page.emulate_media(media="print")
    page.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.page.locator(".card > header").count() == 4
    assert not page.page.is_visible("#filters")
    assert not page.page.is_visible(".top nav")
    assert page.page.is_visible(".card .answer")
