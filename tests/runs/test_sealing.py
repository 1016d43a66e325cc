"""Links and hashes: what no change to a stored run escapes, and what changes no hash."""

from __future__ import annotations

import io
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answer_lines import answer_line
from test_run_store import line, manifest

from migbench.errors import UsageError
from migbench.models.credentials import refuse_secrets
from migbench.models.resolving import resolve_model
from migbench.runs.answer_lines import AnswerLine, decode_line, encode_line
from migbench.runs.hash_chain import ChainEnd, ChainReport, inspect, manifest_digest
from migbench.runs.run_hash import content_hash

TEXTS = st.lists(st.text(max_size=8), min_size=1, max_size=6)


def linked(texts: list[str]) -> tuple[list[bytes], ChainEnd]:
    """Lines as a run stores them, and their end."""
    end, lines = ChainEnd(), []
    for number, text in enumerate(texts):
        stored, end = end.followed_by(encode_line(line(f"q{number}", text)))
        lines.append(stored)
    return lines, end


def holds(found: ChainReport, end: ChainEnd) -> bool:
    """Whether lines are those that a seal was set on."""
    intact = not (found.changed or found.displaced or found.torn or found.unsealed)
    return intact and found.count == end.lines and found.at_seal == end.link


# --- Links ---------------------------------------------------------------------------------------


@given(TEXTS)
def test_what_was_stored_holds_and_is_read_as_before(texts: list[str]) -> None:
    lines, end = linked(texts)
    assert holds(inspect(lines, end.lines), end)
    assert [decode_line(each).text for each in lines] == texts


@given(TEXTS, st.data())
def test_no_changed_byte_escapes(texts: list[str], data: st.DataObject) -> None:
    lines, end = linked(texts)
    content = bytearray(b"".join(lines))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert not holds(inspect(io.BytesIO(content), end.lines), end)


@given(TEXTS, st.data())
def test_a_changed_answer_is_named_by_its_line_alone(texts: list[str], data: st.DataObject) -> None:
    lines, end = linked(texts)
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place] = lines[place].replace(b'"key":"key-', b'"key":"kez-')
    found = inspect(lines, end.lines)
    assert (found.changed, found.displaced) == ([place + 1], [])


@given(st.lists(st.text(max_size=8), min_size=2, max_size=6), st.data())
def test_no_deleted_doubled_or_moved_line_escapes(texts: list[str], data: st.DataObject) -> None:
    lines, end = linked(texts)
    one, other = data.draw(
        st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True)
    )
    gone = [*lines[:one], *lines[one + 1 :]]
    doubled = [*lines[:one], lines[other], *lines[one:]]
    moved = [*lines]
    moved[one], moved[other] = moved[other], moved[one]
    for changed in (gone, doubled, moved):
        assert not holds(inspect(changed, end.lines), end)


def test_a_deleted_line_is_found_at_the_line_behind_it() -> None:
    lines, end = linked(list("abcd"))
    found = inspect([lines[0], *lines[2:]], end.lines)
    assert (found.count, found.changed, found.displaced) == (3, [], [2])


def test_links_go_on_where_a_file_ends() -> None:
    lines, end = linked(list("ab"))
    again = ChainEnd()
    for each in lines:
        again = again.after(each)
    assert again == end


def test_lines_without_links_before_the_first_are_unsealed_and_between_changed() -> None:
    lines, _ = linked(list("ab"))
    bare = encode_line(line("old")) + b"\n"
    found = inspect([bare, bare, *lines])
    assert (found.unsealed, found.changed, found.displaced) == (2, [], [])
    found = inspect([lines[0], bare, lines[1]])
    assert (found.unsealed, found.changed) == (0, [2])


def test_an_answer_that_looks_like_a_link_is_none() -> None:
    lines, end = linked(['","link":"0123456789abcdef01234567"}', '"link"'])
    assert holds(inspect(lines, end.lines), end)


