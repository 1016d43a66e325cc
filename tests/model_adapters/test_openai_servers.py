"""Several servers behind one adapter: sets stay together, leaders first, failures lose nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.chat_format import error
from support.local_server import (
    Behaviour,
    LocalServer,
    Received,
    Scripted,
    read_log,
    server_process,
)

from migbench.messages import AdapterError, Answer, ImageFile, ModelError, Request, ServerDown
from model_adapters.openai.adapter import OpenAIAdapter

KEY = "sk-very+secret/0123456789"


@asynccontextmanager
async def adapter_for(*servers: LocalServer | str, **settings: Any) -> AsyncIterator[OpenAIAdapter]:
    urls = [one if isinstance(one, str) else one.base_url for one in servers]
    adapter = OpenAIAdapter(checkpoint="m", base_url=urls, **{"backoff": 0.0, **settings})
    try:
        yield adapter
    finally:
        await adapter.close()


async def as_a_run_asks(adapter: OpenAIAdapter, requests: Sequence[Request]) -> list[Answer]:
    """In order, no more at once than the adapter has max_concurrency, as the runner does."""
    room = asyncio.Semaphore(adapter.max_concurrency)

    async def ask(request: Request) -> Answer:
        async with room:
            return await adapter.answer(request)

    return await asyncio.gather(*map(ask, requests))


@contextmanager
def servers(count: int, behaviour: Behaviour | None = None) -> Iterator[list[LocalServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(LocalServer(behaviour)) for _ in range(count)]


def questions_about(folder: Path, image_sets: int, each: int) -> list[Request]:
    """Questions about image sets of one image, in order of image set."""
    requests = []
    for number in range(image_sets):
        path = folder / f"{number}.png"
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path)
        image = ImageFile(path.name, path)
        requests += [Request((image, f"Q{n}"), image_set=str(number)) for n in range(each)]
    return requests


def sets_of(server: LocalServer) -> set[str]:
    return {received.image_set for received in server.received}


def gone() -> str:
    """The address of a server that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def port_of(base_url: str) -> int:
    return int(base_url.split(":")[2].split("/")[0])


# --- Affinity and spread -----------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("leader_first", [True, False])
async def test_each_image_set_stays_at_one_server_and_both_have_work(
    leader_first: bool, tmp_path: Path
) -> None:
    requests = questions_about(tmp_path, 20, 4)
    with servers(2, Behaviour(delay=0.02)) as (one, other):
        async with adapter_for(one, other, concurrency=2, leader_first=leader_first) as adapter:
            answers = await as_a_run_asks(adapter, requests)
    assert len(answers) == len(requests) == len(one.received) + len(other.received)
    assert not sets_of(one) & sets_of(other)
    assert min(len(sets_of(one)), len(sets_of(other))) >= 5
    assert max(one.most_in_flight, other.most_in_flight) <= 2


@pytest.mark.asyncio
async def test_a_slower_server_gets_less_work(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 30, 2)
    with LocalServer(Behaviour(delay=0.2)) as slow, LocalServer() as fast:
        async with adapter_for(slow, fast, concurrency=1) as adapter:
            await as_a_run_asks(adapter, requests)
    assert 1 <= len(slow.received) < len(fast.received)


@pytest.mark.asyncio
async def test_the_later_turns_of_a_conversation_go_where_its_images_are(tmp_path: Path) -> None:
    sets = [questions_about(tmp_path, 8, 3)[start : start + 3] for start in range(0, 24, 3)]

    async def converse(adapter: OpenAIAdapter, turns: list[Request]) -> None:
        for turn in turns:
            await adapter.answer(turn)
            await asyncio.sleep(0.01)

    with servers(3) as three:
        async with adapter_for(*three, concurrency=2) as adapter:
            await asyncio.gather(*(converse(adapter, turns) for turns in sets))
    assert sum(len(sets_of(server)) for server in three) == 8


@pytest.mark.asyncio
async def test_requests_without_an_image_set_are_spread(tmp_path: Path) -> None:
    requests = [Request((f"Question {number}",)) for number in range(12)]
    with servers(2, Behaviour(delay=0.05)) as (one, other):
        async with adapter_for(one, other, concurrency=3) as adapter:
            await as_a_run_asks(adapter, requests)
    assert {len(one.received), len(other.received)} <= {5, 6, 7}
    assert one.most_in_flight == 3, "none of them leads another"


# --- Leaders -----------------------------------------------------------------------------------


def led(received: Sequence[Received]) -> bool:
    """Whether nobody asked about a set while its first question was unanswered."""
    return all(one.siblings_answered or not one.siblings_in_flight for one in received)


