"""What is written: the page's data, images, tables and limits. No browser is needed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.command_line import migbench
from support.report_runs import SIZES, beside, make_data, make_run, small_records, truth

from migbench.data.annotations import Annotations
from migbench.reporting.html.excerpts import AROUND, HEAD, TAIL, WHOLE, excerpt
from migbench.reporting.html.page import inline_json
from migbench.runs.run_hash import run_hash
from migbench.scoring import PROTOCOLS


@pytest.fixture
def data(tmp_path: Path) -> Annotations:
    return make_data(tmp_path / "data")


def report(folder: Path, *arguments: object) -> str:
    out = folder / "page.html"
    done = migbench("report", *arguments, "--out", out)
    assert done.status == 0, done.err
    return out.read_text(encoding="utf-8")


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# Inline data


@given(st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner), max_leaves=5))
def test_inline_json_has_nothing_that_html_knows(value: Any) -> None:
    text = inline_json(json.dumps(value, ensure_ascii=False))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


# Excerpts

TEXT = st.text(max_size=40) | st.builds(
    lambda part, times: part * times, st.text(min_size=1, max_size=9), st.integers(0, 4000)
)


@st.composite
def spanned(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """A text, and spans of it that do not overlap, in any order."""
    text = draw(TEXT)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    return text, draw(st.permutations(spans))


@given(spanned())
def test_an_excerpt_leaves_out_only_what_it_counts(case: tuple[str, list[tuple[int, int]]]) -> None:
    text, spans = case
    place = 0
    for piece in excerpt(text, spans):
        if isinstance(piece, int):
            assert piece > 0
            place += piece
            continue
        part, number = piece if isinstance(piece, tuple) else (piece, None)
        assert part
        assert text[place : place + len(part)] == part
        inside = [
            each
            for each, (start, end) in enumerate(spans)
            if start <= place and place + len(part) <= end
        ]
        assert inside == ([] if number is None else [number])
        place += len(part)
    assert place == len(text)
    shown = sum(len(each) if isinstance(each, str) else 0 for each in excerpt(text, spans))
    assert len(text) <= WHOLE or shown <= HEAD + TAIL + 4 * AROUND * len(spans)


def test_both_ends_of_what_was_read_are_shown_of_a_long_answer() -> None:
    text = "x" * 500_000 + "(1,2),(3,4)" + "y" * 500_000
    pieces = excerpt(text, [(500_000, 500_011)])
    assert ("(1,2),(3,4)", 0) in pieces
    assert sum(each for each in pieces if isinstance(each, int)) > 990_000


# The page


def test_the_policy_names_this_script_and_this_style(data: Annotations, tmp_path: Path) -> None:
    make_run(tmp_path / "run", data, truth)
    page = report(tmp_path, tmp_path / "run")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    directives = dict(part.split(" ", 1) for part in policy[1].replace("&#39;", "'").split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'none'"
    for directive, pattern in (
        ("script-src", r"<script>(.*?)</script>"),
        ("style-src", r"<style>(.*?)</style>"),
    ):
        (content,) = re.findall(pattern, page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"


class Elements(HTMLParser):
    """Counts elements, and looks for what would run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.suspicious: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("src", "srcset", "srcdoc", "action", "style"):
                self.suspicious.append((name, value))
            if name == "href" and not (value or "").startswith(("#", "data:,")):
                self.suspicious.append((name, value))


ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg onload=alert(1)>"


def test_hostile_words_are_text_everywhere(tmp_path: Path) -> None:
    records = [
        {
            **each,
            "question": each["question"] + ATTACK + "\u2028",
            "additional_info": each["additional_info"] + ATTACK,
        }
        for each in small_records()
    ]
    data = make_data(tmp_path / "data", records)
    harmless = make_data(tmp_path / "harmless")
    make_run(tmp_path / "harmless-run", harmless, truth)
    make_run(tmp_path / ATTACK.replace("/", "_")[:60], data, lambda each: truth(each) + ATTACK)
    hostile = report(tmp_path, tmp_path / ATTACK.replace("/", "_")[:60], "--title", ATTACK)
    expected, found = Elements(), Elements()
    expected.feed(report(tmp_path, tmp_path / "harmless-run", "--title", "x"))
    found.feed(hostile)
    assert found.tags == expected.tags
    assert found.suspicious == []
    (target, *_) = data_of(hostile)["targets"]
    assert ATTACK in target["question"][0]