def test_a_manifests_digest_is_its_contents_without_the_seal() -> None:
    plain = manifest_digest(b'{"status": "complete", "a": {"c": 1, "b": 2}}')
    assert plain == manifest_digest(b'{"a":{"b":2,"c":1},"seal":{"lines":3},"status":"complete"}')
    assert plain != manifest_digest(b'{"status": "complete", "a": {"c": 1, "b": 3}}')


# --- A run's hash --------------------------------------------------------------------------------

ANSWERS = st.lists(
    st.builds(
        answer_line,
        question=st.sampled_from("abc"),
        turn=st.integers(0, 1),
        text=st.none() | st.text(max_size=4),
        truncated=st.booleans(),
    ),
    max_size=8,
)


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_in_which_answers_came_changes_no_hash(
    lines: list[AnswerLine], draws: random.Random
) -> None:
    queues: dict[tuple[str, int], list[AnswerLine]] = {}
    for each in lines:
        queues.setdefault((each.question, each.turn), []).append(each)
    mixed = []
    while queues:  # Only answers to one question have an order: the last of them counts.
        place = draws.choice(sorted(queues))
        mixed.append(queues[place].pop(0))
        if not queues[place]:
            del queues[place]
    assert content_hash(manifest(), mixed) == content_hash(manifest(), lines)


def test_failures_measurements_and_replaced_answers_change_no_hash() -> None:
    plain = content_hash(manifest(), [line("a"), line("b", "said")])
    again = [
        line("b", None, error="down"),
        line("b", "replaced"),
        line("a", seconds=3.0, prompt_tokens=5, cached_tokens=2, reused=True),
        line("b", "said", completion_tokens=7),
        line("b", None, error="later"),
    ]
    assert content_hash(manifest(), again) == plain


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "else"},
        {"prompt": "else"},
        {"truncated": True},
        {"sizes": [(3, 4)]},
        {"turn": 1},
        {"question": "b"},
    ],
)
def test_what_was_asked_or_said_differently_changes_the_hash(
    changes: dict[str, object],
) -> None:
    one = line("a")
    other = line(**{"question": "a"} | changes)
    assert content_hash(manifest(), [one]) != content_hash(manifest(), [other])


def test_an_empty_run_has_a_hash_of_its_settings() -> None:
    assert content_hash(manifest(), []) == content_hash(manifest(), [line("a", None)])
    assert content_hash(manifest(), []) != content_hash(manifest(limit=3), [])


def test_places_change_no_hash() -> None:
    model = msgspec.structs.replace(
        resolve_model("whole-image"), checkpoint="/here/mine", adapter="here/model.py:Model"
    )
    moved = msgspec.structs.replace(
        model, checkpoint="/there/mine", adapter="/there/model.py:Model"
    )
    other = msgspec.structs.replace(model, checkpoint="/here/other")
    hashes = [content_hash(manifest(model=each), []) for each in (model, moved, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    source = msgspec.structs.replace(manifest().settings.annotations, path="/elsewhere.json")
    assert content_hash(manifest(annotations=source), []) == content_hash(manifest(), [])


# --- Secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "sk-123"},
        {"extra_body": {"auth-token": "sk-123"}},
        {"headers": [{"Authorization": "Bearer sk-123"}]},
        {"base_url": "https://me:sk-123@host/v1"},
        {"base_url": ["http://host/v1", "http://host/v1?api_key=sk-123"]},
        {"hf_token": "sk-123"},
    ],
)
def test_a_secret_is_refused_by_its_name_alone(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="environment variable") as refusal:
        refuse_secrets(settings)
    assert "sk-123" not in str(refusal.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key_env": "MY_KEY", "max_tokens_field": "max_tokens", "key": None},
        {"eos_token": "</s>", "base_url": "http://127.0.0.1:8000/v1", "token": True},
        {"answer": "token: (1,2),(3,4)", "extra_body": {"guided_json": {"max_tokens": 3}}},
    ],
)
def test_what_is_no_secret_passes(settings: dict[str, object]) -> None:
    refuse_secrets(settings)
