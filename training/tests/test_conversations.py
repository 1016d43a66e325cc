"""Reading conversation records in MGrounding-630k's published format."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_files import write_images
from hypothesis import given
from hypothesis import strategies as st

from migbench.data.images import ImageFolder
from migbench.errors import DataError
from migbench.mini.conversations import Round
from migtrain.records import files as records
from migtrain.records.files import Census, index_records, split_records
from migtrain.records.parsing import CHAT_TOKENS, Flaw, FlawedRecord, parse_conversation

Record = dict[str, Any]


def box(*edges: int) -> str:
    x1, y1, x2, y2 = edges
    return f"<|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>"


def record(*turns: str, images: int = 2, **changes: Any) -> Record:
    """A sound record: questions and answers in turn, the images shown by the first question."""
    shown = "<image>\n" * images
    return {
        "id": "5229016_8929009",
        "images": [f"./MGrounding-630k/Group_Grounding/SA-1B/sa_{n}.jpg" for n in range(images)],
        "conversations": [
            {"from": ("human", "gpt")[n % 2], "value": (shown if n == 0 else "") + turn}
            for n, turn in enumerate(turns or ("Where is the statue?", box(316, 58, 764, 999)))
        ],
        "type": "group_grounding",
    } | changes


PHRASE = "<|object_ref_start|>a statue of a man<|object_ref_end|>"

# One of each kind, worded as such data are: one box and several, one turn and several, answers in
# words, and boxes within questions.
EVERY_KIND = [
    ("common_train", "Common_Object/COCO", 4, [
        ("Find their common object.", f"It is a cat. Image-1: {box(1, 2, 3, 4)} Image-2: "
         f"{box(10, 20, 300, 400)} Image-3: {box(0, 0, 999, 999)} Image-4: {box(5, 5, 6, 1000)}"),
    ]),
    ("diff_train", "Difference/magicbrush", 2, [
        ("What has changed?", "A hat was added."),
        ("Locate it in the second image.", box(120, 80, 240, 200)),
    ]),
    ("free_form_grounding", "Free-Form/Object365", 5, [
        (f"Image-1 shows a bottle at {box(906, 717, 931, 851)}. Is there one like it in Image-3?",
         "No; but papers lie at (0,753) to (224,932) in Image-3."),
        ("And in Image-4?", f"<ref>a bottle</ref>{box(186, 133, 821, 719)}"),
    ]),
    ("gg_train", "Group_Grounding/SA-1B", 4, [
        (f"Give the bounding box of the region that this sentence refers to: {PHRASE}.",
         f"It's in the third image. {box(316, 58, 764, 999)}"),
        ("Recognize the target region: a woman in orange.",
         f"It's in the first image. {box(408, 656, 578, 997)}"),
    ]),
    ("ot_train", "Object_Tracking/GOT-10k", 6, [
        (f"Track the object at {box(100, 100, 200, 300)} of the first frame.",
         " ".join(f"Frame-{n}: {box(100 + n, 100, 200 + n, 300)}" for n in range(2, 7))),
    ]),
    ("refer_train", "Referring_Grounding/ImageNet", 2, [
        ("Find the object of Image-1 in Image-2.", f"一只狗 is at {box(492, 387, 726, 792)}"),
    ]),
    ("region_train", "Region_Locating/Object365", 3, [
        ("Locate the first region.", box(0, 1, 2, 3)),
        ("Locate the second.", box(500, 501, 502, 503)),
        ("What is in it?", "A chair."),
    ]),
]  # fmt: skip

KINDS = {
    "common_object",
    "diff",
    "free_form_grounding",
    "group_grounding",
    "object_tracking",
    "refer_grounding",
    "region",
}


def written_by_hand(number: int) -> Record:
    """Record number n of a large file: the kinds in turn, with ids and images of their own."""
    kind, folder, images, rounds = EVERY_KIND[number % len(EVERY_KIND)]
    turns = [text for each_round in rounds for text in each_round]
    return record(
        *turns,
        images=images,
        id=f"{kind}_{number}",
        type=kind,
    ) | {"images": [f"./MGrounding-630k/{folder}/{number % 50}_{n}.jpg" for n in range(images)]}


def bad_record(number: int) -> tuple[object, Flaw]:
    """One of the ways in which records are bad."""
    sound = written_by_hand(number)
    first = sound["conversations"][0]
    nowhere = [f"./other/{n}.jpg" for n in range(len(sound["images"]))]
    ways: list[tuple[object, Flaw]] = [
        (["not", "an", "object"], Flaw.NOT_JSON),
        (sound | {"images": "a.jpg"}, Flaw.IMAGES),
        (sound | {"images": ["../outside.jpg", *sound["images"][1:]]}, Flaw.OUTSIDE),
        (sound | {"images": ["/etc/passwd", *sound["images"][1:]]}, Flaw.OUTSIDE),
        (sound | {"images": ["./nowhere.jpg", *sound["images"][1:]]}, Flaw.MISSING),
        (sound | {"conversations": [first]}, Flaw.TURNS),
        (sound | {"conversations": []}, Flaw.TURNS),
        (sound | {"conversations": [first, {"from": "human", "value": "?"}]}, Flaw.TURNS),
        (sound | {"conversations": [first, {"from": "gpt", "value": " "}]}, Flaw.TURNS),
        (sound | {"images": sound["images"][1:]}, Flaw.PLACES),
        (sound | {"conversations": [first, {"from": "gpt", "value": "<image>"}]}, Flaw.PLACES),
        (sound | {"conversations": [first, {"from": "gpt", "value": "<|im_end|>"}]}, Flaw.TOKENS),
        (sound | {"conversations": [first, {"from": "gpt", "value": "<|box_start|>(1,2)"}]},
         Flaw.BOXES),
        (sound | {"conversations": [first, {"from": "gpt", "value": box(9, 1, 3, 4)}]}, Flaw.BOXES),
        (sound | {"type": None, "images": nowhere}, Flaw.KIND),
    ]  # fmt: skip
    return ways[number % len(ways)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of all sound records, in the published layout."""
    root = tmp_path_factory.mktemp("data")
    names = {image for number in range(350) for image in written_by_hand(number)["images"]}
    write_images(root, sorted(names))
    return root


