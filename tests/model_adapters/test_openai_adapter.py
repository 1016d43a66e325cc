"""Asking an OpenAI-compatible server: what is retried, what is an error, and what is never told."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import random
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.chat_format import completion, error
from support.local_server import Behaviour, LocalServer, Scripted, box_of

from migbench.messages import (
    Adapter,
    AdapterError,
    Answer,
    ImageFile,
    ModelError,
    Request,
    ServerDown,
)
from model_adapters.openai.adapter import OpenAIAdapter
from model_adapters.openai.settings import OpenAISettings

KEY = "sk-very+secret/0123456789"
WHERE = Request(("Where?",))
GOOD = Scripted(completion("(1,2),(3,4)"))


@asynccontextmanager
async def adapter_for(base_url: str, **settings: Any) -> AsyncIterator[OpenAIAdapter]:
    """An adapter that does not wait between attempts, closed at the end."""
    adapter = OpenAIAdapter(checkpoint="m", base_url=base_url, **{"backoff": 0.0, **settings})
    try:
        yield adapter
    finally:
        await adapter.close()


async def answer_from(server: LocalServer, request: Request = WHERE, **settings: Any) -> Answer:
    async with adapter_for(server.base_url, **settings) as adapter:
        return await adapter.answer(request)


async def failure_from(server: LocalServer, **settings: Any) -> str:
    with pytest.raises(ModelError) as raised:
        await answer_from(server, **settings)
    return str(raised.value)


def image_requests(folder: Path, image_sets: int, questions: int) -> list[Request]:
    """Several questions about each of several image sets of two images, in order of image set."""
    requests = []
    for number in range(image_sets):
        images = []
        for part in range(2):
            path = folder / f"{number}-{part}.png"
            Image.new("RGB", (8, 6), (number, part, 0)).save(path)
            images.append(ImageFile(path.name, path))
        for question in range(questions):
            requests.append(Request((*images, f"Question {question}"), image_set=str(number)))
    return requests


# --- An answer ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_answer_carries_text_token_counts_and_seconds(tmp_path: Path) -> None:
    (request,) = image_requests(tmp_path, 1, 1)
    with LocalServer(Behaviour(delay=0.05)) as server:
        answer = await answer_from(server, request)
    (received,) = server.received
    assert answer.text == box_of(received.request)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.truncated) == (1234, 21, False)
    assert answer.seconds is not None
    assert 0.05 <= answer.seconds < 5.0
    assert received.body["model"] == "m"
    assert received.headers["Content-Type"] == "application/json"
    assert received.image_bytes == tuple(image.read() for image in request.images)


@pytest.mark.asyncio
async def test_a_body_of_megabytes_arrives_whole(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    Image.frombytes("RGB", (1200, 900), random.Random(0).randbytes(1200 * 900 * 3)).save(path)
    image = ImageFile("noise.png", path)
    with LocalServer() as server:
        await answer_from(server, Request((image, "Where?")))
    assert server.received[0].image_bytes == (path.read_bytes(),)
    assert len(path.read_bytes()) > 3_000_000


@pytest.mark.asyncio
async def test_settings_reach_the_body() -> None:
    with LocalServer() as server:
        await answer_from(
            server,
            max_tokens_field="max_completion_tokens",
            omit_fields=["seed"],
            extra_body={"skip_special_tokens": False},
        )
    body = server.received[0].body
    assert body["max_completion_tokens"] == 128
    assert body["skip_special_tokens"] is False
    assert not {"max_tokens", "seed"}.intersection(body)


@pytest.mark.asyncio
async def test_requests_arrive_in_the_order_in_which_they_are_asked(tmp_path: Path) -> None:
    requests = image_requests(tmp_path, 6, 3)
    with LocalServer() as server:
        async with adapter_for(server.base_url, concurrency=1) as adapter:
            await asyncio.gather(*map(adapter.answer, requests))
    texts = [received.body["messages"][0]["content"][-1]["text"] for received in server.received]
    assert texts == ["Question 0", "Question 1", "Question 2"] * 6
    sets = [received.image_set for received in server.received]
    assert sum(one != other for one, other in pairwise(sets)) == 5


@pytest.mark.asyncio
async def test_no_more_requests_are_under_way_than_asked_for() -> None:
    with LocalServer(Behaviour(delay=0.05)) as server:
        async with adapter_for(server.base_url, concurrency=4) as adapter:
            conforming: Adapter = adapter
            assert conforming.needs_images
            assert conforming.max_concurrency > 4, "some of them wait for others"
            requests = [Request((f"Question {number}",)) for number in range(20)]
            await asyncio.gather(*map(adapter.answer, requests))
    assert len(server.received) == 20
    assert server.most_in_flight == 4


@pytest.mark.asyncio
async def test_closing_is_harmless_before_and_after_use() -> None:
    with LocalServer() as server:
        adapter = OpenAIAdapter(checkpoint="m", base_url=server.base_url)
        await adapter.close()
        await adapter.answer(WHERE)
        await adapter.close()
        await adapter.close()


# --- Failures that pass ------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
async def test_a_busy_or_broken_server_is_asked_again(status: int) -> None:
    with LocalServer(script=[Scripted(error("busy"), status), GOOD]) as server:
        answer = await answer_from(server, retries=1)
    assert answer.text == "(1,2),(3,4)"
    assert [received.body for received in server.received] == [server.received[0].body] * 2


@pytest.mark.asyncio
async def test_a_lost_connection_is_made_again() -> None:
    with LocalServer(script=[Scripted(drop=True), GOOD]) as server:
        assert (await answer_from(server, retries=1)).text == "(1,2),(3,4)"


@pytest.mark.asyncio
async def test_an_attempt_that_takes_too_long_is_given_up_and_made_again() -> None:
    with LocalServer(script=[Scripted(delay=5.0), GOOD]) as server:
        answer = await answer_from(server, retries=1, timeout=0.5)
    assert answer.text == "(1,2),(3,4)"
    assert answer.seconds is not None
    assert answer.seconds < 0.5, "the time of the attempt that succeeded"


@pytest.mark.asyncio
async def test_when_no_attempt_succeeds_the_last_reason_and_their_number_are_told() -> None:
    with LocalServer(script=[Scripted(error("out of memory"), 500)] * 4) as server:
        message = await failure_from(server, retries=3)
        assert message == (
            f"{server.base_url}/chat/completions: 500 Internal Server Error: out of memory "
            "(attempts: 4)"
        )
        assert len(server.received) == 4


@pytest.mark.asyncio
async def test_a_timeout_says_how_long_was_waited() -> None:
    with LocalServer(Behaviour(delay=5.0)) as server:
        assert "no reply within 0.1 s" in await failure_from(server, retries=1, timeout=0.1)


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with LocalServer() as server:
        gone = server.base_url
    async with adapter_for(gone, retries=6) as adapter:
        with pytest.raises(ServerDown, match=r"Cannot connect to host .*is the server started"):
            await adapter.answer(WHERE)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("wish", "longest_wait", "least", "most"),
    [("0.3", 60.0, 0.3, 5.0), ("86400", 0.1, 0.1, 5.0), (None, 60.0, 0.0, 5.0)],
)
async def test_the_servers_wish_to_wait_is_honoured_up_to_a_bound(
    wish: str | None, longest_wait: float, least: float, most: float
) -> None:
    headers = {"Retry-After": wish} if wish else {}
    started = time.perf_counter()
    with LocalServer(script=[Scripted(error("slow down"), 429, headers), GOOD]) as server:
        await answer_from(server, longest_wait=longest_wait)
    assert least <= time.perf_counter() - started < most


@pytest.mark.asyncio
async def test_a_wish_beyond_the_calendar_costs_no_attempt() -> None:
    headers = {"Retry-After": "Wed, 21 Oct 99999 07:28:30 +9999"}
    with LocalServer(script=[Scripted(error("slow down"), 429, headers), GOOD]) as server:
        assert (await answer_from(server, retries=1)).text == "(1,2),(3,4)"


@pytest.mark.asyncio
async def test_without_a_wish_attempts_are_spaced_by_the_backoff() -> None:
    started = time.perf_counter()
    with LocalServer(script=[Scripted(error("busy"), 503)] * 2 + [GOOD]) as server:
        await answer_from(server, backoff=0.2)
    assert time.perf_counter() - started >= 0.5 * (0.2 + 0.4)


@pytest.mark.asyncio
async def test_a_fifth_of_all_attempts_failing_costs_nothing(tmp_path: Path) -> None:
    requests = image_requests(tmp_path, 10, 4)

    async def answers(behaviour: Behaviour) -> list[str]:
        with LocalServer(behaviour) as server:
            async with adapter_for(server.base_url, concurrency=8, retries=10) as adapter:
                given = await asyncio.gather(*map(adapter.answer, requests))
        failed = sum(received.fate != "answer" for received in server.received)
        assert len(server.received) == len(requests) + failed
        assert (failed > 0) == (behaviour.fail_rate > 0)
        return [answer.text for answer in given]

    assert await answers(Behaviour(fail_rate=0.2)) == await answers(Behaviour())


# --- Failures that last ------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_refused_request_is_an_error_at_once_in_the_servers_words(status: int) -> None:
    refusal = Scripted(error("At most 4 image(s) may be provided in one prompt."), status)
    with LocalServer(script=[refusal]) as server:
        message = await failure_from(server)
    assert f"{status} " in message
    assert "At most 4 image(s)" in message
    assert len(server.received) == 1


@pytest.mark.asyncio
async def test_a_long_message_is_shortened() -> None:
    with LocalServer(script=[Scripted(b"<p>page</p>" * 10_000, 400)]) as server:
        message = await failure_from(server)
    assert message.endswith("…")
    assert len(message) < 600


NO_COMPLETIONS = {
    "an empty body": b"",
    "a proxy's page": b"<html>502 Bad Gateway</html>",
    "cut JSON": completion("(1,2),(3,4)")[:60],
    "no choices": b'{"choices": []}',
    "an error that names 429": b'{"error": {"message": "slow down", "code": 429}}',
    "an error that names 502": b'{"error": {"message": "no provider", "code": "502"}}',
    "an error without a code": b'{"error": "try again"}',
    "an error beside choices": b'{"choices": [{"message": {"content": null}}], "error": {"m": 1}}',
    "an error inside of a choice": b'{"choices": [{"error": {"code": 502, "message": "gone"}}]}',
    "a generation broken off": completion("(1,2),(3", "abort"),
    "a generation that failed": completion("", "error"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", NO_COMPLETIONS.values(), ids=NO_COMPLETIONS)
async def test_a_failure_inside_of_a_successful_reply_is_retried_like_its_status(
    reply: bytes,
) -> None:
    started = time.perf_counter()
    with LocalServer(script=[Scripted(reply), GOOD]) as server:
        answer = await answer_from(server, retries=1, backoff=0.1)
    assert answer.text == "(1,2),(3,4)"
    assert time.perf_counter() - started >= 0.05
    with LocalServer(script=[Scripted(reply)] * 2) as server:
        message = await failure_from(server, retries=1)
    assert message.startswith(f"{server.base_url}/chat/completions: the ")
    assert message.endswith("(attempts: 2)")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply",
    [
        completion(None),
        completion("", "tool_calls"),
        completion("(1,2),(3,4)", "new_word"),
        completion(None, reasoning_content="hm"),
        completion([{"type": "image_url"}]),
        b'{"error": {"message": "no such field", "code": 400}}',
        b'{"error": {"message": "who are you?", "type": "authentication_error"}}',
    ],
)
async def test_what_would_be_answered_alike_is_an_error_at_once(reply: bytes) -> None:
    with LocalServer(script=[Scripted(reply)]) as server:
        message = await failure_from(server)
    assert message.startswith(f"{server.base_url}/chat/completions: the ")
    assert len(server.received) == 1


FILTERED = {
    "null content": Scripted(completion(None, "content_filter")),
    "empty content": Scripted(completion("", "content_filter")),
    "half an answer": Scripted(completion("(1,2),(3", "SAFETY")),
    "a refusal": Scripted(completion(None, refusal="I cannot help with that.")),
    "Azure's 400": Scripted(
        b'{"error": {"message": "It was filtered.", "code": "content_filter", "status": 400}}', 400
    ),
    "an inner code": Scripted(
        b'{"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}, "message": "no"}}', 400
    ),
    "Alibaba's 400": Scripted(b'{"error": {"code": "data_inspection_failed"}}', 400),
    "OpenRouter's 403": Scripted(
        b'{"error": {"code": 403, "message": "no", "metadata": {"flagged_input": "x"}}}', 403
    ),
    "a proxy's words": Scripted(
        b'{"error": {"message": "400: It triggered the content management policy."}}', 400
    ),
    "an error inside of a reply": Scripted(b'{"error": {"code": "content_filter"}}'),
    "no candidates": Scripted(b'{"promptFeedback": {"blockReason": "SAFETY"}}'),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("reply", FILTERED.values(), ids=FILTERED)
async def test_what_a_content_filter_takes_away_is_refused_once(reply: Scripted) -> None:
    with LocalServer(script=[reply]) as server:
        answer = await answer_from(server)
    assert answer.refused
    assert len(server.received) == 1


@pytest.mark.asyncio
async def test_no_more_of_a_reply_is_read_than_an_answer_can_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("model_adapters.openai.transport._REPLY_LIMIT", 2**20)
    with LocalServer(script=[Scripted(b" " * (2**20 + 1))]) as server:
        assert "larger than 1 MiB" in await failure_from(server)


@pytest.mark.asyncio
async def test_a_compressed_reply_is_not_unpacked() -> None:
    bomb = Scripted(gzip.compress(completion(" " * 2**20)), headers={"Content-Encoding": "gzip"})
    with LocalServer(script=[bomb]) as server:
        assert "no chat completion" in await failure_from(server, retries=0)
    assert server.received[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
        b"",
    ],
)
async def test_what_is_no_http_server_is_a_model_error(reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with adapter_for(f"http://{host}:{port}/v1", retries=1) as adapter:
            with pytest.raises(ModelError, match=r"attempts: 2"):
                await adapter.answer(WHERE)


@pytest.mark.asyncio
async def test_redirects_are_told_and_not_followed() -> None:
    with LocalServer() as elsewhere:
        target = f"{elsewhere.base_url}/chat/completions"
        redirect = Scripted(status=307, headers={"Location": target})
        with LocalServer(script=[redirect]) as server:
            message = await failure_from(server)
    assert f"redirects to {target}" in message
    assert not elsewhere.received


@pytest.mark.asyncio
async def test_an_image_that_cannot_be_sent_costs_no_request(tmp_path: Path) -> None:
    missing = ImageFile("gone.png", tmp_path / "gone.png")
    with LocalServer() as server:
        async with adapter_for(server.base_url) as adapter:
            with pytest.raises(ModelError, match=r"image gone\.png"):
                await adapter.answer(Request((missing,)))
            await adapter.answer(WHERE)
    assert len(server.received) == 1


# --- The key -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_key_comes_from_the_environment_variable_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("MY_SERVERS_KEY", f" {KEY}\n")
    with LocalServer() as server:
        await answer_from(server, api_key_env="MY_SERVERS_KEY")
    assert server.received[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.asyncio
async def test_servers_without_a_key_are_sent_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with LocalServer() as server:
        await answer_from(server)
    assert "Authorization" not in server.received[0].headers


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("key", "state"), [(KEY, "is set"), ("", "is not set")])
async def test_a_refused_key_is_an_error_that_names_the_variable(
    status: int, key: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SERVERS_KEY", key)
    with LocalServer(script=[Scripted(error("who are you?"), status)]) as server:
        message = await failure_from(server, api_key_env="MY_SERVERS_KEY")
    assert f"who are you? (the key is taken from MY_SERVERS_KEY, which {state}" in message


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply",
    [
        Scripted(error(f"Incorrect API key provided: {KEY}."), 401),
        Scripted(error(f"{'x' * 450} {KEY} {KEY} {KEY}"), 400),
        Scripted(error(f"Bearer {KEY}"), 500),
        Scripted(f"Bearer {KEY}".encode()),
        Scripted(error(f"Bearer {KEY}")),
        Scripted(completion(None, finish_reason=KEY)),
        Scripted(status=307, headers={"Location": f"http://127.0.0.1/?key={KEY}"}),
    ],
)
async def test_a_server_that_repeats_the_key_does_not_get_it_into_an_error(
    reply: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LocalServer(script=[reply]) as server:
        async with adapter_for(server.base_url, retries=0) as adapter:
            with pytest.raises(ModelError) as raised:
                await adapter.answer(WHERE)
            told = "".join(traceback.format_exception(raised.value)) + repr(adapter)
    assert "[key]" in told
    assert KEY[:8] not in told


def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(AdapterError, match="not the key itself") as raised:
        OpenAIAdapter(checkpoint="m", base_url="http://127.0.0.1/v1", api_key_env=KEY)
    assert KEY not in str(raised.value)
    for base_url in (f"https://user:{KEY[:8]}@127.0.0.1/v1", f"https://127.0.0.1/v1?key={KEY}"):
        with pytest.raises(AdapterError, match="without user name") as raised:
            OpenAIAdapter(checkpoint="m", base_url=base_url)
        assert KEY[:8] not in str(raised.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Header: 1")
    with pytest.raises(AdapterError, match="OPENAI_API_KEY: holds characters") as raised:
        OpenAIAdapter(checkpoint="m", base_url="http://127.0.0.1/v1")
    assert KEY not in str(raised.value)


# --- Settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "127.0.0.1:8000/v1",
        "ftp://127.0.0.1/v1",
        "file:///etc",
        "http://",
        "http://a:port/v1",
        "http://a..b/v1",
        "http://[::1/v1",
    ],
)
def test_an_address_of_no_use_is_refused(base_url: str) -> None:
    with pytest.raises(AdapterError, match="--endpoint"):
        OpenAIAdapter(checkpoint="m", base_url=base_url)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"concurrency": 0}, "concurrency 0"),
        ({"timeout": 0}, "timeout 0"),
        ({"retries": -1}, "retries -1"),
        ({"backoff": -1.0}, "backoff"),
        ({"omit_fields": ["messages"]}, "omit_fields"),
        ({"extra_body": "top_k=1"}, "a mapping of fields"),
        ({"extra_body": {"stream": True, "model": "x"}}, "model, stream cannot be set here"),
        ({"extra_body": {"temperature": 1.0}}, "temperature cannot be set here"),
        ({"extra_body": {"limit": 1}, "max_tokens_field": "limit"}, "limit cannot be set here"),
        ({"extra_body": {"top_k": float("nan")}}, "cannot be written as JSON"),
        ({"extra_body": {"top_k": {1}}}, "cannot be written as JSON"),
    ],
)
def test_settings_of_no_use_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(AdapterError, match=reason):
        OpenAIAdapter(checkpoint="m", base_url="http://127.0.0.1:8000/v1", **settings)


def test_a_run_may_be_resumed_with_other_settings_of_how_the_server_is_reached() -> None:
    settings = set(inspect.signature(OpenAISettings).parameters)
    assert settings - OpenAIAdapter.SERVING == {
        "checkpoint",
        "omit_fields",
        "extra_body",
        "finish_reason_required",
        "image_detail",
    }
    assert settings > OpenAIAdapter.SERVING


@pytest.mark.asyncio
async def test_a_trailing_slash_does_not_matter() -> None:
    with LocalServer() as server:
        server.base_url += "/"
        await answer_from(server)
    assert len(server.received) == 1
