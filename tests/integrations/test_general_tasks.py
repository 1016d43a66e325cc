"""Our task files' functions: choices read by rule, boxes in a dialect, an image in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from migbench.boxes import Box
from migbench.dialects import find_dialect, load_dialects
from migbench.errors import DataError, UsageError
from migbench.integrations.lmms_eval.declared import declared_dialect
from migbench.integrations.lmms_eval.suites.choices import chosen_letter, chosen_option
from migbench.integrations.lmms_eval.suites.declared import declared, folder_of
from migbench.integrations.lmms_eval.suites.grounding import refcoco_messages, refcoco_results
from migbench.integrations.lmms_eval.suites.high_resolution import (
    cut,
    vstar_located,
    vstar_messages,
)
from migbench.integrations.lmms_eval.suites.understanding import (
    mean_of_tasks,
    mibench_results,
    mmiu_results,
)
from migbench.messages import Size

# --- reading choices ------------------------------------------------------------------------------

OPTIONS = {"A": "The first image", "B": "The second image", "C": "None of them"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        (" (B). ", "B"),
        ("B: The second image", "B"),
        ("B. It shows a dog.", "B"),
        ("(C) None of them", "C"),
        ("The answer is B.", "B"),
        ("I first thought the answer is A, but the correct answer is (B)", "B"),
        ("the second image", "B"),
        ("It is the second image, clearly.", "B"),
        ("D", None),
        ("A dog stands in both.", None),
        ("The first image or the second image", None),
        ("", None),
    ],
)
def test_letters_are_read_by_rule(text: str, letter: str | None) -> None:
    assert chosen_letter(text, OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Yes.", 0),
        (" yes\n", 0),
        ("Yes, they are.", 0),
        ("yes and no", None),
        ("Nobody", None),
        ("", None),
    ],
)
def test_options_are_read_as_whole_words(text: str, place: int | None) -> None:
    assert chosen_option(text, ["Yes", "No"]) == place


def test_the_longer_of_two_options_in_each_other_is_meant() -> None:
    assert chosen_option("That is dark red, I think", ["red", "dark red"]) == 1
    assert chosen_option("That is red, I think", ["red", "dark red"]) == 0


@given(st.text(max_size=80), st.lists(st.text(max_size=9), min_size=1, max_size=5))
def test_no_text_breaks_the_reading_of_choices(text: str, options: Sequence[str]) -> None:
    place = chosen_option(text, options)
    assert place is None or 0 <= place < len(options)
    letters = dict(zip("ABCDE", options, strict=False))
    assert chosen_letter(text, letters) in {None, *letters}


@given(st.lists(st.text("abc ", min_size=1, max_size=6), min_size=1, max_size=5, unique=True))
def test_an_option_quoted_is_that_option(options: Sequence[str]) -> None:
    plain = [" ".join(each.split()) for each in options]
    for option in plain:
        if plain.count(option) == 1:
            assert chosen_option(f"{option}.", plain) == plain.index(option)


def test_failures_of_lmms_eval_are_no_answers() -> None:
    failed = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] B"
    row = {"task": "t", "options": "A: x\nB: y", "output": "B"}
    scores = [mmiu_results(row, [text])["mmiu_acc"] for text in ("B", failed)]
    assert [each["score"] for each in scores] == [1.0, None]
    assert mean_of_tasks(scores) != mean_of_tasks(scores)
    assert mean_of_tasks(scores[:1]) == 1.0


def test_thoughts_are_no_choices() -> None:
    row = {"task": "t", "options": "A: x\nB: y", "output": "B"}
    text = "<think>The answer is A.</think><answer>B</answer>"
    assert mmiu_results(row, [text])["mmiu_acc"]["score"] == 1.0


def test_an_answer_that_is_none_of_the_options_is_nobodys() -> None:
    row = {"task": "t", "options": ["x", "y"], "answer": "z"}
    assert mibench_results(row, ["z"])["mibench_acc"]["score"] == 0.0
    assert (
        mmiu_results({**row, "options": "A: x", "output": "G"}, ["G"])["mmiu_acc"]["score"] == 0.0
    )


def test_tasks_count_alike_however_many_questions_they_have() -> None:
    items = [{"task": "a", "score": 1.0}, *[{"task": "b", "score": 0.0}] * 9]
    assert mean_of_tasks(items) == pytest.approx(0.5)


# --- grounding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(load_dialects()))
def test_a_box_in_the_declared_dialect_hits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same box, in each family's own numbers; its syntax is among these."""
    monkeypatch.setenv("MIGBENCH_DIALECT", name)
    dialect = find_dialect(name)
    size = Size(640, 425)
    document = {"width": 640, "height": 425, "truth": (0.1, 0.2, 0.45, 0.9)}
    edges = dialect.convention.from_unit(Box(0.1, 0.2, 0.45, 0.9), size)
    digits = 3 if dialect.scale == 1 else 0
    numbers = [f"{edge:.{digits}f}" for edge in edges]
    forms = ["({},{}),({},{})", "<box>[[{}, {}, {}, {}]]</box>", "[{}, {}, {}, {}]"]
    forms += [
        "<box>{} {} {} {}</box>",
        '[{{"bbox_2d": [{}, {}, {}, {}]}}]',
        '{{"box_2d": [{}, {}, {}, {}]}}',
        "<loc{}><loc{}><loc{}><loc{}>",
        "<{}><{}><{}><{}>",
        '{{"x_min": {}, "y_min": {}, "x_max": {}, "y_max": {}}}',
    ]
    hits = [refcoco_results(document, [form.format(*numbers)]) for form in forms]
    assert 1.0 in [each["acc@0.5"]["values"][0] for each in hits]