@pytest.mark.asyncio
async def test_siblings_follow_their_leader_and_other_leaders_go_meanwhile(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 12, 4)
    with LocalServer(Behaviour(delay=0.03)) as server:
        async with adapter_for(server, concurrency=4) as adapter:
            await as_a_run_asks(adapter, requests)
    assert led(server.received)
    first_four = [received.image_set for received in server.received[:4]]
    assert len(set(first_four)) == 4, "four leaders at once"
    assert max(received.siblings_in_flight for received in server.received) >= 1
    # When a leader is done its siblings come before further leaders: few sets are open at once.
    order = [received.image_set for received in server.received]
    spans = [order[::-1].index(one) + order.index(one) for one in dict.fromkeys(order)]
    assert all(len(order) - span <= 4 * 4 + 4 for span in spans)


@pytest.mark.asyncio
async def test_without_leaders_siblings_go_together(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 3, 4)
    with LocalServer(Behaviour(delay=0.05)) as server:
        async with adapter_for(server, concurrency=4, leader_first=False) as adapter:
            await as_a_run_asks(adapter, requests)
    assert not led(server.received)
    sets = [received.image_set for received in server.received]
    assert sum(one != other for one, other in pairwise(sets)) <= 6


@pytest.mark.asyncio
async def test_a_leader_that_fails_is_followed_by_another(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 1, 4)
    script = [Scripted(error("no"), 400, delay=0.02)] * 2
    with LocalServer(Behaviour(delay=0.02), script=script) as server:
        async with adapter_for(server, concurrency=4) as adapter:
            results = await asyncio.gather(*map(adapter.answer, requests), return_exceptions=True)
    assert [isinstance(result, ModelError) for result in results] == [True, True, False, False]
    assert [received.siblings_in_flight for received in server.received[:3]] == [0, 0, 0]
    assert led(server.received)


@pytest.mark.asyncio
async def test_a_leader_that_is_asked_again_leads_on(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 1, 3)
    script = [Scripted(error("busy"), 429)] * 3
    with LocalServer(Behaviour(delay=0.02), script=script) as server:
        async with adapter_for(server, concurrency=4) as adapter:
            await asyncio.gather(*map(adapter.answer, requests))
    assert len({received.request for received in server.received[:4]}) == 1
    assert led(server.received)


@pytest.mark.asyncio
async def test_a_set_is_known_by_its_name_whatever_images_are_shown(tmp_path: Path) -> None:
    images = questions_about(tmp_path, 4, 1)
    requests = [replace(request, image_set="same") for request in images]
    with servers(2, Behaviour(delay=0.02)) as (one, other):
        async with adapter_for(one, other, concurrency=4) as adapter:
            await as_a_run_asks(adapter, requests)
    assert sorted([len(one.received), len(other.received)]) == [0, 4]
    server = one if one.received else other
    assert server.received[1].in_flight == 1, "it waited for the first"


@pytest.mark.asyncio
async def test_equal_requests_are_all_answered(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 1, 1) * 5
    with servers(2) as two:
        async with adapter_for(*two) as adapter:
            answers = await as_a_run_asks(adapter, requests)
    assert len({answer.text for answer in answers}) == 1
    assert len(answers) == 5


@pytest.mark.asyncio
async def test_cancelled_siblings_leave_nothing_behind(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 3, 4)
    before = asyncio.all_tasks()
    with LocalServer(Behaviour(delay=5.0)) as server:
        async with adapter_for(server, concurrency=2) as adapter:
            asked = [asyncio.create_task(adapter.answer(request)) for request in requests]
            while len(server.received) < 2:
                await asyncio.sleep(0.005)
            server.behaviour = Behaviour()
            # Two leaders are under way, their siblings wait for them, the third set for a slot.
            for task in asked:
                task.cancel()
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            assert asyncio.all_tasks() == before
            # Whoever comes next finds its set without a leader, and every slot free.
            await as_a_run_asks(adapter, requests)
    assert len(server.received) == 2 + len(requests)


@pytest.mark.asyncio
async def test_a_cancelled_leader_is_followed_by_its_sibling(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 1, 2)
    with LocalServer(script=[Scripted(delay=5.0)]) as server:
        async with adapter_for(server, concurrency=2) as adapter:
            leader, sibling = [asyncio.create_task(adapter.answer(one)) for one in requests]
            while not server.received:
                await asyncio.sleep(0.005)
            leader.cancel()
            assert (await sibling).text


