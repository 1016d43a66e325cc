"""The records of a JSON list: as they stand in the file, and on which lines."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from migbench.data.records import find_records, number_lines

texts = st.text(st.sampled_from('{}[],:"\\ a\né'), max_size=8)
values = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
spaces = st.sampled_from(["", " ", "\n", " \r\n\t", "\n" * 9])


@given(st.lists(st.tuples(spaces, values, spaces), max_size=6), spaces)
def test_records_stand_on_the_lines_on_which_they_begin(
    laid_out: list[tuple[str, object, str]], before: str
) -> None:
    content, starts = f"{before}[", []
    written = [json.dumps(value, ensure_ascii=False) for _, value, _ in laid_out]
    for number, ((space, _, behind), text) in enumerate(zip(laid_out, written, strict=True)):
        content += ("," if number else "") + space
        starts.append(content.count("\n") + 1)
        content += text + behind
    found = find_records(Path("a.json"), f"{content}]".encode())
    assert [bytes(raw).decode() for raw in found] == written
    assert list(number_lines(content.encode(), found)) == starts
