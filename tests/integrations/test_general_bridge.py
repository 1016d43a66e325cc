"""A model of migbench as lmms-eval asks it: requests in order, and failures that stay failures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from migbench.dialects import find_dialect
from migbench.integrations.lmms_eval.suites.answer_log import AnswerLog, open_log
from migbench.integrations.lmms_eval.suites.chat_model import MigbenchChat
from migbench.integrations.lmms_eval.suites.requests import to_request
from migbench.messages import Answer, Generation, ModelError, Request
from migbench.models.resolving import Overrides, resolve_model

MODEL = resolve_model("mine", Overrides(adapter="baseline", dialect=find_dialect("qwen2-vl")))


# --- requests -------------------------------------------------------------------------------------


def user(*content: Any) -> list[dict[str, Any]]:
    parts = [
        {"type": "text", "text": each} if isinstance(each, str) else {"type": "image", "url": each}
        for each in content
    ]
    return [{"role": "user", "content": parts}]


def colours(request: Request) -> list[int]:
    return [image.open().getpixel((0, 0))[0] for image in request.images]  # type: ignore[index]


def test_images_keep_their_order_and_their_pixels(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (9, 7), (shade, 1, 2)) for shade in (30, 10, 20, 10)]
    request = to_request(user(pictures[0], "and", *pictures[1:], "?"), Generation(), tmp_path)
    assert colours(request) == [30, 10, 20, 10]
    assert [isinstance(part, str) for part in request.parts] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert len(list(tmp_path.iterdir())) == 3


def test_files_are_handed_on_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "one.jpg"
    Image.new("RGB", (9, 7)).save(path)
    content = [{"type": "image", "url": str(path)}, {"type": "text", "text": "?"}]
    messages = [{"role": "user", "content": content}]
    request = to_request(messages, Generation(), tmp_path / "unused")
    assert [image.read() for image in request.images] == [path.read_bytes()]


def test_images_go_where_the_text_has_the_familys_own_mark(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (9, 7), (shade, 1, 2)) for shade in (30, 10)]
    messages = user(*pictures, "Is <image> like <image>?")
    request = to_request(messages, Generation(), tmp_path, "<image>")
    assert [part for part in request.parts if isinstance(part, str)] == ["Is ", " like ", "?"]
    assert colours(request) == [30, 10]
    other = to_request(messages, Generation(), tmp_path, "<|image_pad|>")
    assert other.parts[2:] == ("Is <image> like <image>?",)
    with pytest.raises(ModelError, match=r"has 2 times <image>.* and 1 images"):
        to_request(user(pictures[0], "Is <image> like <image>?"), Generation(), tmp_path, "<image>")


@pytest.mark.parametrize(
    ("role", "content", "told"),
    [
        ("assistant", "Yes.", "what the assistant has said"),
        ("user", [{"type": "video", "url": "x"}], "shows a video"),
        ("user", [{"type": "image", "url": "no.png"}], r"no\.png: there is no such file"),
    ],
)
def test_what_adapters_cannot_be_asked_is_refused(
    role: str, content: Any, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=told):
        to_request([{"role": role, "content": content}], Generation(), tmp_path)


def test_a_system_message_is_kept_apart(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    request = to_request(messages, Generation(), tmp_path)
    assert (request.system, request.parts) == ("Be brief.", ("Why?",))


# --- the bridge -----------------------------------------------------------------------------------


class Echo:
    """Answers with the text, slowly for the first; ``max_concurrency`` of them at once."""

    max_concurrency = 4
    needs_images = True

    def __init__(self, fails: str = "\0") -> None:
        self.fails = fails
        self.asked: list[Request] = []

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        await asyncio.sleep(0.02 if len(self.asked) == 1 else 0)
        if self.fails in request.text():
            raise RuntimeError("CUDA error: out of luck")
        return Answer(request.text())

    async def close(self) -> None:
        pass


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a model for lmms-eval that asks this adapter."""
    started: list[MigbenchChat] = []

    def make(adapter: Any, **more: Any) -> MigbenchChat:
        monkeypatch.setattr(
            "migbench.integrations.lmms_eval.suites.chat_model.start_adapter", lambda model: adapter
        )
        asked = MigbenchChat(MODEL, **more)
        started.append(asked)
        return asked

    yield make
    for asked in started:
        asked.close()


