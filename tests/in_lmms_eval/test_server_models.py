"""lmms-eval's own client for servers, driven by migbench against a server that fails on purpose."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.chat_format import message_parts
from support.command_line import migbench
from support.local_server import Behaviour, LocalServer, Received, box_of

from migbench.data.annotations import read_annotations
from migbench.runs.store import Run
from model_adapters.lmms_eval.model import FAILURE

Shown = tuple[str, tuple[str, ...]]
"""A question's text, and a hash of every image's pixels in their order."""


def pixels(files: Sequence[Any]) -> tuple[str, ...]:
    opened = (Image.open(file).convert("RGB") for file in files)
    return tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in opened)


def arrived(received: Received) -> Shown:
    (message,) = received.body["messages"]
    (text,) = (part["text"] for part in message_parts(message) if part["type"] == "text")
    return text, pixels([io.BytesIO(content) for content in received.image_bytes])


@pytest.fixture(scope="module")
def asked(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Mapping[Shown, Any]]:
    """A run over two tasks, and what the server saw and made of it."""
    out = tmp_path_factory.mktemp("run") / "run"
    behaviour = Behaviour(reject_rate=0.2, malformed_rate=0.3, seed=3)
    with pytest.MonkeyPatch.context() as patch, LocalServer(behaviour) as server:
        patch.setenv("OPENAI_API_KEY", "none")
        migbench(
            *("run", "--model", "openai", "--adapter", "lmms-eval", "--dialect", "qwen2-vl"),
            *("--model-arg", f"base_url={server.base_url}", "--model-arg", "model_version=m"),
            *("--model-arg", "max_retries=1", "--model-arg", "retry_backoff_s=0"),
            *("--model-arg", "num_concurrent=4", "--model-arg", "at_once=4"),
            *("--data", mini, "--tasks", "group_grounding,region", "--out", out),
        )
        return Run(out), {arrived(each): each for each in server.received}


def test_every_question_has_its_own_answer_or_its_error(
    asked: tuple[Run, Mapping[Shown, Received]], mini: Path
) -> None:
    run, seen = asked
    annotations = read_annotations(mini / "MIG_mini.json")
    fates = set()
    for (question, _), line in run.lines.items():
        images = [mini / name for name in annotations.by_id[question].images]
        received = seen[line.prompt.replace("<|image_pad|>", ""), pixels(images)]
        fates.add(received.fate)
        if received.fate == "answer":
            assert line.text == box_of(received.request)
        else:
            assert line.text is None
            assert line.error
    assert fates >= {"answer", "400", "no_choices", "null_content"}


def test_the_failure_marker_is_the_reason(asked: tuple[Run, Mapping[Shown, Received]]) -> None:
    run, _ = asked
    reasons = [line.error for line in run.lines.values() if line.error]
    assert any(reason.startswith(FAILURE) for reason in reasons)
