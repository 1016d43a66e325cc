"""Why a generation ended, in the words of all servers and engines, and what that makes of it.

Only what a server says is finished is an answer: the words for that are a list, and whatever is on
none of the lists is a failure. Adapters take both functions from `migbench.messages`.

Sources: the API references of OpenAI, Azure OpenAI, Anthropic, Gemini, Mistral, Cohere, DeepSeek,
Zhipu, Alibaba DashScope and OpenRouter; the sources of vLLM, SGLang, text-generation-inference,
LMDeploy, llama.cpp, Ollama, LM Studio and LiteLLM.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Finish(StrEnum):
    """What the end of a generation makes of its text."""

    ANSWERED = "answered"
    """The model came to its end."""
    TRUNCATED = "truncated"
    """A limit on the tokens was reached."""
    REFUSED = "refused"
    """A content filter took the question or the answer away; it would do so again."""
    BROKEN_OFF = "broken off"
    """The server gave up, and may not another time."""
    UNKNOWN = "unknown"
    """Something else: a call of a tool, or a word that no list has."""


_WORDS = {
    Finish.ANSWERED: """
        stop stopped eos eos_token eos_found eog_token end_turn end_of_turn end_of_text
        end_of_sequence stop_sequence stop_string stop_str stop_string_found stop_token
        stop_trigger complete completed
    """,
    Finish.TRUNCATED: """
        length max_length max_len max_tokens max_token max_tokens_reached max_new_tokens
        max_output_tokens max_completion_tokens max_predicted_tokens_reached token_limit
        token_limit_reached limit model_length context_length context_length_reached
        context_length_exceeded model_context_window_exceeded
    """,
    Finish.REFUSED: """
        content_filter content_filtered content_filter_results contentfilter refusal refused
        safety recitation blocklist blocklisted prohibited_content spii model_armor
        image_safety image_prohibited_content image_recitation
        guardrail_intervened guardrails guardrail error_toxic toxic sensitive moderation
        moderated blocked filtered flagged
    """,
    Finish.BROKEN_OFF: """
        abort aborted cancel cancelled canceled error engine_error server_error internal_error
        network_error insufficient_system_resource overloaded timeout timed_out time_limit
        load unload preempted shutdown user_stopped model_unloaded
    """,
}
_FINISHES = {word: finish for finish, words in _WORDS.items() for word in words.split()}

_FILTER_CODES = frozenset(
    {
        "content_filter",
        "content_filter_error",
        "content_policy_violation",
        "content_moderation",
        "data_inspection_failed",
        "guardrail_intervened",
        "input_moderation",
        "invalid_prompt",
        "moderation_blocked",
        "output_moderation",
        "prohibited_content",
        "prompt_blocked",
        "responsible_ai_policy_violation",
        "safety",
        "sensitive_words_detected",
        "unsafe_content",
    }
)
"""Codes and types of errors by which services say that their filter was the reason."""

_FILTER_IN_TEXT = re.compile(
    r"\b(?:content_filter|ContentFilter(?:Error)?|content_policy_violation|ContentPolicyViolation"
    r"|ResponsibleAIPolicyViolation|data_inspection_failed|DataInspectionFailed"
    r"|moderation_blocked)"
    r"|(?i:content management policy|rejected (?:as a result of|by) (?:our|the) safety system"
    r"|flagged as potentially violating|may contain inappropriate content"
    r"|blocked by (?:the |our )?(?:content|safety) filter)",
)
"""Such codes, and the sentences of OpenAI, Azure and Alibaba, in what proxies pass on as words."""

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def finish_of(reason: object) -> Finish:
    """What a ``finish_reason`` means, in any server's spelling of it.

    >>> [str(finish_of(reason)) for reason in ("stop", "MAX_TOKENS", "endTurn", "abort", None)]
    ['answered', 'truncated', 'answered', 'broken off', 'unknown']
    >>> str(finish_of("content_filter: PROHIBITED_CONTENT"))
    'refused'
    """
    return _FINISHES.get(_word(reason), Finish.UNKNOWN)


def is_filter_code(code: object) -> bool:
    """Whether the code or the type of an error says that a content filter was the reason."""
    return _word(code) in _FILTER_CODES


def names_filter(text: str) -> bool:
    """Whether an error that another program has put in words says that a filter was the reason."""
    return bool(_FILTER_IN_TEXT.search(text))


def _word(text: object) -> str:
    """``content_filter`` for ``FinishReason.CONTENT_FILTER`` and for ``contentFilter: hate``."""
    if not isinstance(text, str):
        return ""
    # As servers print members of an enumeration, and Gemini the reason behind a filter.
    word = text.strip().partition(":")[0].strip().rpartition(".")[2]
    word = _CAPITAL.sub("_", word).lower()
    word = re.sub(r"[\s-]+", "_", word)
    return word.removeprefix("finish_reason_").replace(
        "responsible_aipolicy", "responsible_ai_policy"
    )
