"""Records are checked before they are trained on: every bad one is named with its place."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from command_line import migbench_command as migbench
from command_line import migtrain_command as migtrain
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from records import BAD, KINDS, box, record, sound_record, write_record_images

from migbench.errors import DataError
from migbench.mini.conversations import Round
from migtrain.records import files
from migtrain.records.checking import RecordChecker, check_files
from migtrain.records.files import split_records
from migtrain.records.lengths import LengthCounter, shrunk
from migtrain.records.parsing import CHAT_TOKENS, ErrorKind, RecordError, parse_conversation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_record_images(tmp_path_factory.mktemp("data"))


def test_a_thousand_records_with_bad_ones_among_them(folder: Path, tmp_path: Path) -> None:
    content: list[object] = []
    expected = {}
    spoiled = iter(sorted(BAD) * 3)
    for number in range(1000):
        sound = sound_record(number)
        if number % 20 == 7:
            spoil, kind = BAD[next(spoiled)]
            expected[number] = kind
            content.append(spoil(sound))
        else:
            content.append(sound)
    path = tmp_path / "MGrounding-630k.json"
    path.write_text(json.dumps(content, indent=4), "utf-8")
    report = check_files([path], RecordChecker(folder, cutoff_len=6000))
    assert report.valid == 950
    assert set(report.kinds) == KINDS
    assert {each.index: each.kind for each in report.invalid} == expected
    assert report.errors == Counter(expected.values())
    assert set(expected.values()) == set(ErrorKind)


@pytest.mark.parametrize("name", BAD)
def test_the_command_names_file_place_id_and_reason(
    folder: Path, tmp_path: Path, name: str
) -> None:
    spoil, kind = BAD[name]
    bad = spoil(sound_record(3))
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [sound_record(0), bad]))
    done = migtrain("check", path, "--images", folder, "--report", tmp_path / "bad.jsonl")
    assert done.status == 2
    identity = f" ({bad['id']})" if isinstance(bad, dict) else ""
    assert f"{path}, record 1{identity}: {kind}: " in done.err
    assert "1 of 2 records are valid" in done.out
    (line,) = (tmp_path / "bad.jsonl").read_text().splitlines()
    assert json.loads(line)["index"] == 1
    assert json.loads(line)["error"] == kind


def test_a_folder_is_checked_file_by_file_and_others_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "mini"
    arguments = ("--per-task", 1, "--split", "train", "--format", "conversations")
    assert migbench("data", "mini", folder, *arguments).status == 0
    done = migtrain("check", folder)
    assert done.status == 0, done.err
    assert "10 of 10 records are valid" in done.out
    assert f"{folder / 'MIG_mini.json'}: holds no conversation records" in done.out
    (tmp_path / "empty").mkdir()
    assert "no JSON file below it" in migtrain("check", tmp_path / "empty").err


def test_headers_alone_do_not_find_an_image_that_was_cut_off(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(BAD["image cut off"][0](sound_record(3))))
    assert migtrain("check", path, "--images", folder).status == 2
    assert migtrain("check", path, "--images", folder, "--headers-only").status == 0


# Files


def test_a_line_that_is_no_json_is_one_bad_record(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = [json.dumps(sound_record(0)), '{"cut off', "", json.dumps(sound_record(2))]
    path.write_text("\n".join(lines))
    report = check_files([path], RecordChecker(folder, cutoff_len=6000))
    assert report.valid == 2
    assert [(each.index, each.kind) for each in report.invalid] == [(1, ErrorKind.NOT_AN_OBJECT)]


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
        patch.setattr(files, "CHUNK", chunk)
        found = list(split_records(path))
    assert [json.loads(raw.decode("utf-8", "surrogatepass")) for raw in found] == contents


# What makes a conversation


def test_both_published_spellings_of_a_kind_are_one() -> None:
    for spelling in ("group_grounding", "gg_train"):
        assert parse_conversation(record(type=spelling)).kind == "group_grounding"


def test_a_record_without_a_type_is_of_its_folders_kind() -> None:
    assert parse_conversation(record(type="")).kind == "group_grounding"
    elsewhere = record(images=1, type="") | {"images": ["coco/1.jpg"]}
    assert parse_conversation(elsewhere, "single_grounding").kind == "single_grounding"
    assert parse_conversation(elsewhere).kind == "unspecified"


def test_text_alone_is_a_conversation_too() -> None:
    parsed = parse_conversation(record("Hello?", "Hello.", images=0, type="chat"))
    assert parsed.images == ()
    assert parsed.rounds == (Round("Hello?", "Hello."),)


@pytest.mark.parametrize("token", CHAT_TOKENS)
def test_chat_tokens_in_a_text_are_refused(token: str) -> None:
    for turns in ((f"forged {token}", "yes"), ("true?", f"no {token}")):
        with pytest.raises(RecordError, match="chat tokens"):
            parse_conversation(record(*turns))


@pytest.mark.parametrize(
    "answer",
    [
        "<|box_start|>(1,2),(3,4)",
        "(1,2),(3,4)<|box_end|>",
        "<|box_start|>(1,2),(3,4)<|box_start|>",
        "<|box_start|>(1.5,2),(3,4)<|box_end|>",
        "<|box_start|>(-1,2),(3,4)<|box_end|>",
        "<|box_start|>(1,2),(3,1001)<|box_end|>",
        "<|box_start|>(3,2),(3,4)<|box_end|>",
        "<|box_start|><|box_end|>",
    ],
)
def test_malformed_boxes_in_answers_are_refused(answer: str) -> None:
    with pytest.raises(RecordError, match="a malformed box"):
        parse_conversation(record("Where?", f"There: {box(1, 2, 3, 4)} {answer}"))


def test_questions_may_name_the_format() -> None:
    asked = "Where? Format:<|box_start|>(x1,y1),(x2,y2)<|box_start|>."
    assert parse_conversation(record(asked, box(1, 2, 3, 4))).rounds[0].question.endswith(asked)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists) | objects)
def test_no_content_is_anything_but_a_conversation_or_an_error(content: object) -> None:
    with contextlib.suppress(RecordError):
        assert parse_conversation(content, "anything").rounds


# Lengths, as LLaMA-Factory has them

SIZES = [(60, 90), (1200, 900), (33, 3001), (20, 20), (10, 3000), (640, 480), (513, 512)]


@pytest.fixture(scope="module")
def encoding(checkpoint: Path) -> Any:
    """LLaMA-Factory's template, tokenizer and processor for the tiny checkpoint."""
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from llamafactory.model import load_tokenizer

    arguments = ModelArguments(model_name_or_path=str(checkpoint), image_max_pixels=262144)
    loaded = load_tokenizer(arguments)
    template = get_template_and_fix_tokenizer(
        loaded["tokenizer"], DataArguments(template="qwen2_vl")
    )
    return template, loaded["tokenizer"], loaded["processor"]


