"""lmms-eval's models behind migbench's adapter: failures, order, images, settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from lmms_models import FAILED, Chat, register
from PIL import Image, ImageOps
from support.command_line import migbench
from support.image_kinds import KINDS, write

from migbench.integrations.lmms_eval.failures import FAILURE as FAILURE_OF_THE_TASKS
from migbench.messages import AdapterError, Answer, Generation, ImageFile, ModelError, Request
from migbench.runs.store import Run
from model_adapters.lmms_eval.adapter import LmmsEvalAdapter
from model_adapters.lmms_eval.model import FAILURE


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    register()


@pytest.fixture
def images(mini: Path) -> list[ImageFile]:
    paths = sorted((mini / "images" / "diff").iterdir())
    return [ImageFile(path.name, path) for path in paths]


def asking(image: ImageFile, text: str, **settings: Any) -> Request:
    return Request((image, text), Generation(**settings))


def answers(adapter: LmmsEvalAdapter, requests: Iterable[Request]) -> list[Answer | BaseException]:
    """What becomes of requests that are all under way at once."""

    async def ask() -> list[Answer | BaseException]:
        given = await asyncio.gather(
            *(adapter.answer(request) for request in requests), return_exceptions=True
        )
        await adapter.close()
        return given

    return asyncio.run(ask())


def one(model: str, request: Request, **settings: Any) -> Answer | BaseException:
    (given,) = answers(LmmsEvalAdapter(model, **settings), [request])
    return given


def alone(requests: Iterable[Request]) -> list[Answer | BaseException]:
    """What a sound model says to each request, asked one by one."""
    return answers(LmmsEvalAdapter("chat"), requests)


def texts(outcomes: Iterable[Answer | BaseException]) -> list[str]:
    return [each.text if isinstance(each, Answer) else str(each) for each in outcomes]


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param("raises", "RuntimeError: CUDA error: out of luck", id="it-raises"),
        pytest.param("leaves", "SystemExit: 1", id="it-ends-the-process"),
        pytest.param("fails", FAILED, id="it-gives-the-failure-marker"),
        pytest.param("silent", "gave no text", id="it-gives-no-text-and-counts-no-token"),
        pytest.param("numbers", "gave int instead of a text", id="it-gives-no-text-at-all"),
        pytest.param("blind", "without a look", id="it-never-looks-at-the-question"),
    ],
)
def test_a_failure_is_a_model_error(model: str, reason: str, images: list[ImageFile]) -> None:
    given = one(model, asking(images[0], "Compare these."))
    assert isinstance(given, ModelError)
    assert reason in str(given)


def test_what_a_filter_took_away_is_refused(images: list[ImageFile]) -> None:
    given = one("filtered", asking(images[0], "Compare these."))
    assert isinstance(given, Answer)
    assert given.refused


def test_a_model_that_says_nothing_has_answered(images: list[ImageFile]) -> None:
    assert one("wordless", asking(images[0], "Where?")) == Answer("", completion_tokens=1)


def test_the_token_limit_is_seen_where_tokens_are_counted(images: list[ImageFile]) -> None:
    within = one("wordy", asking(images[0], "Where?", max_new_tokens=129))
    at_limit = one("wordy", asking(images[0], "Where?", max_new_tokens=128))
    padded = one("wordy", asking(images[0], "Where?", max_new_tokens=128), batch_size=2)
    truncated = [each.truncated for each in (within, at_limit, padded) if isinstance(each, Answer)]
    assert truncated == [False, True, False]


def test_one_request_that_fails_does_not_sink_the_others(images: list[ImageFile]) -> None:
    words = ["Where is it?", "Find the thing.", "Compare these.", "And where is that?"]
    given = answers(
        LmmsEvalAdapter("raises", at_once=4), [asking(images[0], text) for text in words]
    )
    assert [isinstance(each, Answer) for each in given] == [True, True, False, True]


def test_a_missing_image_is_named_before_the_model_sees_it(mini: Path) -> None:
    given = one("chat", asking(ImageFile("gone.png", mini / "gone.png"), "Where?"))
    assert isinstance(given, ModelError)
    assert "gone.png" in str(given)


def test_both_sides_know_the_same_failures() -> None:
    assert FAILURE == FAILURE_OF_THE_TASKS


def run(model: str, mini: Path, out: Path) -> dict[str, str | None]:
    """A run of four at once through the command line: its answers by question, None for errors."""
    done = migbench(
        *("run", "--model", model, "--adapter", "lmms-eval", "--dialect", "qwen2-vl"),
        *("--data", mini, "--model-arg", "at_once=4", "--out", out),
    )
    lines = Run(out).lines.values()
    assert done.status == any(line.text is None for line in lines), done.err
    return {line.question: line.text for line in lines}


def test_no_failure_is_scored_in_a_run(mini: Path, tmp_path: Path) -> None:
    raised = run("raises", mini, tmp_path / "raises")
    assert {key.split("-")[0] for key, text in raised.items() if text is None} == {
        "diff",
        "view_diff",
    }
    assert set(run("fails", mini, tmp_path / "fails").values()) == {None}


def test_no_answer_of_another_question_is_scored_in_a_run(mini: Path, tmp_path: Path) -> None:
    right = run("chat", mini, tmp_path / "chat")
    mixed = run("sorted", mini, tmp_path / "sorted")
    assert mixed.keys() == right.keys()
    assert all(text in (right[key], None) for key, text in mixed.items())


# --- order ----------------------------------------------------------------------------------------

WORDS = ["a much longer question than the others", "a short one", "Which?", "another question"]


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_every_request_gets_its_own_answer(at_once: int, images: list[ImageFile]) -> None:
    requests = [asking(image, text) for image in images[:4] for text in WORDS]
    together = answers(LmmsEvalAdapter("chat", at_once=at_once), requests)
    assert texts(together) == texts(alone(requests))


def test_lists_are_handed_over_once_the_order_is_proven(images: list[ImageFile]) -> None:
    adapter = LmmsEvalAdapter("chat", at_once=4)
    answers(adapter, [asking(image, text) for image in images[:6] for text in WORDS])
    one_by_one_and_both_ways = [1, 1, 1, 1, 4, 4]
    assert Chat.latest.lists == one_by_one_and_both_ways * 4 + [4, 4]


@pytest.mark.parametrize("model", ["sorted", "hasty"])
def test_answers_in_another_order_are_refused(model: str, images: list[ImageFile]) -> None:
    requests = [asking(image, text) for image in images[:2] for text in WORDS]
    given = answers(LmmsEvalAdapter(model, at_once=4), requests)
    assert texts(given[:4]) == texts(alone(requests[:4]))
    assert all(isinstance(each, ModelError) for each in given[4:])
    assert "at_once=1" in str(given[4])


@pytest.mark.parametrize("model", ["sorted", "hasty"])
def test_a_class_that_mixes_answers_serves_one_by_one(model: str, images: list[ImageFile]) -> None:
    requests = [asking(image, text) for image in images[:2] for text in WORDS]
    given = answers(LmmsEvalAdapter(model), requests)
    assert texts(given) == texts(alone(requests))


def test_a_class_that_loses_answers_is_asked_one_by_one(images: list[ImageFile]) -> None:
    requests = [asking(images[0], text) for text in WORDS]
    given = answers(LmmsEvalAdapter("forgetful", at_once=4), requests)
    assert texts(given) == texts(alone(requests))


def test_questions_that_are_alike_prove_nothing_about_sorting(images: list[ImageFile]) -> None:
    alike = [asking(image, "Where?") for image in images[:8]] * 4
    unlike = [asking(image, text) for image in images[:2] for text in WORDS]
    given = answers(LmmsEvalAdapter("sorted", at_once=4), [*alike, *unlike])
    right = texts(alone([*alike, *unlike]))
    assert texts(given[:36]) == right[:36]
    assert all(isinstance(each, ModelError) for each in given[36:])


def test_answers_that_are_all_the_same_prove_nothing(images: list[ImageFile]) -> None:
    adapter = LmmsEvalAdapter("wordy", at_once=4)
    answers(adapter, [asking(images[0], text, max_new_tokens=256) for text in WORDS])
    assert Chat.latest.lists == [1] * 4


# --- images and settings --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", ["path", "decoded"])
def test_a_class_that_opens_files_itself_shows_what_we_do(
    tmp_path: Path, kind: str, images: str
) -> None:
    file, _ = write(tmp_path, kind)
    adapter = LmmsEvalAdapter("chat", images=images)
    assert isinstance(answers(adapter, [asking(file, "?")])[0], Answer)
    (url, *_) = (part["url"] for part in Chat.latest.messages[0][-1]["content"] if "url" in part)
    opened = Image.open(url) if isinstance(url, str) else url
    assert isinstance(url, str) == (images == "path" and file.difference() is None)
    shown = ImageOps.exif_transpose(opened).convert("RGB")
    assert (shown.size, shown.tobytes()) == (file.open().size, file.open().tobytes())


def test_images_and_texts_keep_their_order(images: list[ImageFile]) -> None:
    adapter = LmmsEvalAdapter("chat")
    first, second, third = images[3], images[0], images[2]
    answers(adapter, [Request(("Image-1: ", first, "\nImage-2: ", second, third, "Where?"))])
    (((message,)),) = Chat.latest.messages
    shown = [part.get("url", part.get("text")) for part in message["content"]]
    paths = [str(each.path) for each in (first, second, third)]
    assert shown == ["Image-1: ", paths[0], "\nImage-2: ", paths[1], paths[2], "Where?"]


def test_images_are_decoded_where_a_class_wants_them_so(images: list[ImageFile]) -> None:
    adapter = LmmsEvalAdapter("chat", images="decoded")
    answers(adapter, [asking(images[0], "Where?")])
    (((message,)),) = Chat.latest.messages
    assert message["content"][0]["url"].size == images[0].size()


def test_a_simple_model_gets_decoded_images_and_the_text(images: list[ImageFile]) -> None:
    adapter = LmmsEvalAdapter("simple")
    answers(adapter, [Request((images[1], images[0], "Where?"))])
    ((shown, text),) = Chat.latest.messages
    assert [each.tobytes() for each in shown] == [
        each.open().tobytes() for each in (images[1], images[0])
    ]
    assert text == "Where?"


def test_a_simple_model_is_not_asked_what_it_cannot_be_shown(images: list[ImageFile]) -> None:
    given = one("simple", Request(("Image-1: ", images[0], "\n", images[1], "Where?")))
    assert isinstance(given, ModelError)
    assert "text between" in str(given)


def test_generation_settings_arrive(images: list[ImageFile]) -> None:
    adapter = LmmsEvalAdapter("chat")
    answers(adapter, [asking(images[0], "Where?", max_new_tokens=9, temperature=0.5)])
    (settings,) = Chat.latest.settings
    assert settings == {"max_new_tokens": 9, "temperature": 0.5, "do_sample": True, "until": []}


def test_a_setting_that_a_class_would_ignore_is_refused(images: list[ImageFile]) -> None:
    given = one("chat", asking(images[0], "Where?", num_beams=5))
    assert isinstance(given, ModelError)
    assert "does not know num_beams" in str(given)


def test_lmms_evals_own_notation_of_settings_is_understood() -> None:
    LmmsEvalAdapter("chat", model_args="batch_size=3")
    assert Chat.latest.batch_size == 3


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        pytest.param(
            {"pretraned": "x"}, "has no setting pretraned; it takes batch_size", id="typo"
        ),
        pytest.param({"max_pixels": 9}, "has no setting max_pixels", id="pixel-bounds"),
        pytest.param({"at_once": 0}, "at_once must be", id="no-requests"),
        pytest.param({"images": "url"}, "path or decoded", id="images"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AdapterError, match=complaint):
        LmmsEvalAdapter("chat", **settings)


def test_an_unknown_model_is_refused_with_the_choices() -> None:
    with pytest.raises(AdapterError, match=r"has no model qwen9; it has .*qwen2_5_vl"):
        LmmsEvalAdapter("qwen9")