def test_tables_are_those_of_the_other_commands(data: Annotations, tmp_path: Path) -> None:
    make_run(tmp_path / "a", data, truth)
    make_run(tmp_path / "b", data, beside, strategy="cot")
    page = report(tmp_path, tmp_path / "a", tmp_path / "b")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    table = migbench("table", tmp_path / "a", tmp_path / "b", "--published", "--intervals").out
    for line in table.splitlines():
        for cell in re.split(r"\s{2,}", line.strip()):
            if cell.strip("- ") and not line.startswith(" "):
                assert cell.replace("'", "&#39;") in text, cell
    compared = migbench("compare", tmp_path / "a", tmp_path / "b").out
    (macro,) = (line for line in compared.splitlines() if line.startswith("macro"))
    assert re.sub(r"\s+", " ", macro).strip() in text


def test_what_a_number_needs_stands_on_the_page(data: Annotations, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", data, truth, model="migician")
    page = report(tmp_path, tmp_path / "a")
    environment = run.manifest.environment
    for fact in (
        run_hash(run),
        environment.migbench,
        environment.python,
        environment.machine,
        data.content_sha256,
        "seed 0",
        "y scaling ×1.05, ×1.10",
        "protocol standard",
        *environment.packages,
    ):
        assert fact in page, fact
    released = report(tmp_path, tmp_path / "a", "--protocol", "released", "--corrections", "none")
    assert "protocol released" in released
    assert "y scaling" not in re.sub(r"<pre>.*?</pre>", "", released, flags=re.DOTALL)


def test_a_run_that_is_not_complete_says_so(data: Annotations, tmp_path: Path) -> None:
    make_run(
        tmp_path / "a",
        data,
        lambda each: None if each.index == 1 else truth(each),
        status="incomplete",
    )
    done = migbench("report", tmp_path / "a", "--out", tmp_path / "page.html")
    assert done.status == 1
    page = (tmp_path / "page.html").read_text()
    assert "not complete" in page
    assert "INCOMPLETE: 1 targets without an answer" in page
    gallery = data_of(page)
    (result,) = gallery["targets"][1]["results"]
    assert result["outcome"] == "model_error"
    assert gallery["said"][0][result["said"][-1]]["error"] == ["the server said no"]


def test_the_part_that_was_read_is_known_under_every_protocol(
    data: Annotations, tmp_path: Path
) -> None:
    make_run(tmp_path / "a", data, lambda each: f"Well: {truth(each)}, maybe.")
    for protocol in PROTOCOLS:
        gallery = data_of(report(tmp_path, tmp_path / "a", "--protocol", protocol))
        for target in gallery["targets"]:
            (result,) = target["results"]
            (said,) = (gallery["said"][0][place] for place in result["said"])
            before, (read, number), after = said["text"]
            assert before == "Well: <|box_start|>"
            assert re.fullmatch(r"\(\d+,\d+\),\(\d+,\d+\)", read)
            assert after == "<|box_end|>, maybe."
            assert number == result["span"]


def test_what_the_script_drops_is_not_lost_from_the_part_that_was_read(
    data: Annotations, tmp_path: Path
) -> None:
    make_run(tmp_path / "a", data, lambda each: "x-x (1-00,2x00),(500,600) x", strategy="cot")
    gallery = data_of(report(tmp_path, tmp_path / "a", "--protocol", "released"))
    (result,) = gallery["targets"][0]["results"]
    described, grounded = (gallery["said"][0][place] for place in result["said"])
    assert described["text"] == ["a red boat"]
    assert grounded["text"] == ["x-x ", ["(1-00,2x00),(500,600)", 0], " x"]


def test_a_box_of_the_question_is_drawn_in_thousandths(data: Annotations, tmp_path: Path) -> None:
    make_run(tmp_path / "a", data, truth)
    targets = data_of(report(tmp_path, tmp_path / "a"))["targets"]
    boxes = {target["task"]: target.get("reference") for target in targets}
    assert boxes["object_tracking"] == [0.1, 0.2, 0.3, 0.4]
    assert boxes["diff"] is boxes["common_object"] is None


# Images


def test_every_image_is_embedded_once(data: Annotations, tmp_path: Path) -> None:
    make_run(tmp_path / "a", data, truth)
    page = report(tmp_path, tmp_path / "a", "--thumbnail", "64")
    pictures = data_of(page)["pictures"]
    assert page.count("data:image/jpeg") == len(pictures) == len(SIZES)
    for picture in pictures:
        size = SIZES[Path(picture["name"]).name]
        assert (picture["width"], picture["height"]) == size
        kind, content = picture["thumbnail"].split(",")
        assert kind == "data:image/jpeg;base64"
        thumbnail = Image.open(io.BytesIO(base64.b64decode(content)))
        assert max(thumbnail.size) == min(64, max(size))


def test_linked_images_lie_beside_the_page_and_are_made_once(
    data: Annotations, tmp_path: Path
) -> None:
    make_run(tmp_path / "a", data, truth)
    page = report(tmp_path, tmp_path / "a", "--images", "link")
    assert "data:image" not in page
    thumbnails = sorted((tmp_path / "page_files").iterdir())
    linked = {picture["thumbnail"] for picture in data_of(page)["pictures"]}
    assert linked == {f"page_files/{path.name}" for path in thumbnails}
    made = [path.stat().st_mtime_ns for path in thumbnails]
    report(tmp_path, tmp_path / "a", "--images", "link")
    assert sorted((tmp_path / "page_files").iterdir()) == thumbnails
    assert [path.stat().st_mtime_ns for path in thumbnails] == made


def test_too_large_a_page_is_not_written(data: Annotations, tmp_path: Path) -> None:
    for name, size in SIZES.items():
        noise = Image.effect_noise((20 * size[0], 20 * size[1]), 99)
        noise.save(data.path.parent / "images" / name)
    make_run(tmp_path / "a", data, truth)
    out = tmp_path / "page.html"
    options = ("--thumbnail", 2000, "--max-size", 1)
    done = migbench("report", tmp_path / "a", "--out", out, *options)
    assert done.status == 2
    assert "--images link" in done.err
    assert "--thumbnail 1000" in done.err
    assert not out.exists()


def test_images_that_cannot_be_shown_have_a_place_all_the_same(
    data: Annotations, tmp_path: Path
) -> None:
    images = data.path.parent / "images"
    (images / "tall.png").unlink()
    (images / "wide.png").write_bytes(b"no image at all")
    (images / "odd.png").write_bytes((images / "odd.png").read_bytes()[:60])
    (images / "square.png").unlink()
    (images / "square.png").symlink_to("/etc/hostname")
    make_run(tmp_path / "a", data, truth)
    pictures = {
        Path(picture["name"]).name: picture
        for picture in data_of(report(tmp_path, tmp_path / "a"))["pictures"]
    }
    assert "thumbnail" in pictures["plain.png"]
    for name in ("tall.png", "wide.png", "odd.png", "square.png"):
        assert "thumbnail" not in pictures[name]
        assert pictures[name]["problem"]
    # Its beginning tells its size.
    assert (pictures["odd.png"]["width"], pictures["odd.png"]["height"]) == SIZES["odd.png"]
    assert "leads out of" in pictures["square.png"]["problem"]


# Several runs


def test_runs_on_different_annotations_are_shown_and_not_compared(
    data: Annotations, tmp_path: Path
) -> None:
    other = make_data(tmp_path / "other", small_records()[:5])
    make_run(tmp_path / "a", data, truth)
    make_run(tmp_path / "b", other, truth)
    page = report(tmp_path, tmp_path / "a", tmp_path / "b")
    assert "can be compared" in page
    targets = data_of(page)["targets"]
    results = [target["results"] for target in targets]
    assert len(results) == len({target["id"] for target in targets}) == 15
    assert len({(target["set"], target["results"][0] is None) for target in targets}) == len(
        {target["set"] for target in targets}
    )
    assert all((first is None) != (second is None) for first, second in results)


def test_a_split_adds_levels(data: Annotations, tmp_path: Path) -> None:
    runs = []
    for place, (model, strategy) in enumerate(
        (model, strategy)
        for model in ("qwen2-vl-7b", "internvl2-8b")
        for strategy in ("direct", "cot")
    ):
        runs.append(tmp_path / f"run{place}")
        make_run(
            runs[-1],
            data,
            lambda each, bit=place: truth(each) if each.index >> bit & 1 else "(0,0),(1,1)",
            model=model,
            strategy=strategy,
        )
    split = tmp_path / "split.json"
    done = migbench("difficulty", "make", "--runs", *runs, "--out", split)
    assert done.status == 0, done.err
    page = report(tmp_path, runs[0], runs[1], "--difficulty", split)
    assert {target["level"] for target in data_of(page)["targets"]} <= {"easy", "medium", "hard"}
    assert "Accuracy by difficulty" in page
    assert "Paired difference by difficulty" in page


def test_the_same_run_twice_is_refused(data: Annotations, tmp_path: Path) -> None:
    make_run(tmp_path / "a", data, truth)
    done = migbench("report", tmp_path / "a", tmp_path / "a", "--out", tmp_path / "page.html")
    assert (done.status, done.err) == (2, "migbench: the same run is named twice\n")
