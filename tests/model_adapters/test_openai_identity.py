"""What servers say of themselves, and what they are told because of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.chat_format import completion
from support.local_server import LocalServer, Scripted

from migbench.messages import AdapterError, ModelError, Request
from model_adapters.openai.adapter import OpenAIAdapter
from model_adapters.openai.identity import Identity, ask_identity, difference

WHERE = Request(("Where is the cup?",))
GOOD = Scripted(completion("(1,2),(3,4)"))

Pages = Mapping[str, object]

VLLM: Pages = {
    "/v1/models": {
        "data": [{"id": "m", "owned_by": "vllm", "root": "/models/m-7b", "max_model_len": 8192}]
    },
    "/version": {"version": "0.11.0"},
}
LLAMA: Pages = {
    "/v1/models": {
        "data": [{"id": "m.gguf", "owned_by": "llamacpp", "meta": {"n_params": 7, "size": 9}}]
    },
    "/props": {"model_path": "/models/m.gguf", "build_info": "b5002-2c3f8b85"},
}


def asked(pages: Pages, model: str = "m") -> Identity | None:
    async def get(url: str) -> tuple[int, bytes] | None:
        path = url.removeprefix("http://host:1")
        return (200, json.dumps(pages[path]).encode()) if path in pages else (404, b"no")

    return asyncio.run(ask_identity(get, "http://host:1/v1", model))


def test_vllm_tells_its_version_and_the_checkpoint() -> None:
    identity = asked(VLLM)
    assert identity is not None
    assert identity.facts == {
        "server": "vllm",
        "version": "0.11.0",
        "model": "m",
        "root": "/models/m-7b",
        "max_model_len": "8192",
    }
    assert identity.neutral["repetition_penalty"] == 1.0
    assert identity.neutral["top_k"] == -1


def test_llama_cpp_tells_its_build_and_the_file() -> None:
    identity = asked(LLAMA)
    assert identity is not None
    assert identity.facts == {
        "server": "llamacpp",
        "version": "b5002-2c3f8b85",
        "model": "m.gguf",
        "model_path": "/models/m.gguf",
        "models": "m.gguf",
        "parameters": "7",
        "size": "9",
    }
    assert identity.neutral["repeat_penalty"] == 1.0


@pytest.mark.parametrize(
    "models",
    [
        None,
        [],
        "x",
        {"data": None},
        {"data": [1, {"id": 7}]},
        {"data": [{"id": "m", "owned_by": ["vllm"], "root": {"a": 1}, "meta": 3}]},
        {"data": [{"id": "m", "owned_by": "somebody"}]},
    ],
)
def test_a_server_that_says_nothing_known_is_sent_nothing_more(models: object) -> None:
    identity = asked({"/v1/models": models})
    assert identity is not None
    assert identity.neutral == {}
    assert set(identity.facts) <= {"server", "model"}


def test_servers_differ_by_model_and_not_by_folder() -> None:
    def at(**facts: str) -> Identity:
        return Identity(facts=facts)

    assert difference(at(root="/a/m-7b"), at(root="/b/m-7b/")) == ""
    assert difference(at(root="/a/m-7b"), at(version="2")) == ""
    assert difference(at(root="/a/m-7b"), at(root="/a/m-72b")) == "root /a/m-7b and /a/m-72b"
    lists_it = Identity(models=("m", "n"), facts={"model": "m"})
    lacks_it = Identity(models=("n", "o"), facts={"models": "n, o"})
    assert difference(lists_it, lacks_it) == "one of them lists only n, o"
    assert difference(lists_it, Identity()) == ""
    assert difference(at(model="C:\\a\\m.gguf"), at(model="n.gguf")) != ""


# --- Over the wire -------------------------------------------------------------------------------


class Speaking(LocalServer):
    """A server with pages about itself."""

    def __init__(self, pages: Pages, **settings: Any) -> None:
        super().__init__(**settings)
        self.pages = dict(pages)

    def page(self, path: str) -> object | None:
        return self.pages.get(path)


async def body_sent(pages: Pages, **settings: Any) -> Mapping[str, Any]:
    with Speaking(pages) as server:
        adapter = OpenAIAdapter(checkpoint="m", base_url=server.base_url, **settings)
        await adapter.answer(WHERE)
        await adapter.close()
    return server.received[0].body


@pytest.mark.asyncio
async def test_decoding_settings_that_a_server_adds_are_sent_neutral() -> None:
    body = await body_sent(VLLM)
    assert (body["repetition_penalty"], body["top_k"], body["min_p"]) == (1.0, -1, 0.0)
    body = await body_sent(VLLM, omit_fields=["top_k"], extra_body={"repetition_penalty": 1.05})
    assert (body["repetition_penalty"], "top_k" in body) == (1.05, False)
    assert "repetition_penalty" not in await body_sent({})


@pytest.mark.asyncio
async def test_endpoints_that_serve_different_models_are_refused() -> None:
    other = {
        "/v1/models": {"data": [{"id": "m", "owned_by": "vllm", "root": "/models/m-72b"}]},
        "/version": {"version": "0.11.0"},
    }
    with Speaking(VLLM) as one, Speaking(other) as another:
        urls = [one.base_url, another.base_url]
        adapter = OpenAIAdapter(checkpoint="m", base_url=urls)
        with pytest.raises(AdapterError, match=r"different models \(root .*m-7b and .*m-72b\)"):
            await adapter.about()
        await adapter.close()
        trusting = OpenAIAdapter(checkpoint="m", base_url=urls, check_endpoints=False)
        assert len(await trusting.about()) == 2
        await trusting.close()


@pytest.mark.asyncio
async def test_an_endpoint_that_comes_late_with_another_model_gets_no_requests() -> None:
    other = {"/v1/models": {"data": [{"id": "m", "root": "/models/m-72b"}]}}
    with Speaking(VLLM) as one, Speaking(other) as another:
        adapter = OpenAIAdapter(checkpoint="m", base_url=[one.base_url, another.base_url])
        requests = [Request((f"Question {number}",)) for number in range(8)]
        answers = await asyncio.gather(*map(adapter.answer, requests), return_exceptions=True)
        await adapter.close()
    assert not another.received or not one.received
    assert all(not isinstance(answer, BaseException) for answer in answers)


@pytest.mark.asyncio
async def test_what_replies_name_is_part_of_the_account(caplog: pytest.LogCaptureFixture) -> None:
    body = json.loads(completion("(1,2),(3,4)"))
    replies = [
        Scripted(json.dumps(body | {"model": model, "system_fingerprint": print_}).encode())
        for model, print_ in (("m", "fp_1"), ("m", "fp_1"), ("other", "fp_2"))
    ]
    with Speaking(VLLM, script=replies) as server:
        adapter = OpenAIAdapter(checkpoint="m", base_url=server.base_url)
        for _ in replies:
            await adapter.answer(WHERE)
        account = (await adapter.about())[server.base_url]
        await adapter.close()
    assert account["model_in_replies"] == "m, other"
    assert account["system_fingerprint"] == "fp_1, fp_2"
    assert "repetition_penalty=1.0" in account["sent"]
    assert "answers as model other, and was asked for m" in caplog.text
    assert "system_fingerprint was fp_1, and is fp_2 now" in caplog.text


# --- Words of errors -----------------------------------------------------------------------------


def wrong(message: str, status: int, **more: object) -> Scripted:
    return Scripted(json.dumps({"error": {"message": message, **more}}).encode(), status)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reply", "settings", "hint"),
    [
        (
            wrong("Unsupported parameter: 'max_tokens' is not supported with this model. "
                  "Use 'max_completion_tokens' instead.", 400),
            {},
            "--model-arg max_tokens_field=max_completion_tokens",
        ),
        (
            wrong("Unrecognized request argument supplied: max_completion_tokens", 400),
            {"max_tokens_field": "max_completion_tokens"},
            "--model-arg max_tokens_field=max_tokens",
        ),
        (
            wrong("Unsupported value: 'temperature' does not support 0.0 with this model.", 400),
            {},
            "--model-arg 'omit_fields=[temperature]'",
        ),
        (
            wrong("`temperature` and `top_p` cannot both be specified for this model", 400),
            {},
            "--model-arg 'omit_fields=[temperature, top_p]'",
        ),
        (wrong("not here", 422, param="body.seed"), {}, "--model-arg 'omit_fields=[seed]'"),
        (
            wrong("Unknown name \"guided\": Cannot find field.", 400),
            {"extra_body": {"guided": 1}},
            "guided comes from extra_body",
        ),
        (wrong("The model `m2` does not exist.", 404), {"checkpoint": "m2"}, "served there: m;"),
        (wrong("Model Not Exist", 400), {"checkpoint": "m2"}, "served there: m;"),
        (wrong("Not Found", 404), {"versionless": True}, "/v1"),
        (Scripted(b"<html>It works!</html>"), {"versionless": True}, "try --endpoint "),
        (wrong("who are you?", 401), {"api_key_env": "NO_SUCH_KEY"}, "export NO_SUCH_KEY="),
    ],
)  # fmt: skip
async def test_a_refusal_comes_with_the_way_out(
    reply: Scripted, settings: dict[str, Any], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Speaking({"/v1/models": {"data": [{"id": "m"}]}}, script=[reply]) as server:
        base = server.base_url
        if settings.pop("versionless", False):
            base = base.removesuffix("/v1") + "/api"
        adapter = OpenAIAdapter(**{"checkpoint": "m", "base_url": base, "retries": 0, **settings})
        with pytest.raises(ModelError) as raised:
            await adapter.answer(WHERE)
        await adapter.close()
    assert hint in str(raised.value)


@pytest.mark.asyncio
async def test_a_prompt_that_is_too_long_is_no_matter_of_fields() -> None:
    words = "'max_tokens' is too large: 128. This model's maximum context length is 100 tokens."
    with Speaking({}, script=[wrong(words, 400)]) as server:
        adapter = OpenAIAdapter(checkpoint="m", base_url=server.base_url)
        with pytest.raises(ModelError) as raised:
            await adapter.answer(WHERE)
        await adapter.close()
    assert "max_tokens_field" not in str(raised.value)


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_told_as_such() -> None:
    with LocalServer() as server:
        gone = server.base_url
    adapter = OpenAIAdapter(checkpoint="m", base_url=gone, retries=0)
    with pytest.raises(ModelError, match=r"nothing listens at 127\.0\.0\.1:\d+: is the server"):
        await adapter.answer(WHERE)
    assert await adapter.about() == {}
    await adapter.close()
