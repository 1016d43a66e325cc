"""Finding the records of a JSON list a block at a time: as if it had been read whole."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migbench.data import records
from migbench.data.records import find_records
from migbench.errors import DataError

texts = st.text(st.sampled_from('{}[],:"\\ a\né'), max_size=8)
values = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
spaces = st.sampled_from(["", " ", "\n", " \r\n\t", "\n" * 9])


@st.composite
def lists(draw: st.DrawFn) -> str:
    """A JSON list, laid out in some way or other."""
    gaps = [draw(spaces) for _ in range(4)]
    separator = draw(spaces) + "," + draw(spaces)
    found = [json.dumps(each, ensure_ascii=False) for each in draw(st.lists(values, max_size=6))]
    return f"{gaps[0]}[{gaps[1]}{separator.join(found)}{gaps[2]}]{gaps[3]}"


@st.composite
def almost_lists(draw: st.DrawFn) -> str:
    """A list with a part cut out, or something put in."""
    content = draw(lists())
    start = draw(st.integers(0, len(content)))
    stop = draw(st.integers(start, min(len(content), start + 3)))
    return (
        content[:start] + draw(st.text(st.sampled_from('{}[],"\\ 1'), max_size=2)) + content[stop:]
    )


def found_in(path: Path, content: bytes, block: int) -> list[tuple[int, int, bytes]] | str:
    """Every record's place, line and text, or the complaint."""
    path.write_bytes(content)
    try:
        with path.open("rb") as file, mock.patch.object(records, "BLOCK", block):
            return [
                (start, line, bytes(memoryview(raw)))
                for start, line, raw in find_records(path, file)
            ]
    except DataError as error:
        return str(error)


@given(lists() | almost_lists(), st.integers(1, 30))
def test_the_size_of_blocks_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, text: str, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "records.json"
    content = text.encode()
    found = found_in(path, content, block)
    try:
        expected = [
            bytes(memoryview(raw)) for raw in msgspec.json.decode(content, type=list[msgspec.Raw])
        ]
    except msgspec.DecodeError:
        assert isinstance(found, str)
        # The complaint names the line of the whole file.
        assert found == found_in(path, content, 1 << 20)
    else:
        assert [raw for _, _, raw in found] == expected
        for start, line, raw in found:
            assert content[start : start + len(raw)] == raw
            assert line == content[:start].count(b"\n") + 1


def test_a_text_of_closing_braces_takes_no_more_time_than_it_is_long(tmp_path: Path) -> None:
    record = {"question": "},{" * 300_000}
    path = tmp_path / "records.json"
    with mock.patch.object(records, "_decode_part", wraps=records._decode_part) as decode:
        found = found_in(path, json.dumps([record, record]).encode(), 1000)
    assert len(found) == 2
    # Blocks double: each text is read some ten times over in sum, not a thousand times.
    assert sum(len(call.args[0]) for call in decode.call_args_list) < 8 * path.stat().st_size


def test_a_long_file_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps([{"question": "x" * 1000}] * 20_000))
    tracemalloc.start()
    try:
        with path.open("rb") as file:
            assert sum(1 for _ in find_records(path, file)) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2
