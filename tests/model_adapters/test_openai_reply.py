"""What is read from an OpenAI-compatible server's reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat_format import completion

from migbench.messages import Answer, ModelError
from model_adapters.openai.reply import Reply, ReplyFailed, read_reply
from model_adapters.openai.server_errors import server_message


def read_answer(content: bytes, seconds: float) -> Answer:
    return read_reply(content, seconds).answer


def test_text_token_counts_and_seconds_are_kept() -> None:
    assert read_answer(completion("(1,2),(3,4)"), seconds=1.5) == Answer(
        "(1,2),(3,4)", prompt_tokens=1234, completion_tokens=21, seconds=1.5
    )


def test_an_answer_at_the_token_limit_is_truncated() -> None:
    assert read_answer(completion("(1,2),(3", "length"), 1.0).truncated
    assert not read_answer(completion("(1,2),(3,4)", "stop"), 1.0).truncated


def test_text_parts_are_joined_and_reasoning_left_out() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "(1,2),"},
        {"type": "text", "text": "(3,4)"},
    ]
    assert read_answer(completion(parts), 1.0).text == "(1,2),(3,4)"


def test_reasoning_is_not_the_answer() -> None:
    reply = completion("(1,2),(3,4)", reasoning_content="Perhaps (5,6),(7,8)?")
    assert read_answer(reply, 1.0).text == "(1,2),(3,4)"


@pytest.mark.parametrize("content", [None, ""])
def test_a_token_limit_reached_while_reasoning_leaves_an_empty_truncated_answer(
    content: str | None,
) -> None:
    answer = read_answer(completion(content, "length", reasoning_content="Perhaps"), 1.0)
    assert (answer.text, answer.truncated) == ("", True)


def test_an_empty_answer_is_an_answer() -> None:
    assert read_answer(completion(""), 1.0).text == ""


@pytest.mark.parametrize(
    "reply",
    [
        completion(None, refusal="I cannot."),
        completion("", refusal="I cannot."),
        completion([{"type": "refusal", "refusal": "I cannot."}]),
        completion("I cannot.", "content_filter"),
        completion("I cannot.", "content_filter: PROHIBITED_CONTENT"),
    ],
)
def test_a_refusal_is_told_apart_from_an_answer(reply: bytes) -> None:
    answer = read_answer(reply, 1.0)
    assert (answer.text, answer.refused) == ("I cannot.", True)


def test_azures_verdict_explains_a_missing_text() -> None:
    choice = {
        "finish_reason": "stop",
        "message": {"content": None},
        "content_filter_results": {"hate": {"filtered": False}, "violence": {"filtered": True}},
    }
    assert read_answer(json.dumps({"choices": [choice]}).encode(), 1.0).refused


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_an_answer_in_another_field_is_an_error_that_names_field_and_option(
    content: str | None, field: str
) -> None:
    with pytest.raises(ReplyFailed, match=rf"stands in {field}\..*--reasoning-parser") as error:
        read_reply(completion(content, **{field: "I think (1,2),(3,4)"}), 1.0)
    assert error.value.status is None


def test_a_reason_that_is_never_sent_may_be_done_without() -> None:
    reply = completion("(1,2),(3,4)").replace(b'"finish_reason": "stop", ', b"")
    with pytest.raises(ReplyFailed, match="finish_reason_required=false"):
        read_reply(reply, 1.0)
    assert read_reply(reply, 1.0, reason_required=False).answer.text == "(1,2),(3,4)"
    with pytest.raises(ReplyFailed, match="abort"):
        read_reply(completion("(1,2)", "abort"), 1.0, reason_required=False)


def test_half_a_surrogate_pair_costs_no_answer() -> None:
    reply = completion("(1,2),(3,4) X").replace(b" X", b" \\ud83d")
    assert read_answer(reply, 1.0).text == "(1,2),(3,4) \\ud83d"


def test_model_and_fingerprint_are_kept_where_they_are_words() -> None:
    body = json.loads(completion("text"))
    said = json.dumps(body | {"model": "other", "system_fingerprint": "fp_1"}).encode()
    assert read_reply(said, 1.0) == Reply(read_answer(said, 1.0), "other", "fp_1")
    odd = json.dumps(body | {"model": 7, "system_fingerprint": []}).encode()
    assert read_reply(odd, 1.0) == Reply(read_answer(odd, 1.0))


def test_tokens_that_a_prefix_cache_served_are_kept() -> None:
    usage = {"prompt_tokens": 1234, "prompt_tokens_details": {"cached_tokens": 1024}}
    reply = json.loads(completion("text")) | {"usage": usage}
    assert read_answer(json.dumps(reply).encode(), 1.0).cached_tokens == 1024


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "none",
        {},
        {"prompt_tokens": "many", "prompt_tokens_details": ["cached_tokens"]},
        {"prompt_tokens": True, "completion_tokens": False},
        {"prompt_tokens": -1, "completion_tokens": 1e300},
        {"prompt_tokens": 2**70, "completion_tokens": 1.5},
        {"prompt_tokens": None, "prompt_tokens_details": {"cached_tokens": True}},
    ],
)
def test_missing_or_odd_token_counts_cost_no_answer(usage: object) -> None:
    reply = json.loads(completion("text")) | {"usage": usage}
    answer = read_answer(json.dumps(reply).encode(), 1.0)
    assert (answer.text, answer.prompt_tokens, answer.completion_tokens) == ("text", None, None)
    assert answer.cached_tokens is None


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "no chat completion"),
        (b"<html>It works!</html>", "It works!"),
        (b'{"choices": [{"mess', "no chat completion"),
        (b"[]", "no chat completion"),
        (b'{"choices": null, "error": {"message": "overloaded"}}', "overloaded"),
        (b'{"error": {"message": "overloaded"}}', "the reply is an error: overloaded"),
        (b'[{"error": {"message": "overloaded"}}]', "the reply is an error: overloaded"),
        (b'{"object": "error", "message": "overloaded"}', "the reply is an error: overloaded"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [{}]}', "no chat completion"),
        (b'{"choices": [{"message": {"content": 7}}]}', "no chat completion"),
        (b'{"choices": [{"message": {"content": "\xff"}}]}', "no chat completion"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no chat completion"),
        (completion(None), "no text (finish_reason: stop)"),
        (completion([{"type": "image_url", "text": "x"}]), "a part of type 'image_url'"),
        (completion(["text"]), "a part of type 'str'"),
        (completion([{"type": "text", "text": 7}]), "without a text"),
        (completion("x", "tool_calls"), "no finished answer (finish_reason: tool_calls)"),
        (completion("x", "abort"), "broke the answer off (finish_reason: abort)"),
        (b'{"n": ' + b"7" * 100_000 + b"}", "the reply"),
    ],
)
def test_anything_else_is_a_model_error_that_says_what_came(reply: bytes, reason: str) -> None:
    with pytest.raises(ModelError) as error:
        read_answer(reply, 1.0)
    assert reason in str(error.value)


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_no_reply_raises_anything_but_a_model_error(reply: bytes) -> None:
    assert "\n" not in server_message(reply)
    with pytest.raises(ModelError):
        read_answer(reply, 1.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too many images", "code": 400}}', "too many images"),
        (b'{"error": "too many images"}', "too many images"),
        (b'{"object": "error", "message": "too many images"}', "too many images"),
        (b'{"detail": "too many images"}', "too many images"),
        (b"too\n   many\r\nimages", "too many images"),
        (b'{"error": {}}', "{'error': {}}"),
        (b"", "(empty)"),
    ],
)
def test_the_servers_own_words_are_found(body: bytes, message: str) -> None:
    assert server_message(body) == message
