"""Annotation files: what is read from them, what their instances are called, what is refused."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data_files import PUBLISHED_COUNTS, record, write_annotations

from migbench.boxes import Box
from migbench.data.annotations import (
    Annotations,
    inspect_annotations,
    read_annotations,
)
from migbench.data.instances import normalise_path
from migbench.errors import DataError, UsageError

# --- the two published files ----------------------------------------------------------------------


@pytest.fixture(params=["original", "revised"])
def published(request: pytest.FixtureRequest) -> Annotations:
    annotations: Annotations = request.getfixturevalue(request.param)
    return annotations


def test_published_files_are_known_whatever_they_are_called(
    published: Annotations, tmp_path: Path
) -> None:
    copy = tmp_path / "anything.json"
    copy.write_bytes(published.path.read_bytes())
    assert read_annotations(copy).version == published.version


def test_the_two_published_files_are_told_apart(
    original: Annotations, revised: Annotations
) -> None:
    assert (original.version, original.scale) == ("original", 1)
    assert (revised.version, revised.scale) == ("revised", 1000)


def test_published_counts(published: Annotations) -> None:
    assert published.counts == PUBLISHED_COUNTS[published.version]
    assert [each.index for each in published.instances] == list(range(published.counts.total()))


def test_published_clusters(original: Annotations, revised: Annotations) -> None:
    assert len(set(original.clusters)) == 1952
    assert len(set(revised.clusters)) == 1948


def test_no_published_cluster_crosses_tasks(published: Annotations) -> None:
    tasks: dict[int, set[str]] = {}
    for each in published.instances:
        tasks.setdefault(published.clusters[each.index], set()).add(each.task)
    assert {len(found) for found in tasks.values()} == {1}


def test_published_boxes_come_out_in_fractions(published: Annotations) -> None:
    first = published.instances[0]
    expected = {
        "original": Box(0.321, 0.096, 0.999, 0.724),
        "revised": Box(0.024, 0.093, 0.999, 0.91),
    }
    assert first.box == expected[published.version]
    assert first.id.startswith("common_object-")


def test_both_files_write_the_same_image_differently_and_name_it_the_same(
    original: Annotations, revised: Annotations
) -> None:
    assert original.instances[0].images == revised.instances[0].images
    assert original.instances[0].images[0] == (
        "MIG-Bench/images/common/Wild_Bird/objects365_v2_01803705.jpg"
    )
    names = [
        {name for each in file.instances for name in each.images} for file in (original, revised)
    ]
    assert len(names[0]) == 5887
    assert names[1] < names[0]


def test_ids_are_distinct_and_readable(published: Annotations) -> None:
    assert len(published.by_id) == len(published.instances)
    for each in published.instances:
        assert re.fullmatch(rf"{each.task}-[0-9a-f]{{12}}(\.2)?", each.id)
    assert [each.index for each in published.instances if each.id.endswith(".2")] == {
        "original": [2094, 2095],
        "revised": [1551, 1552],
    }[published.version]


def test_the_id_of_a_published_instance_never_changes(original: Annotations) -> None:
    # Stored runs and difficulty splits refer to instances by these.
    assert original.instances[0].id == "common_object-394f5849df7c"
    assert original.instances[2094].id == "multi_view-1caa00aeef95.2"


# --- ids ------------------------------------------------------------------------------------------

Read = Callable[..., Annotations]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(*records: object, scale: float | None = None) -> Annotations:
        return read_annotations(write_annotations(tmp_path / "data.json", *records), scale)

    return read


def only_id(annotations: Annotations) -> str:
    (instance,) = annotations.instances
    return instance.id


def test_an_id_depends_on_images_and_question(read: Read) -> None:
    ids = {
        only_id(read(record())),
        only_id(read(record(task="view_diff"))),
        only_id(read(record(question="Another question."))),
        only_id(read(record(images=["./images/a.png", "./images/c.png"]))),
        only_id(read(record(images=["./images/b.png", "./images/a.png"]))),
    }
    assert len(ids) == 5


def test_an_id_depends_on_nothing_else(read: Read) -> None:
    expected = only_id(read(record()))
    assert only_id(read(record(answer=[0, 0, 1, 1]))) == expected
    assert only_id(read(record(additional_info="?", need_format=False))) == expected
    assert only_id(read(record(images=["images/a.png", "images//./b.png"]))) == expected
    assert read(record(question="First."), record()).instances[1].id == expected


def test_exact_duplicates_are_numbered(read: Read) -> None:
    annotations = read(record(), record(answer=[0, 0, 1, 1]), record())
    first, *others = (each.id for each in annotations.instances)
    assert others == [f"{first}.2", f"{first}.3"]


@given(st.permutations(range(6)))
def test_ids_do_not_depend_on_the_order_of_records(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    records = [record(question=f"Question {number % 4}.") for number in range(6)]
    folder = tmp_path_factory.mktemp("orders")

    def ids(chosen: list[dict[str, Any]]) -> set[tuple[str, str]]:
        annotations = read_annotations(write_annotations(folder / "data.json", *chosen))
        return {(each.id, each.question) for each in annotations.instances}

    assert ids([records[place] for place in order]) == ids(records)


# --- custom files ---------------------------------------------------------------------------------


def test_a_custom_file_is_taken_in_fractions(read: Read) -> None:
    annotations = read(record(answer=[0.1, 0.2, 0.3, 0.4]))
    assert (annotations.version, annotations.scale) == ("custom", 1)
    assert annotations.instances[0].box == Box(0.1, 0.2, 0.3, 0.4)


def test_the_scale_of_a_custom_file_is_declared(read: Read) -> None:
    annotations = read(record(answer=[100, 200, 300, 400]), scale=1000)
    assert annotations.instances[0].box == Box(0.1, 0.2, 0.3, 0.4)


def test_the_scale_of_a_custom_file_is_never_guessed(read: Read) -> None:
    assert read(record(answer=[100, 200, 300, 400])).instances[0].box == Box(100, 200, 300, 400)


@pytest.mark.parametrize("scale", [0, -1000, float("inf"), float("nan")])
def test_a_scale_that_cannot_be_one_is_refused(read: Read, scale: float) -> None:
    with pytest.raises(UsageError, match="--scale"):
        read(record(), scale=scale)


def test_a_known_files_scale_can_be_repeated_but_not_contradicted(published: Annotations) -> None:
    assert read_annotations(published.path, published.scale).version == published.version
    with pytest.raises(DataError, match=f"is the {published.version} file, with scale"):
        read_annotations(published.path, 500)


def test_defective_boxes_are_kept_as_they_are(read: Read) -> None:
    assert read(record(answer=[0.9, 0.2, 0.1, 1.5])).instances[0].box == Box(0.9, 0.2, 0.1, 1.5)


def test_image_sets_that_share_an_image_by_any_chain_are_one_cluster(read: Read) -> None:
    chains = [["a", "b"], ["c", "d"], ["x", "y"], ["d", "e"], ["e", "a"]]
    annotations = read(*(record(images=images) for images in chains))
    assert [annotations.clusters[each.index] for each in annotations.instances] == [0, 0, 1, 0, 0]


# --- files that cannot be read --------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_annotations(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[\n{"task": "diff"},\n{"task" "diff"}\n]', r"data\.json:3: not valid JSON"),
        (b"", r"data\.json: not valid JSON"),
        (b"[\n" + json.dumps(record()).encode() + b",\n", r"data\.json: not valid JSON"),
        (b'{"task": "diff"}', "a JSON list of records is expected"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "holds no instances"),
    ],
)
def test_a_file_that_is_no_list_of_records_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_annotations(file)


MALFORMED = {
    "not a record": (17, "Expected `object`, got `int`"),
    "no question": (
        {key: value for key, value in record().items() if key != "question"},
        "missing required field `question`",
    ),
    "text for a number": (record(answer=["a", 0, 1, 1]), r"Expected `float`, got `str`.*answer"),
    "three numbers": (record(answer=[0, 0, 1]), "length >= 4"),
    "five numbers": (record(answer=[0, 0, 1, 1, 1]), "length <= 4"),
    "no images": (record(images=[]), "length >= 1"),
    "an unknown task": (record(task="counting"), r"task 'counting' has no task file \(known: diff"),
    "an image too many": (
        record(question="Find the difference in the 3th image."),
        "asks for image 3 of 2",
    ),
    "image zero": (
        record(question="Find the difference in the 0th image."),
        "asks for image 0 of 2",
    ),
    "no target image": (
        record(task="group_grounding", additional_info="Somewhere."),
        "does not say which image holds the target",
    ),
}


@pytest.mark.parametrize(("malformed", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_record_is_named_by_its_place_and_line(
    tmp_path: Path, malformed: object, message: str
) -> None:
    file = write_annotations(tmp_path / "data.json", record(), malformed, record(question="Last."))

    annotations, problems = inspect_annotations(file)
    assert [(bad.index, bad.line) for bad in problems] == [(1, 3)]
    assert re.search(message, problems[0].message)
    assert [each.index for each in annotations.instances] == [0, 2]

    with pytest.raises(DataError, match=r"data\.json: 1 malformed(.|\n)*record 1 \(line 3\): .*"):
        read_annotations(file)


def test_many_malformed_records_are_counted_and_the_first_five_shown(tmp_path: Path) -> None:
    file = write_annotations(tmp_path / "data.json", *([None] * 8))
    with pytest.raises(DataError) as refusal:
        read_annotations(file)
    assert "8 malformed" in str(refusal.value)
    assert str(refusal.value).count("record ") == 5
    assert f"migbench data check {file}" in str(refusal.value)


def test_the_line_is_where_the_record_begins_even_among_equal_ones(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('[{"task":\n"x"},\n\n{"task":\n"x"} ,\n 1, 1]')
    assert [bad.line for bad in inspect_annotations(file)[1]] == [1, 4, 6, 6]


# --- image paths ----------------------------------------------------------------------------------

ESCAPES = ["/etc/passwd", "//host/a.png", "../a.png", "images/../../a.png", "images/..", "", "."]
ESCAPES += ["\\\\host\\a.png", "..\\a.png", "images\\..\\..\\a.png", "C:\\a.png", "C:/a.png", "c:a"]


@pytest.mark.parametrize("path", ESCAPES)
def test_an_image_path_that_leaves_the_folder_is_a_malformed_record(
    tmp_path: Path, path: str
) -> None:
    file = write_annotations(tmp_path / "data.json", record(images=["images/a.png", path]))
    annotations, (problem,) = inspect_annotations(file)
    assert not annotations.instances
    assert "leaves the data folder" in problem.message


def test_an_image_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        normalise_path("images/a\0.png")


@pytest.mark.parametrize(
    "path", ["images/a.png", "./images/a.png", "images//a.png", "images\\a.png"]
)
def test_ways_to_write_a_path_are_one_name(path: str) -> None:
    assert normalise_path(path) == "images/a.png"


@given(st.text(st.sampled_from("ab./\\:~ \0\n")) | st.text())
def test_a_normalised_path_never_leaves_the_folder(path: str) -> None:
    try:
        name = normalise_path(path)
    except ValueError:
        return
    joined = posixpath.normpath(PurePosixPath("/data/set") / name)
    assert joined.startswith("/data/set/")
    assert normalise_path(name) == name
