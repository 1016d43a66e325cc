"""The test server itself: strict, deterministic, and able to outlive its client."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.local_server import (
    MALFORMED_REPLIES,
    PASSING_FAILURES,
    Behaviour,
    LocalServer,
    read_log,
    server_process,
)

from migbench.messages import Request
from model_adapters.openai.adapter import OpenAIAdapter


def post(base_url: str, body: object) -> dict[str, Any]:
    http = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode())
    with urllib.request.urlopen(http, timeout=10) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def chat(*content: dict[str, Any], **fields: object) -> dict[str, Any]:
    messages = [{"role": "user", "content": list(content)}]
    return {"model": "m", "max_tokens": 8, "messages": messages, **fields}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


TEXT = {"type": "text", "text": "Where?"}


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        chat(TEXT, model=""),
        chat(TEXT, max_tokens=0),
        chat(TEXT, temperature=-1),
        chat(TEXT, stream=True),
        chat(TEXT, messages=[]),
        chat(TEXT, messages=[{"role": "robot", "content": "Where?"}]),
        chat({"type": "text", "text": ""}),
        chat({"type": "audio"}),
        chat(TEXT, image("https://127.0.0.1/a.png")),
        chat(TEXT, image("data:image/png;base64,AAAA")),
        chat(TEXT, image("data:image/png;base64,A")),
    ],
)
def test_requests_that_no_server_takes_are_rejected(body: object) -> None:
    with LocalServer() as server, pytest.raises(urllib.error.HTTPError, match="400") as raised:
        post(server.base_url, body)
    raised.value.close()
    assert [received.fate for received in server.received] == ["400"]


def test_answers_depend_on_content_alone() -> None:
    with LocalServer() as one, LocalServer() as other:
        first = post(one.base_url, chat(TEXT))
        again = post(one.base_url, chat(TEXT, temperature=0.5))
        elsewhere = post(other.base_url, chat(TEXT))
        different = post(one.base_url, chat({"type": "text", "text": "Which?"}))
    assert first == again == elsewhere != different


def test_fates_are_seeded_and_have_the_shares_asked_for() -> None:
    behaviour = Behaviour(fail_rate=0.3, fail_forever_rate=0.1, malformed_rate=0.1, seed=1)
    requests = [str(number) for number in range(4000)]
    fates = [behaviour.fate(request, 0) for request in requests]
    assert fates == [behaviour.fate(request, 0) for request in requests]
    assert fates != [Behaviour(fail_rate=0.3, seed=2).fate(request, 0) for request in requests]
    assert set(fates) == {"answer", *PASSING_FAILURES, *MALFORMED_REPLIES}
    forever = [all(behaviour.fate(request, n) == "500" for n in range(9)) for request in requests]
    assert sum(forever) / 4000 == pytest.approx(0.1, abs=0.02)
    failing = sum(fate in PASSING_FAILURES for fate in fates)
    assert failing / 4000 == pytest.approx(0.1 + 0.9 * 0.3, abs=0.03)


@pytest.mark.asyncio
async def test_a_server_in_its_own_process_logs_every_request_as_it_arrives(
    tmp_path: Path,
) -> None:
    requests = [Request((f"Question {number}",)) for number in range(30)]
    with server_process(tmp_path, Behaviour(fail_rate=0.3, delay=0.001)) as (base_url, log):
        adapter = OpenAIAdapter(
            checkpoint="m", base_url=base_url, concurrency=4, retries=20, backoff=0.0
        )
        try:
            answers = await asyncio.gather(*map(adapter.answer, requests))
        finally:
            await adapter.close()
        records = read_log(log)
    assert len({answer.text for answer in answers}) == 30
    assert [record["arrival"] for record in records] == list(range(len(records)))
    answered = [record["request"] for record in records if record["fate"] == "answer"]
    assert len(answered) == len(set(answered)) == 30
    failed = [record for record in records if record["fate"] in PASSING_FAILURES]
    assert failed
    assert len(records) == 30 + len(failed)
    assert max(record["in_flight"] for record in records) <= 4