def test_an_answer_without_a_box_is_a_miss_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2-vl")
    document = {"width": 64, "height": 48, "truth": (0.1, 0.2, 0.4, 0.9)}
    found = refcoco_results(document, ["It is on the left."])
    assert {key: each["values"] for key, each in found.items()} == {
        "acc@0.5": [0.0],
        "mean_iou": [0.0],
        "unreadable": [1.0],
    }
    failed = refcoco_results(document, ["[LMMS_EVAL_REQUEST_FAILED]"])
    assert [each["values"] for each in failed.values()] == [[None]] * 3


def test_a_dialect_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "internvl")
    picture = Image.new("RGB", (8, 8))
    ((message,)) = (refcoco_messages({"image": picture, "expression": "a dog"})[0],)
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["text", "image", "text"]
    assert message["content"][1]["url"].size == (8, 8)
    text = "".join(part.get("text", "") for part in message["content"])
    assert text.startswith("Image-1: ")
    assert "<ref>a dog</ref>" in text


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_the_parts_of_an_image_cover_it_once(width: int, height: int) -> None:
    parts = cut(Size(width, height))
    assert 1 <= len(parts) <= 9
    assert sum(part.size.width * part.size.height for part in parts) == width * height
    assert all(0 <= part.left < part.right <= width for part in parts)
    assert all(0 <= part.top < part.bottom <= height for part in parts)


QUESTION = {"text": "What is it? (A) a cat (B) a dog"}


def chat_of(document: Mapping[str, Any], said: Sequence[str]) -> Any:
    if not said:
        return vstar_messages(document)
    return vstar_messages(document, round_idx=len(said), previous_output=said)[0]


def shown(messages: Any) -> tuple[list[tuple[int, int]], str]:
    (message,) = messages
    pictures = [part["url"].size for part in message["content"] if part["type"] == "image"]
    return pictures, "".join(part.get("text", "") for part in message["content"])


def test_the_rounds_of_an_image_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2-vl")
    document = {**QUESTION, "image": Image.new("RGB", (2000, 1200))}
    said: list[str] = []
    pictures, text = shown(chat_of(document, said))
    assert pictures == [(1000, 600)] * 4
    assert "What is it? Just recognize" in text
    assert "(A)" not in text
    said.append("In the fourth image.")
    pictures, text = shown(chat_of(document, said))
    assert pictures == [(1000, 600)]
    said.append("(400,500),(600,700)")
    pictures, text = shown(chat_of(document, said))
    # The box is 200 by 120 pixels, and half of that is added on every side.
    assert pictures == [(2000, 1200), (400, 240)]
    assert "(A) a cat (B) a dog" in text
    said.append("B")
    assert chat_of(document, said) is None
    assert vstar_located({"size": [2000, 1200]}, said) == 1.0


@pytest.mark.parametrize("said", [["nowhere"], ["Image-9"], ["Image-1", "no box"]])
def test_what_is_not_found_is_answered_from_the_whole_image(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2-vl")
    document = {**QUESTION, "image": Image.new("RGB", (2000, 100))}
    pictures, text = shown(chat_of(document, said))
    assert pictures == [(2000, 100)]
    assert "second image" not in text
    assert chat_of(document, [*said, "B"]) is None
    assert vstar_located({"size": [2000, 100]}, [*said, "B"]) == 0.0


def test_a_small_image_needs_no_choice_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2.5-vl")
    document = {**QUESTION, "image": Image.new("RGB", (560, 280))}
    assert shown(chat_of(document, []))[1].startswith("Locate what this question is about")
    pictures, _ = shown(chat_of(document, ['{"bbox_2d": [0, 0, 56, 28]}']))
    assert pictures == [(560, 280), (84, 42)]


def test_a_failed_round_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "qwen2-vl")
    assert vstar_located({"size": [10, 10]}, ["[LMMS_EVAL_REQUEST_FAILED]", "B"]) is None


# --- declaring ------------------------------------------------------------------------------------


def test_any_dialect_can_be_declared_and_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGBENCH_DIALECT", "internvl")
    monkeypatch.delenv("MIGBENCH_DATA", raising=False)
    custom = msgspec.structs.replace(
        find_dialect("qwen2.5-vl").with_pixels(None, 50_000), name="custom", format="Say „(x, y)“."
    )
    (tmp_path / "mmiu").mkdir()
    with declared(custom, tmp_path):
        assert declared_dialect().dialect == custom
        assert folder_of("mmiu") == tmp_path / "mmiu"
        with pytest.raises(UsageError, match="has no folder mme"):
            folder_of("mme")
    assert declared_dialect().dialect.name == "internvl"
    with pytest.raises(UsageError, match="MIGBENCH_DATA is unset"):
        folder_of("mmiu")


def test_a_dialects_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("title: Mine\nsource: me\nsyntax: [quad]\nformat: Say it.\nscales: 3\n")
    with pytest.raises(DataError, match=r"mine\.yaml:5: .*scales"):
        declared_dialect({"MIGBENCH_DIALECT": str(file)})
