"""What the end of a generation makes of its text, in every server's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migbench.messages import Finish, finish_of, is_filter_code, names_filter


@pytest.mark.parametrize(
    ("finish", "spellings"),
    [
        # OpenAI, vLLM, SGLang, LMDeploy; Gemini; Anthropic; text-generation-inference; LM Studio.
        (Finish.ANSWERED, ["stop", "STOP", "end_turn", "stop_sequence", "eos_token", "eosFound"]),
        (Finish.ANSWERED, ["eos", "FINISH_REASON_STOP", "FinishReason.STOP", "COMPLETE", "Stop "]),
        (Finish.TRUNCATED, ["length", "MAX_TOKENS", "max_tokens", "FinishReason.MAX_TOKENS"]),
        (Finish.TRUNCATED, ["model_length", "maxPredictedTokensReached", "max_output_tokens"]),
        (Finish.REFUSED, ["content_filter", "content-filter", "contentFilter", "CONTENT_FILTER"]),
        (Finish.REFUSED, ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST"]),
        (Finish.REFUSED, ["content_filter: PROHIBITED_CONTENT", "refusal", "sensitive"]),
        (Finish.REFUSED, ["guardrail_intervened", "ERROR_TOXIC", "image_safety"]),
        (Finish.BROKEN_OFF, ["abort", "error", "insufficient_system_resource", "network_error"]),
        (Finish.UNKNOWN, ["tool_calls", "function_call", "tool_use", "OTHER", "LANGUAGE"]),
        (Finish.UNKNOWN, ["", "unstop", "nonstop", "stop?", "malformed_function_call"]),
    ],
)
def test_every_servers_words_are_known(finish: Finish, spellings: list[str]) -> None:
    assert {spelling: finish_of(spelling) for spelling in spellings} == dict.fromkeys(
        spellings, finish
    )


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.text()))
def test_what_is_no_word_says_nothing(reason: object) -> None:
    assert finish_of(reason) is Finish.UNKNOWN


@given(st.text())
def test_no_word_is_an_answer_by_chance(word: str) -> None:
    plain = "".join(letter for letter in word.lower() if letter.isalpha())
    known = any(part in plain for part in ("stop", "eo", "end", "complete"))
    assert known or finish_of(word) is not Finish.ANSWERED


def test_a_filter_is_known_by_its_code() -> None:
    for code in ("content_filter", "data_inspection_failed", "ResponsibleAIPolicyViolation"):
        assert is_filter_code(code)
        assert names_filter(f"Error code: 400 - {{'error': {{'code': '{code}'}}}}")
    for code in (None, 400, "context_length_exceeded", "rate_limit_exceeded"):
        assert not is_filter_code(code)
    assert not names_filter("the filter of the water pump")
