"""Sequences made a chunk at a time, and places found by hash: as if all were in memory."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migbench.data import chunks
from migbench.data.chunks import Chunked
from migbench.data.hash_index import HashIndex


def chunked(items: Sequence[int], size: int) -> tuple[Chunked[int], list[tuple[int, int]]]:
    """The items in chunks of this size, and what has been made of them so far."""
    made: list[tuple[int, int]] = []

    def make(start: int, stop: int) -> Sequence[int]:
        made.append((start, stop))
        return items[start:stop]

    with mock.patch.object(chunks, "CHUNK", size):
        return Chunked(len(items), make), made


numbers = st.lists(st.integers(), max_size=40)
sizes = st.integers(1, 12)


@given(numbers, sizes, st.data())
def test_a_chunked_sequence_is_the_sequence(
    items: list[int], size: int, data: st.DataObject
) -> None:
    found, made = chunked(items, size)
    assert len(found) == len(items)
    places = st.integers(-len(items) - 2, len(items) + 1)
    for place in data.draw(st.lists(places, max_size=6)):
        if -len(items) <= place < len(items):
            assert found[place] == items[place]
        else:
            with pytest.raises(IndexError):
                found[place]
    assert list(found) == items
    part = data.draw(st.slices(len(items)))
    assert found[part] == tuple(items[part])
    chosen = sorted(data.draw(st.lists(st.sampled_from(range(len(items)))))) if items else []
    assert list(found.take(chosen)) == [items[place] for place in chosen]
    assert all(stop - start <= size for start, stop in made)


def test_what_fits_into_a_chunk_is_made_once() -> None:
    found, made = chunked(range(10), 10)
    assert [found[3], *found, *found[2:5], *found.take([1, 9])] == [3, *range(10), 2, 3, 4, 1, 9]
    assert made == [(0, 10)]


def test_walking_through_makes_every_chunk_once() -> None:
    found, made = chunked(range(10), 4)
    assert list(found.take([0, 3, 5, 9])) == [0, 3, 5, 9]
    assert made == [(0, 4), (4, 8), (8, 10)]


def test_one_item_of_many_is_made_alone() -> None:
    found, made = chunked(range(10), 4)
    assert [found[9], found[-10]] == [9, 0]
    assert made == [(9, 10), (0, 1)]


# --- Places by hash -------------------------------------------------------------------------------

keys = st.sampled_from("abcdef")


@pytest.mark.parametrize("bits", [64, 1, 0])
@given(st.lists(st.lists(keys, max_size=8), max_size=4), st.sets(keys))
def test_no_place_of_a_key_is_lost_however_bad_the_hashes(
    bits: int, batches: list[list[str]], wanted: set[str]
) -> None:
    def hashed(key: str) -> int:
        return hash(key) % 2**63 % 2**bits

    index = HashIndex()
    added: list[str] = []
    with mock.patch("migbench.data.hash_index.hash", hashed, create=True):
        for batch in batches:
            for key in batch:
                index.add(key, len(added))
                added.append(key)
            # What is added after a search is found by the next one.
            found = index.find(iter(wanted))
            hashes = {hashed(key) for key in wanted}
            assert found == [place for place, key in enumerate(added) if hashed(key) in hashes]