# --- A server that fails -----------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("retries", [0, 6])
async def test_a_server_killed_half_way_loses_nothing(
    retries: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    requests = questions_about(tmp_path, 12, 4)
    (tmp_path / "dies").mkdir()
    (tmp_path / "lives").mkdir()
    dying, living = Behaviour(delay=0.01, die_at=9), Behaviour(delay=0.01)
    with (
        server_process(tmp_path / "dies", dying) as (one, log),
        server_process(tmp_path / "lives", living) as (other, other_log),
    ):
        async with adapter_for(one, other, concurrency=3, retries=retries) as adapter:
            answers = await as_a_run_asks(adapter, requests)
        seen, moved = read_log(log), read_log(other_log)
    assert len(answers) == 48
    assert len(seen) == 10
    # Each question once where it was answered, and again only what was under way at the end.
    asked = Counter(record["request"] for record in [*seen, *moved])
    assert len(asked) == 48
    assert sum(asked.values()) - 48 <= 3
    assert all(record["siblings_answered"] or not record["siblings_in_flight"] for record in moved)
    warnings = [record.getMessage() for record in caplog.records]
    assert any(one in warning and "it is set aside" in warning for warning in warnings)
    assert any(warning.startswith(one) and "did not come back" in warning for warning in warnings)


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_costs_no_retry(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 10, 2)
    with servers(1) as (server,):
        async with adapter_for(gone(), server, retries=0) as adapter:
            await as_a_run_asks(adapter, requests)
    assert len(server.received) == 20


@pytest.mark.asyncio
async def test_a_server_in_error_is_left_alone_after_three_failures(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 12, 3)
    with LocalServer(Behaviour(fail_forever_rate=1.0)) as broken, LocalServer() as well:
        async with adapter_for(broken, well, concurrency=1, retries=2) as adapter:
            await as_a_run_asks(adapter, requests)
    assert len(well.received) == 36
    assert 3 <= len(broken.received) < 12


@pytest.mark.asyncio
async def test_a_server_that_hangs_is_left_alone(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 12, 2)
    with LocalServer(Behaviour(delay=30.0)) as hanging, LocalServer() as well:
        async with adapter_for(hanging, well, concurrency=3, timeout=0.3) as adapter:
            answers = await as_a_run_asks(adapter, requests)
        assert len(answers) == 24
        assert len(hanging.received) < 12


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [401, 403, 404, 307])
async def test_a_server_that_refuses_everybody_draws_no_work(status: int, tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 10, 2)
    refusals = [Scripted(error("not here"), status)] * 100
    with LocalServer(script=refusals) as wrong, LocalServer(Behaviour(delay=0.01)) as right:
        async with adapter_for(wrong, right, concurrency=2) as adapter:
            await as_a_run_asks(adapter, requests)
    assert len(right.received) == 20
    assert len(wrong.received) < 6


@pytest.mark.asyncio
async def test_one_bad_request_does_not_put_a_server_out_of_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    requests = questions_about(tmp_path, 30, 2)
    with servers(2, Behaviour(reject_rate=0.3, seed=1)) as two:
        async with adapter_for(*two, concurrency=2) as adapter:
            room = [adapter.answer(request) for request in requests]
            results = await asyncio.gather(*room, return_exceptions=True)
    failed = sum(isinstance(result, ModelError) for result in results)
    assert 0 < failed < 60
    assert not sets_of(two[0]) & sets_of(two[1])
    assert not caplog.records


@pytest.mark.asyncio
async def test_a_server_that_comes_back_gets_work_again(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 60, 2)
    away = gone()
    with LocalServer(Behaviour(delay=0.02)) as always:
        async with adapter_for(away, always, concurrency=1, longest_wait=0.05) as adapter:
            await as_a_run_asks(adapter, requests[:20])
            with LocalServer(port=port_of(away)) as back:
                await as_a_run_asks(adapter, requests[20:])
    assert len(always.received) + len(back.received) == 120
    assert len(back.received) > 10
    # A set whose leader was the first to try it may have gone on elsewhere meanwhile.
    assert len(sets_of(always) & sets_of(back)) <= 1


@pytest.mark.asyncio
async def test_one_request_tries_a_server_that_was_set_aside(tmp_path: Path) -> None:
    requests = questions_about(tmp_path, 40, 1)
    failing = Behaviour(fail_forever_rate=1.0, delay=0.02)
    with LocalServer(failing) as broken, LocalServer(Behaviour(delay=0.03)) as well:
        async with adapter_for(broken, well, concurrency=3, longest_wait=0.05) as adapter:
            await as_a_run_asks(adapter, requests)
    assert len(well.received) == 40
    # Three at once and two of them again, until the third failure is known; then one by one.
    assert len(broken.received) > 6
    assert all(received.in_flight == 1 for received in broken.received[6:])


