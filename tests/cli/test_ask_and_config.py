"""One question about one's own images; and a command line that stands in a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from support.command_line import Done, migbench
from support.local_server import LocalServer, Scripted

from migbench.mini import render
from migbench.reporting.palette import MODELS
from migbench.runs.store import Run


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    render(folder, per_task=2)
    return folder


# --- ask -----------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two white images, of which the second is wide."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, size in zip(paths, [(200, 200), (400, 200)], strict=True):
        Image.new("RGB", size, "white").save(path)
    return paths


def asked(pictures: list[Path], answer: str, *more: object, question: str = "Where is it?") -> Done:
    body = json.dumps(
        {"choices": [{"finish_reason": "stop", "message": {"content": answer}}]}
    ).encode()
    with LocalServer(script=[Scripted(body)]) as server:
        done = migbench(
            *("ask", "--model", "m", "--adapter", "openai", "--endpoint", server.base_url),
            *("--dialect", "qwen2-vl", *(f"--image={path}" for path in pictures)),
            *("--out", pictures[0].parent / "answer.png", *more, question),
        )
        texts = [received.body["messages"] for received in server.received]
    assert len(texts) == 1
    assert question in json.dumps(texts)
    return done


def columns(picture: Path) -> tuple[int, int, int]:
    """The first and last column in which a box is drawn, and the picture's width."""
    colour = tuple(int(MODELS[0][at : at + 2], 16) for at in (1, 3, 5))
    image = Image.open(picture).convert("RGB")
    found = [
        x
        for x in range(image.width)
        for y in range(image.height)
        if image.getpixel((x, y)) == colour
    ]
    return min(found), max(found), image.width


@pytest.mark.parametrize(
    ("answer", "more", "question", "image"),
    [
        ("(250,250),(750,750)", (), "Where is it?", 1),
        ("(250,250),(750,750)", (), "Where is it in image 2?", 2),
        ("(250,250),(750,750)", ("--about", "2"), "Where is it?", 2),
        ("Image-2: (250,250),(750,750)", (), "Which image holds it, and where?", 2),
    ],
)
def test_the_box_is_drawn_on_the_right_image(
    pictures: list[Path], answer: str, more: tuple[str, ...], question: str, image: int
) -> None:
    done = asked(pictures, answer, *more, question=question)
    assert done.status == 0, done.err
    assert f"Answer: {answer}" in done.out
    width = (200, 400)[image - 1]
    assert (
        f"Box in image {image} ({'ab'[image - 1]}.png): x 25.0–75.0 %, y 25.0–75.0 %; in pixels "
        f"{width // 4}, 50, {3 * width // 4}, 150" in done.out
    )
    first, last, whole = columns(pictures[0].parent / "answer.png")
    # The second image is twice as wide as the first, and begins a third of the way.
    assert (last < whole / 3) == (image == 1)
    assert (first > whole / 3) == (image == 2)


def test_an_answer_without_a_box_says_why_and_ends_with_1(pictures: list[Path]) -> None:
    done = asked(pictures, "I see a cup.")
    assert (done.status, "No box: unreadable (no numbers)" in done.out) == (1, True)
    assert (pictures[0].parent / "answer.png").exists()


def test_the_page_stands_by_itself(pictures: list[Path]) -> None:
    page = pictures[0].parent / "page.html"
    done = asked(pictures, "(1,2),(3,4) <b>&", "--page", page)
    assert done.status == 0, done.err
    text = page.read_text()
    assert 'src="data:image/png;base64,' in text
    assert "(1,2),(3,4) &lt;b&gt;&amp;" in text
    assert "http" not in text


def test_no_answer_is_told_with_its_reason(pictures: list[Path], tmp_path: Path) -> None:
    adapter = tmp_path / "failing.py"
    adapter.write_text("class Failing:\n    def answer(self, request):\n        return {}['box']\n")
    ask = ("ask", "--model", "mine", "--adapter", f"{adapter}:Failing", "--dialect", "qwen2-vl")
    done = migbench(*ask, "--image", pictures[0], "Where?")
    assert (done.status, "no answer: KeyError: 'box'" in done.err) == (1, True)
    assert "Traceback" in migbench(*ask, "--image", pictures[0], "--debug", "Where?").err
    done = migbench(*ask, "--image", pictures[0], "--about", "2", "Where?")
    assert (done.status, "there are 1 images" in done.err) == (2, True)


# --- config --------------------------------------------------------------------------------------


def test_a_saved_command_line_is_the_same_run(mini: Path, tmp_path: Path) -> None:
    config, first, second = tmp_path / "run.yaml", tmp_path / "first", tmp_path / "second"
    done = migbench(
        *("run", "--model", "fixed", "--adapter", "baseline", "--data", mini, "--limit", "1"),
        *("--model-arg", "answer='(1,2),(3,4)'", "--tasks", "OT,diff", "--shard", "1/2"),
        *("--dialect", "custom", "--box-order", "xyxy", "--box-scale", "1000"),
        *("--box-syntax", "corner-pairs", "--box-format", "Give a box."),
        *("--thinking-marks", "<a>", "</a>", "--out", first, "--save-config", config),
    )
    assert done.status == 0, done.err
    held = yaml.safe_load(config.read_text())
    assert held["limit"] == 1
    assert held["model-arg"] == ["answer='(1,2),(3,4)'"]
    assert "save-config" not in held
    assert "evaluator" not in held  # A default is none of what was said.
    done = migbench("run", "--config", config, "--out", second)
    assert done.status == 0, done.err
    assert Run(first).settings == Run(second).settings


def test_the_command_line_goes_before_the_file(mini: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "run.yaml", tmp_path / "run"
    config.write_text(f"model: whole-image\ndata: {mini}\nlimit: 1\ninstance: []\nout: nowhere\n")
    done = migbench("run", "--config", config, "--limit", "2", "--out", out)
    assert done.status == 0, done.err
    assert Run(out).settings.limit == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modle: whole-image", "run.yaml: migbench run has no option --modle"),
        ("config: other.yaml", "has no option --config that a file may hold"),
        ("model: m\ndata: .\nlimit: many", "--limit"),
        ("limit: [1, 2]", "limit: --limit takes one value"),
        ("limit: [", "run.yaml"),
    ],
)
def test_what_a_file_may_not_hold_is_named(tmp_path: Path, text: str, told: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    done = migbench("run", "--config", config)
    assert (done.status, told in done.err) == (2, True), done.err


def test_no_secret_is_saved(mini: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    done = migbench(
        *("run", "--model", "whole-image", "--data", mini, "--out", tmp_path / "run"),
        *("--model-arg", "api_key=sk-4f9a8b7c6d5e", "--save-config", config),
    )
    assert (done.status, config.exists()) == (2, False)


# --- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("migbench do", "plain,doctor"),
        ("migbench run --skip-check di", "plain,dialect\nplain,disk"),
    ],
)
def test_the_shell_completes_commands_options_and_choices(typed: str, offered: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("migbench")],
        env={
            **os.environ,
            "_MIGBENCH_COMPLETE": "bash_complete",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == offered