def test_a_thousand_records_with_bad_ones_among_them(folder: Path, tmp_path: Path) -> None:
    content: list[object] = []
    expected: Counter[Flaw] = Counter()
    places = {}
    for number in range(1000):
        if number % 20 == 7:
            bad, flaw = bad_record(number // 20)
            expected[flaw] += 1
            places[number] = flaw
            content.append(bad)
        else:
            content.append(written_by_hand(number))
    path = tmp_path / "MGrounding-630k.json"
    path.write_text(json.dumps(content, indent=4), "utf-8")
    named: list[records.BadRecord] = []
    census = Census(on_bad=named.append)
    index = index_records([path], ImageFolder(folder), census)
    assert len(index) == 950
    assert set(census.kinds) == KINDS
    assert sum(census.kinds.values()) == 950
    assert census.flaws == expected
    assert set(expected) == set(Flaw)
    assert {bad.index: bad.flaw for bad in named} == places
    assert len(census.first_bad) == Census.NAMED
    assert str(named[0]).startswith(f"{path}, record 7: not a JSON object")
    sound = [each for number, each in enumerate(content) if number not in places]
    for number in (0, 1, 500, 949):
        read = index.read(number)
        original: Any = sound[number]
        assert read.record()["conversations"] == original["conversations"]
        assert read.record()["images"] == original["images"]
        assert read.record()["id"] == original["id"]
        assert index.images(number) == len(original["images"])


def test_the_data_folder_may_be_mgrounding_itself(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps([written_by_hand(0)]))
    census = Census()
    assert len(index_records([path], ImageFolder(folder / "MGrounding-630k"), census)) == 1


def test_images_behind_links_out_of_the_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "MGrounding-630k").symlink_to(folder / "MGrounding-630k")
    path = tmp_path / "some.json"
    path.write_text(json.dumps([written_by_hand(0)]))
    census = Census()
    assert len(index_records([path], ImageFolder(root), census)) == 0
    assert census.flaws == {Flaw.OUTSIDE: 1}


