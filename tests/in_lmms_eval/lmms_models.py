"""Small model classes of lmms-eval, each with one trait. They need lmms-eval to be imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models import MODEL_REGISTRY_V2
from lmms_eval.models.registry_v2 import ModelManifest

FAILED = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] connection refused"


class Chat(lmms):
    """Looks at every question, and answers with what `say` makes of its messages."""

    is_simple = False
    latest: ClassVar[Any] = None
    """The one that was started last, by whatever way."""

    def __init__(self, batch_size: int = 1) -> None:
        super().__init__()
        Chat.latest = self
        self.batch_size = batch_size
        self.lists: list[int] = []
        self.settings: list[Mapping[str, Any]] = []
        self.messages: list[Any] = []

    def generate_until(self, requests: list[Any]) -> list[Any]:
        self.lists.append(len(requests))
        return self.order([self._answer(request) for request in requests])

    def _answer(self, request: Any) -> Any:
        _, to_messages, settings, document, task, split = request.args
        self.settings.append(settings)  # max_new_tokens and temperature, as they are needed
        messages = to_messages(self.task_dict[task][split][document])
        self.messages.append(messages)
        return self.say(messages)

    def say(self, messages: Any) -> Any:
        """Which question it is, by its images and its text."""
        parts = messages[-1]["content"]
        seen = [str(part.get("url", part.get("text"))) for part in parts]
        number = sum(sum(text.encode()) for text in seen) % 900
        return f"({number},0),({number + 99},999)"

    def order(self, answers: list[Any]) -> list[Any]:
        """The answers as they are given back."""
        return answers

    def loglikelihood(self, requests: list[Any]) -> Any:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: list[Any]) -> Any:
        raise NotImplementedError


class Raises(Chat):
    """Fails at the questions about differences."""

    def say(self, messages: Any) -> Any:
        if "Compare" in messages[-1]["content"][-1]["text"]:
            raise RuntimeError("CUDA error: out of luck")
        return super().say(messages)


class Leaves(Chat):
    """Ends the process, or would."""

    def say(self, messages: Any) -> Any:
        raise SystemExit(1)


class Fails(Chat):
    """Puts lmms-eval's marker in an answer's place, as its classes for servers do."""

    def say(self, messages: Any) -> Any:
        return FAILED


class Filtered(Chat):
    """Puts the marker in the place of an answer that a server's content filter took away."""

    def say(self, messages: Any) -> Any:
        return f"{FAILED}: Error code: 400 - {{'error': {{'code': 'content_filter'}}}}"


class Silent(Chat):
    """Gives no text after a failure, as some of lmms-eval's classes do."""

    def say(self, messages: Any) -> Any:
        return GenerationResult(text="", token_counts=None)


class Wordless(Chat):
    """Really says nothing: one token, which ends the answer."""

    def say(self, messages: Any) -> Any:
        return GenerationResult(text="", token_counts=TokenCounts(output_tokens=1))


class Wordy(Chat):
    """Goes on until it may not."""

    def say(self, messages: Any) -> Any:
        return GenerationResult(
            text="Well, " * 64, token_counts=TokenCounts(input_tokens=9, output_tokens=128)
        )


class Numbers(Chat):
    """Gives something that is no text."""

    def say(self, messages: Any) -> Any:
        return 7


class Sorted(Chat):
    """Answers by the length of the text, and forgets to restore the order."""

    def generate_until(self, requests: list[Any]) -> list[Any]:
        return super().generate_until(sorted(requests, key=lambda one: len(one.args[0])))


class Hasty(Chat):
    """Gives answers back as they come in, the last asked first."""

    def order(self, answers: list[Any]) -> list[Any]:
        return answers[::-1]


class Forgetful(Chat):
    """Loses an answer as soon as there are two."""

    def order(self, answers: list[Any]) -> list[Any]:
        return answers[:1]


class Blind(Chat):
    """Answers without a look."""

    def _answer(self, request: Any) -> Any:
        return "(0,0),(999,999)"


class Simple(Chat):
    """A simple model: it gets decoded images and a text."""

    is_simple = True

    def _answer(self, request: Any) -> Any:
        text, settings, to_images, document, task, split = request.args
        self.settings.append(settings)
        images = to_images(self.task_dict[task][split][document])
        self.messages.append((images, text))
        return f"({sum(image.width for image in images) % 900},0),(999,999)"


class Replay(Chat):
    """Says what ``answer`` has for a question's reference."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        super().__init__()
        self._recall = answer

    def _answer(self, request: Any) -> Any:
        _, to_messages, settings, document, task, split = request.args
        record = self.task_dict[task][split][document]
        self.settings.append(settings)
        self.messages.append(to_messages(record))
        return self._recall(record["reference"])


def register() -> None:
    """Make them known to lmms-eval under their names in small letters."""
    for kind in (
        *(Chat, Raises, Leaves, Fails, Filtered, Silent, Wordless, Wordy, Numbers),
        *(Sorted, Hasty, Forgetful, Blind, Simple),
    ):
        path = f"{kind.__module__}.{kind.__name__}"
        simple, chat = (path, None) if kind.is_simple else (None, path)
        MODEL_REGISTRY_V2.register_manifest(
            ModelManifest(kind.__name__.lower(), simple_class_path=simple, chat_class_path=chat),
            overwrite=True,
        )