def instances(asked: MigbenchChat, texts: Sequence[str], **settings: Any) -> list[Any]:
    asked.task_dict = {"task": {"test": texts}}
    return [
        SimpleNamespace(args=("", user, settings, number, "task", "test"))
        for number in range(len(texts))
    ]


def test_every_request_has_its_own_answer(bridge: Any) -> None:
    asked = bridge(Echo())
    texts = [f"question {number}" for number in range(9)]
    assert asked.generate_until(instances(asked, texts)) == texts


def test_a_list_with_a_failure_is_no_list_of_texts(bridge: Any, tmp_path: Path) -> None:
    adapter = Echo(fails="3")
    with open_log(tmp_path / "answers.jsonl") as log:
        asked = bridge(adapter, answers=log)
        questions = instances(asked, [f"question {number}" for number in range(9)])
        with pytest.raises(ModelError, match=r"1 of 9 questions have no answer .*out of luck"):
            asked.generate_until(questions)
    assert len(adapter.asked) == 9
    told = (tmp_path / "run.log").read_text("utf-8")
    assert "task/3 turn 0: RuntimeError: CUDA error: out of luck\nTraceback" in told
    # Later, another process asks what has no answer, and no more.
    with open_log(tmp_path / "answers.jsonl") as log:
        again = Echo()
        asked = bridge(again, answers=log)
        questions = instances(asked, [f"question {number}" for number in range(9)])
        assert asked.generate_until(questions)[3] == "question 3"
    assert [request.text() for request in again.asked] == ["question 3"]


def test_a_torn_line_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"question":"a","key":"1","text":"x"}\n{"question":"b","key":"2","te')
    with open_log(path) as log:
        assert [*log.by_key] == ["1"]
    assert path.read_bytes().endswith(b'"x"}\n')


def test_a_model_that_answers_nothing_is_given_up(bridge: Any) -> None:
    adapter = Echo(fails="question")
    asked = bridge(adapter)
    with pytest.raises(ModelError, match="200 of 200 questions have no answer"):
        asked.generate_until(instances(asked, ["question"] * 200))
    assert len(adapter.asked) < 60


def test_a_document_that_does_not_fit_its_task_sinks_no_other(bridge: Any) -> None:
    adapter = Echo()
    asked = bridge(adapter)
    questions = instances(asked, ["one", "two", "three"])

    def broken(record: Any) -> Any:
        raise KeyError("options")

    questions[1].args = ("", broken, {}, 1, "task", "test")
    with pytest.raises(ModelError, match=r"1 of 3 .*task/1: KeyError: 'options'"):
        asked.generate_until(questions)
    assert {request.text() for request in adapter.asked} == {"one", "three"}


def test_rounds_follow_one_another(bridge: Any) -> None:
    asked = bridge(Echo())
    asked.task_dict = {"task": {"test": ["start"]}}

    def rounds(record: str, **more: Any) -> Any:
        if not more:
            return user(record)
        said, number = more["previous_output"], more["round_idx"]
        messages = user(f"{said[-1]} {number} {more['previous_round_info']}")
        return (messages, number == 3, said, f"after {number}")

    instance = SimpleNamespace(args=("", rounds, {}, 0, "task", "test"))
    assert asked.generate_until_multi_round([instance]) == [
        ["start", "start 1 None", "start 1 None 2 after 1"]
    ]


def test_a_task_decides_on_generation_unless_the_user_does(bridge: Any) -> None:
    asked = bridge(Echo())
    task = {"max_new_tokens": 16, "temperature": 0.7, "top_p": 0.9, "num_beams": 1, "until": ["x"]}
    sampled = Generation(max_new_tokens=16, temperature=0.7, top_p=0.9)
    assert asked.settings_of(task) == sampled
    assert asked.settings_of({**task, "do_sample": False}) == Generation(max_new_tokens=16)
    assert asked.settings_of({}) == MODEL.generation
    mine = bridge(Echo(), generation={"max_new_tokens": 9, "temperature": 0.0})
    assert mine.settings_of(task) == Generation(max_new_tokens=9)


def test_likelihoods_are_refused(bridge: Any) -> None:
    with pytest.raises(ModelError, match="compares likelihoods"):
        bridge(Echo()).loglikelihood([])


def test_equal_questions_are_asked_once_over_time(bridge: Any) -> None:
    adapter, log = Echo(), AnswerLog()
    asked = bridge(adapter, answers=log)
    for _ in range(2):
        assert asked.generate_until(instances(asked, ["same"])) == ["same"]
    assert len(adapter.asked) == 1
