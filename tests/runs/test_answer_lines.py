"""Stored answers: the line in the file and the record are the same, old lines too."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migbench.messages import Answer
from migbench.runs.answer_lines import AnswerLine, decode_line, encode_line

texts = st.text(st.characters(codec="utf-8"), max_size=8)
counts = st.none() | st.integers(0, 2**40)
answers = st.builds(
    Answer,
    texts,
    truncated=st.booleans(),
    refused=st.booleans(),
    prompt_tokens=counts,
    cached_tokens=counts,
    completion_tokens=counts,
    seconds=st.none() | st.floats(0, 1e6),
)
outcomes = st.builds(dict, answer=answers) | st.builds(dict, error=texts) | st.just({})
lines = st.builds(
    lambda outcome, **fields: AnswerLine(**fields, **outcome),
    outcomes,
    question=texts,
    turn=st.integers(0, 9),
    key=texts,
    prompt=texts,
    sizes=st.none() | st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), max_size=3),
    reused=st.booleans(),
)


@given(lines)
def test_a_stored_line_is_read_back_as_it_was(line: AnswerLine) -> None:
    assert decode_line(encode_line(line)) == line


def test_the_answers_fields_stand_among_the_lines_and_defaults_are_left_out() -> None:
    answer = Answer("(1,2),(3,4)", truncated=True, prompt_tokens=7, seconds=0.5)
    line = AnswerLine(question="q", turn=1, key="k", prompt="Where?", answer=answer, sizes=[(3, 4)])
    assert encode_line(line) == (
        b'{"question":"q","turn":1,"key":"k","prompt":"Where?","text":"(1,2),(3,4)",'
        b'"truncated":true,"sizes":[[3,4]],"prompt_tokens":7,"seconds":0.5}'
    )
    assert encode_line(AnswerLine(question="q", error="down")) == b'{"question":"q","error":"down"}'


@pytest.mark.parametrize(
    "stored",
    [
        b'{"question":"q","text":"","refused":true}',
        b'{"question":"q","refused":true,"error":"blocked by a content filter"}',
        b'{"question":"q"}',
    ],
)
def test_lines_without_a_box_or_a_text_stay_as_they_are(stored: bytes) -> None:
    assert encode_line(decode_line(stored)) == stored


@pytest.mark.parametrize(
    "wrong",
    [{"turn": -1}, {"sizes": [[0, 4]]}, {"prompt_tokens": True}, {"text": 3}, {"question": None}],
)
def test_what_no_run_stores_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_line(msgspec.json.encode({"question": "q"} | wrong))
