"""Where prompts begin alike, and what is kept for their beginnings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_adapters.transformers.prefixes import Cut, PrefixStore, cuts

IMAGE = 9
"""The image token; texts are of the tokens 0 to 3."""

Shown = tuple[str, int]
"""An image's digest, and how many tokens it takes."""

texts = st.lists(st.integers(0, 3), min_size=1, max_size=4)
# Sizes follow from digests, as they do from files.
images = st.sampled_from("abcd").map(lambda digest: (digest, 1 + ord(digest) % 3))
prompts = st.lists(st.tuples(texts, images), max_size=4).flatmap(
    lambda begun: texts.map(lambda end: (begun, end))
)


def tokens(begun: list[tuple[list[int], Shown]], end: list[int]) -> list[int]:
    return [token for text, (_, size) in begun for token in (*text, *[IMAGE] * size)] + end


def cut(begun: list[tuple[list[int], Shown]], end: list[int]) -> tuple[Cut, ...]:
    return cuts(tokens(begun, end), IMAGE, [digest for _, (digest, _) in begun])


@given(prompts)
def test_a_prompt_is_cut_right_behind_each_image(
    prompt: tuple[list[tuple[list[int], Shown]], list[int]],
) -> None:
    begun, end = prompt
    lengths = [place.length for place in cut(begun, end)]
    assert lengths == [len(tokens(begun[:count], [])) for count in range(1, len(begun) + 1)]


@given(prompts, prompts)
def test_two_cuts_are_equal_exactly_if_all_before_them_is(
    one: tuple[list[tuple[list[int], Shown]], list[int]],
    other: tuple[list[tuple[list[int], Shown]], list[int]],
) -> None:
    for i, mine in enumerate(cut(*one), 1):
        for j, yours in enumerate(cut(*other), 1):
            assert (mine.key == yours.key) == (one[0][:i] == other[0][:j])


@given(prompts, texts)
def test_what_is_asked_behind_the_images_does_not_matter(
    prompt: tuple[list[tuple[list[int], Shown]], list[int]], question: list[int]
) -> None:
    begun, end = prompt
    assert cut(begun, end) == cut(begun, question)


def test_images_side_by_side_are_cut_behind_the_last() -> None:
    row = [0, IMAGE, IMAGE, IMAGE, 1, IMAGE, 2]
    (place,) = cuts(row, IMAGE, ["a", "b", "c"])
    assert place.length == 6
    assert place != cuts(row, IMAGE, ["a", "c", "b"])[0]
    assert place == cuts([*row, 3], IMAGE, ["a", "b", "c"])[0]


def test_a_prompt_without_images_or_with_nothing_behind_them_is_not_cut() -> None:
    assert cuts([0, 1, 2], IMAGE, []) == ()
    assert cuts([0, 1, 2], IMAGE, ["a"]) == ()
    assert cuts([0, IMAGE], IMAGE, ["a"]) == ()
    assert cuts([0, IMAGE, 1, IMAGE], IMAGE, ["a", "b"]) == ()


@given(st.lists(prompts, max_size=8), prompts)
def test_the_longest_beginning_that_is_kept_is_found(
    kept: list[tuple[list[tuple[list[int], Shown]], list[int]]],
    asked: tuple[list[tuple[list[int], Shown]], list[int]],
) -> None:
    store: PrefixStore[list[tuple[list[int], Shown]]] = PrefixStore(1000)
    for prompt in kept:
        if places := cut(*prompt):
            store.put(places, prompt[0], 1)
    length, content = store.longest(cut(*asked))
    alike = [
        len(tokens(asked[0][:count], []))
        for begun, _ in kept
        for count in range(1, len(asked[0]) + 1)
        if begun[:count] == asked[0][:count] and len(begun) >= count
    ]
    assert length == max(alike, default=0)
    if content is None:
        assert length == 0
    else:
        assert tokens(content, [])[:length] == tokens(*asked)[:length]


def places(name: str) -> tuple[Cut, ...]:
    return cuts([0, IMAGE, 1], IMAGE, [name])


def test_the_latest_used_beginnings_are_kept_up_to_the_bound() -> None:
    store: PrefixStore[str] = PrefixStore(10)
    for name in "abc":
        store.put(places(name), name, 3)
    assert store.longest(places("a")) == (2, "a")
    store.put(places("d"), "d", 4)
    assert [store.longest(places(name))[1] for name in "abcd"] == ["a", None, "c", "d"]
    store.put(places("d"), "d again", 1)
    store.put(places("e"), "e", 3)
    assert [store.longest(places(name))[1] for name in "acde"] == ["a", "c", "d again", "e"]
    store.put(places("f"), "too large", 11)
    assert store.longest(places("f")) == (0, None)


def test_what_no_prompt_needs_is_forgotten_on_demand() -> None:
    store: PrefixStore[str] = PrefixStore(10)
    for name in "abc":
        store.put(places(name), name, 3)
    assert store.keep_only([places("b"), ()])
    assert [store.longest(places(name))[1] for name in "abc"] == [None, "b", None]
    assert not store.keep_only([places("b")])