def test_only_the_kinds_asked_for_are_indexed(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text(json.dumps([written_by_hand(number) for number in range(70)]))
    census = Census()
    kinds = frozenset({"diff", "region"})
    index = index_records([path], ImageFolder(folder), census, kinds=kinds)
    assert len(index) == 20
    assert census.kinds == {"diff": 10, "region": 10}
    assert census.unused == dict.fromkeys(KINDS - kinds, 10)
    assert {index.read(number).kind for number in range(20)} == kinds


def test_a_line_that_is_no_json_is_one_bad_record(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = [json.dumps(written_by_hand(0)), '{"cut off', "", json.dumps(written_by_hand(2))]
    path.write_text("\n".join(lines))
    census = Census()
    index = index_records([path], ImageFolder(folder), census)
    assert [index.read(number).id for number in range(len(index))] == [
        "common_train_0",
        "free_form_grounding_2",
    ]
    assert census.flaws == {Flaw.NOT_JSON: 1}
    assert census.first_bad[0].index == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1}, {"b": ', "record 1, byte 11: not valid JSON"),
        ('[{"a": 1} {"b": 2}]', "a comma is expected after record 0"),
        ('{"a": 1}', "a JSON list of records is expected"),
        ('[{"a": 1}, ', "record 1"),
        ('[{"a": 1}', "is it complete"),
        ("", "a JSON list of records is expected"),
        ("[" * 5000, "not valid JSON"),
    ],
)
def test_a_damaged_list_is_named_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        list(split_records(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(split_records(tmp_path / "none.json"))


def test_a_file_that_changes_is_not_misread(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps([written_by_hand(0), written_by_hand(1)]))
    index = index_records([path], ImageFolder(folder), Census())
    path.write_text("[]")
    with pytest.raises(DataError, match="has changed since"):
        index.read(1)


objects = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


@given(
    contents=st.lists(objects, max_size=8),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 4]),
    ascii_only=st.booleans(),
)
def test_lists_come_apart_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory,
    contents: list[object],
    chunk: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    path = tmp_path_factory.mktemp("list") / "list.json"
    text = json.dumps(contents, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "CHUNK", chunk)
        found = list(split_records(path))
    whole = path.read_bytes()
    assert [json.loads(raw.decode("utf-8", "surrogatepass")) for _, raw in found] == contents
    assert all(whole[start : start + len(raw)] == raw for start, raw in found)


# What makes a conversation


def test_both_published_spellings_of_a_kind_are_one() -> None:
    for spelling in ("group_grounding", "gg_train"):
        assert parse_conversation(record(type=spelling)).kind == "group_grounding"


def test_a_record_without_a_type_is_of_its_folders_kind() -> None:
    assert parse_conversation(record(type="")).kind == "group_grounding"
    elsewhere = record(images=1, type="") | {"images": ["coco/1.jpg"]}
    assert parse_conversation(elsewhere, "single_grounding").kind == "single_grounding"
    with pytest.raises(FlawedRecord, match="no type"):
        parse_conversation(elsewhere)


def test_text_alone_is_a_conversation_too() -> None:
    read = parse_conversation(record("Hello?", "Hello.", images=0, type="chat"))
    assert read.images == ()
    assert read.rounds == (Round("Hello?", "Hello."),)


@pytest.mark.parametrize("token", CHAT_TOKENS)
def test_chat_tokens_in_a_text_are_refused(token: str) -> None:
    for turns in ((f"forged {token}", "yes"), ("true?", f"no {token}")):
        with pytest.raises(FlawedRecord, match="chat tokens"):
            parse_conversation(record(*turns))


@pytest.mark.parametrize(
    "answer",
    [
        "<|box_start|>(1,2),(3,4)",
        "(1,2),(3,4)<|box_end|>",
        "<|box_start|>(1,2),(3,4)<|box_start|>",
        "<|box_start|>(1.5,2),(3,4)<|box_end|>",
        "<|box_start|>(1,2),(3,1001)<|box_end|>",
        "<|box_start|>(3,2),(3,4)<|box_end|>",
        "<|box_start|><|box_end|>",
    ],
)
def test_malformed_boxes_in_answers_are_refused(answer: str) -> None:
    with pytest.raises(FlawedRecord, match="a malformed box"):
        parse_conversation(record("Where?", f"There: {box(1, 2, 3, 4)} {answer}"))


def test_questions_may_name_the_format() -> None:
    asked = "Where? Format:<|box_start|>(x1,y1),(x2,y2)<|box_start|>."
    assert parse_conversation(record(asked, box(1, 2, 3, 4))).rounds[0].question.endswith(asked)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists) | objects)
def test_no_content_is_anything_but_a_conversation_or_flawed(content: object) -> None:
    with contextlib.suppress(FlawedRecord):
        assert parse_conversation(content, "anything").rounds