@pytest.mark.asyncio
async def test_when_all_are_down_that_is_told_at_once() -> None:
    one, other = gone(), gone()
    async with adapter_for(one, other, retries=2) as adapter:
        with pytest.raises(ServerDown, match=r"Cannot connect .*is the server started") as raised:
            await adapter.answer(Request(("Where?",)))
    assert one in str(raised.value) or other in str(raised.value)


@pytest.mark.asyncio
async def test_a_bad_request_that_breaks_every_server_is_given_up(tmp_path: Path) -> None:
    with servers(2) as two:
        for server in two:
            server.behaviour = Behaviour(fail_forever_rate=1.0)
        async with adapter_for(*two, retries=3) as adapter:
            with pytest.raises(ModelError, match="500 "):
                await adapter.answer(Request(("Where?",)))
    assert sum(len(server.received) for server in two) <= 3 + 2


@pytest.mark.asyncio
async def test_no_key_is_told_in_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    refusals = [Scripted(error(f"unknown key {KEY}"), 401)] * 50
    with LocalServer(script=refusals) as wrong, LocalServer() as right:
        async with adapter_for(wrong, right, concurrency=1) as adapter:
            await as_a_run_asks(adapter, questions_about(tmp_path, 5, 1))
    told = "".join(record.getMessage() for record in caplog.records)
    assert "[key]" in told
    assert KEY[:8] not in told
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


# --- Images by path ----------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (500, "Cannot load local files without `--allowed-local-media-path`."),
        (500, "[Errno 2] No such file or directory: '/data/a.png'"),
        (400, "The file path <path> must be a subpath of `--allowed-local-media-path <path>`."),
        (400, "Invalid image URL: the scheme must be https"),
    ],
)
async def test_a_server_that_takes_no_paths_is_not_asked_again_and_others_are(
    status: int, reason: str, tmp_path: Path
) -> None:
    (request,) = questions_about(tmp_path, 1, 1)
    refusals = [Scripted(error(reason), status)] * 2
    allows = Behaviour(media_folder=str(tmp_path))
    with LocalServer(script=refusals) as forbids, LocalServer(allows) as takes:
        async with adapter_for(forbids, send_images="by-path") as adapter:
            with pytest.raises(ModelError, match="--send-images bytes works everywhere"):
                await adapter.answer(request)
        assert len(forbids.received) == 1
        async with adapter_for(forbids, takes, send_images="by-path") as adapter:
            await adapter.answer(request)
    assert takes.received[0].image_bytes == (request.images[0].read(),)


@pytest.mark.asyncio
async def test_other_failures_are_no_matter_of_paths(tmp_path: Path) -> None:
    (request,) = questions_about(tmp_path, 1, 1)
    script = [Scripted(error("upstream protocol error"), 502)]
    script += [Scripted(error("At most 4 image(s) may be provided in one prompt."), 400)]
    with LocalServer(script=script) as server:
        async with adapter_for(server, send_images="by-path") as adapter:
            with pytest.raises(ModelError, match=r"At most 4 image\(s\) may [^(]*$"):
                await adapter.answer(request)
    assert len(server.received) == 2


# --- Settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "reason"),
    [
        ([], "a list of addresses"),
        (["http://127.0.0.1:1/v1", 5], "a list of addresses"),
        (7, "a list of addresses"),
        (["http://127.0.0.1:1/v1", "127.0.0.1"], "an address such as"),
        (["http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/"], "given twice"),
    ],
)
def test_addresses_of_no_use_are_refused(base_url: Any, reason: str) -> None:
    with pytest.raises(AdapterError, match=f"--endpoint.*{reason}"):
        OpenAIAdapter(checkpoint="m", base_url=base_url)


def test_images_go_as_bytes_or_by_path() -> None:
    with pytest.raises(AdapterError, match="--send-images url: bytes or by-path"):
        OpenAIAdapter(checkpoint="m", base_url="http://127.0.0.1:1/v1", send_images="url")


def test_capacity_leaves_no_slot_idle_while_siblings_wait() -> None:
    one, two = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
    alone = OpenAIAdapter(checkpoint="m", base_url=one, concurrency=8, leader_first=False)
    assert alone.max_concurrency == 8, "nobody waits for anybody"
    assert OpenAIAdapter(checkpoint="m", base_url=one, concurrency=8).max_concurrency > 8
    assert OpenAIAdapter(checkpoint="m", base_url=[one, two], concurrency=8).max_concurrency > 16