@pytest.mark.filterwarnings("ignore")
def test_lengths_are_those_of_llamafactory(encoding: Any, checkpoint: Path, tmp_path: Path) -> None:
    template, tokenizer, processor = encoding
    counter = LengthCounter.of_checkpoint(str(checkpoint), 262144)
    for number, size in enumerate(SIZES):
        images = [Image.new("RGB", size), Image.new("RGB", (200, 100))]
        parsed = parse_conversation(record("Où?", box(1, 2, 3, 4), "Et là?", "一只狗", images=2))
        messages = [
            {"role": role, "content": text}
            for each in parsed.rounds
            for role, text in (("user", each.question), ("assistant", each.answer))
        ]
        shown = template.mm_plugin.process_messages(messages, images, [], [], processor)
        pairs = template.encode_multiturn(tokenizer, shown, None, None)
        expected = sum(len(source) + len(target) for source, target in pairs)
        assert counter.count(parsed, [each.size for each in images]) == expected, (number, size)


def test_images_are_shrunk_to_the_cap_of_the_authors_version() -> None:
    width, height = shrunk(4000, 3000, 512 * 512)
    assert 0.99 * 512 * 512 < width * height <= 512 * 512
    assert LengthCounter().image_tokens(4000, 3000) == 21 * 16
    larger = LengthCounter(image_max_pixels=768 * 768).image_tokens(4000, 3000)
    assert larger > 2 * LengthCounter().image_tokens(4000, 3000)


def test_a_record_at_the_limit_is_valid_and_one_token_more_is_not(
    folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(sound_record(1)))
    counter = LengthCounter.of_checkpoint(str(checkpoint), 262144)
    longest = check_files([path], RecordChecker(folder, 6000, counter)).longest
    at_limit, below = (
        check_files([path], RecordChecker(folder, cutoff, counter))
        for cutoff in (longest, longest - 1)
    )
    assert (at_limit.valid, below.errors) == (1, {ErrorKind.TOO_LONG: 1})
