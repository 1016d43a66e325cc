"""The task files: the ten tasks, which image holds the target, and what a new task takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.command_line import migbench

from migbench.data.annotations import Annotations
from migbench.errors import DataError, UsageError
from migbench.tasks import (
    GROUP_FILE,
    TargetImage,
    TaskSpec,
    load_tasks,
    select_tasks,
    task_hashes,
    tasks_folder,
)
from migbench.util.yaml_files import read_yaml

KEYS = [
    "diff",
    "view_diff",
    "common_object",
    "object_tracking",
    "multi_view",
    "region",
    "refer_grounding",
    "group_grounding",
    "reasoning",
    "correspondence",
]
COLUMNS = ["Static", "Robust", "Common", "OT", "MV", "Region", "Refer", "GG", "Reason", "Co-Re"]

# --- the ten tasks --------------------------------------------------------------------------------


def test_there_are_ten_tasks_in_the_order_of_table_1() -> None:
    assert [spec.key for spec in load_tasks()] == KEYS
    assert [spec.column for spec in load_tasks()] == COLUMNS


def test_tasks_are_grouped_as_in_table_1() -> None:
    groups = {(spec.group, spec.subgroup): [] for spec in load_tasks()}
    for spec in load_tasks():
        groups[spec.group, spec.subgroup].append(spec.column)
    assert groups == {
        ("Spontaneous Grounding", "Difference"): ["Static", "Robust"],
        ("Spontaneous Grounding", "Similarity"): ["Common"],
        ("Referential Grounding", "Visual Reference"): ["OT", "MV", "Region", "Refer"],
        ("Referential Grounding", "Textual"): ["GG"],
        ("Referential Grounding", "Visual+Textual"): ["Reason", "Co-Re"],
    }


@pytest.mark.parametrize("version", ["original", "revised"])
def test_expected_counts_are_those_of_the_published_files(
    version: str, request: pytest.FixtureRequest
) -> None:
    published: Annotations = request.getfixturevalue(version)
    assert published.counts == {spec.key: spec.instances[version] for spec in load_tasks()}


def test_tasks_are_listed_on_the_command_line() -> None:
    lines = [line.split() for line in migbench("tasks").out.splitlines()[2:]]
    assert [line[:2] for line in lines] == [list(pair) for pair in zip(KEYS, COLUMNS, strict=True)]


def test_the_folder_of_the_task_files_is_printed_alone() -> None:
    path = Path(migbench("tasks", "--path").out.rstrip("\n"))
    assert path == tasks_folder()
    assert (path / GROUP_FILE).is_file()


def test_every_task_has_a_hash_of_its_own() -> None:
    assert list(task_hashes()) == KEYS
    assert len(set(task_hashes().values())) == 10


# --- which image holds the target -----------------------------------------------------------------

TRACKING = (
    "These are a sequence of images containing moving objects. For the object in the first image "
    "marked with red bounding box(<|box_start|>(139,305),(495,743)<|box_end|>), please locate it "
    "in the 3th image. "
)
VIEWS = (
    "These images share one object in common(the object marked with red bounding box in the first "
    "image(<|box_start|>(451,265),(519,388)<|box_end|>). Recognize and locate this object in the "
    "2th image. "
)
COMMON = (
    "These images share one object in common. Recognize and locate this object in the 1th image. "
)
REGION = (
    "You are given a source image followed by its several regions. Please locate the 2th region "
    "picture in the source image. "
)
WORDINGS = [
    # task, question, additional_info, image with the target, image asked for
    ("object_tracking", TRACKING, "", 3, 3),
    ("multi_view", VIEWS, "", 2, 2),
    ("common_object", COMMON, "", 1, 1),
    ("region", REGION, "", 1, 1),
    ("diff", "Compare these two images carefully and give me the coordinates.", "", 2, None),
    ("diff", "… give me the coordinates of their difference in the 1th image. ", "", 1, 1),
    ("diff", "… give me the coordinates of their difference in the 2th image.", "", 2, 2),
    ("view_diff", "… real difference in the second image.  Find it …", "", 2, 2),
    ("refer_grounding", "Find and locate where does the object in image-1 …", "", 2, 2),
    ("reasoning", "What might the people in image-1 need? Find it in Image-2.", "", 2, 2),
    ("correspondence", "For the area marked by the red box in the first image, …", "", 2, 2),
    (
        "group_grounding",
        "Find: a white truck.",
        "It is in the fourth image. <|box_start|>",
        4,
        None,
    ),
    ("group_grounding", "The dog in the first image.", "It is in the third image. ", 3, None),
]


@pytest.mark.parametrize(("task", "question", "info", "target", "asked"), WORDINGS)
def test_the_target_image_follows_from_the_published_wordings(
    task: str, question: str, info: str, target: int, asked: int | None
) -> None:
    (spec,) = select_tasks([task])
    assert spec.target_image.find(question, info) == (target, asked)


def test_a_record_that_does_not_say_has_no_target_image() -> None:
    (spec,) = select_tasks(["group_grounding"])
    assert spec.target_image.find("Find: a white truck in the first image.", "") == (None, None)


ASKED = {
    # task: by version, the images that questions ask for, and how many ask for none
    "diff": {"original": (set(), 528), "revised": ({0, 1}, 0)},
    "common_object": dict.fromkeys(["original", "revised"], ({0, 1, 2, 3, 4}, 0)),
    "object_tracking": dict.fromkeys(["original", "revised"], ({1, 2, 3, 4, 5}, 0)),
    "multi_view": dict.fromkeys(["original", "revised"], ({1, 2, 3, 4, 5}, 0)),
    "region": dict.fromkeys(["original", "revised"], ({0}, 0)),
    "group_grounding": {"original": (set(), 499), "revised": (set(), 485)},
    **{
        task: dict.fromkeys(["original", "revised"], ({1}, 0))
        for task in ("view_diff", "refer_grounding", "reasoning", "correspondence")
    },
}


@pytest.mark.parametrize("task", KEYS)
@pytest.mark.parametrize("version", ["original", "revised"])
def test_every_published_question_is_understood(
    task: str, version: str, request: pytest.FixtureRequest
) -> None:
    published: Annotations = request.getfixturevalue(version)
    asked = [each.asked_image for each in published.instances if each.task == task]
    assert ({image for image in asked if image is not None}, asked.count(None)) == (
        ASKED[task][version]
    )


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "either 'always' or 'named_by'"),
        ({"always": 1, "named_by": "question"}, "either 'always' or 'named_by'"),
        ({"named_by": "answer", "pattern": "(a)"}, "'named_by' is question or additional_info"),
        ({"named_by": "question", "pattern": "no group"}, "needs one group"),
    ],
)
def test_a_target_rule_that_says_too_little_or_too_much_is_refused(
    rule: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TargetImage(**rule)  # type: ignore[arg-type]


# --- choosing tasks -------------------------------------------------------------------------------


def chosen(*names: str) -> list[str]:
    return [spec.key for spec in select_tasks(names)]


def test_tasks_are_chosen_by_key_or_column_in_any_case_and_order() -> None:
    assert chosen("co-re", " OBJECT_TRACKING ", "Static", "OT") == [
        "diff",
        "object_tracking",
        "correspondence",
    ]


def test_no_name_chooses_all_tasks() -> None:
    assert chosen() == KEYS


def test_an_unknown_name_is_refused_with_the_choice() -> None:
    with pytest.raises(
        UsageError, match=r"no task is called counting, x; .*object_tracking \(OT\)"
    ):
        select_tasks(["x", "ot", "counting"])


# --- task files of one's own ----------------------------------------------------------------------

ELEVENTH = """\
include: _migbench_template_yaml
task: migbench_counting
process_results: !function somewhere.process
metadata:
  key: counting
  title: Counting
  column: Count
  group: Spontaneous Grounding
  subgroup: Number
  target_image: {named_by: question, pattern: 'the (\\w+) picture'}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder of task files."""
    return shutil.copytree(tasks_folder(), tmp_path / "tasks")


def test_an_eleventh_task_takes_a_file_and_no_python(folder: Path) -> None:
    (folder / "migbench_counting.yaml").write_text(ELEVENTH, encoding="utf-8")
    *ten, eleventh = load_tasks(folder)
    assert [spec.key for spec in ten] == KEYS
    assert eleventh == TaskSpec(
        key="counting",
        title="Counting",
        column="Count",
        group="Spontaneous Grounding",
        subgroup="Number",
        target_image=TargetImage(named_by="question", pattern=r"the (\w+) picture"),
    )
    assert eleventh.target_image.find("Count in the third picture.", "") == (3, 3)


def test_lmms_evals_function_tag_stays_text(tmp_path: Path) -> None:
    (tmp_path / "somewhere.py").write_text("raise SystemExit('this must not be run')")
    file = tmp_path / "task.yaml"
    file.write_text(ELEVENTH, encoding="utf-8")
    assert read_yaml(file)["process_results"] == "somewhere.process"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.getcwd []", "!run something"])
def test_other_tags_are_refused(tmp_path: Path, tag: str) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(f"task: {tag}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"task\.yaml: could not determine a constructor"):
        read_yaml(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metadata:", "meta:", "needs the key 'metadata'"),
        ("  column: Count\n", "", "missing required field `column`"),
        ("title: Counting", "title: 11", r"Expected `str`, got `int` - at `\$\.title`"),
        ("subgroup:", "sub_group:", "unknown field `sub_group`"),
        ("named_by: question, ", "", "either 'always' or 'named_by'"),
        (r"(\w+)", r"\w+", "needs one group"),
        (r"(\w+)", "(", "not a regular expression"),
        ("task: migbench_counting", "task: [", r"line \d+"),
    ],
)
def test_an_error_in_a_task_file_names_the_file(
    folder: Path, old: str, new: str, message: str
) -> None:
    assert old in ELEVENTH
    file = folder / "migbench_counting.yaml"
    file.write_text(ELEVENTH.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=rf"migbench_counting\.yaml: (.|\n)*{message}"):
        load_tasks(folder)


def test_a_task_file_that_is_no_mapping_is_named(folder: Path) -> None:
    (folder / "migbench_counting.yaml").write_text("- a list\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"migbench_counting\.yaml: a mapping .* is expected"):
        load_tasks(folder)


def test_a_task_that_the_group_lists_needs_its_file(folder: Path) -> None:
    (folder / "migbench_diff.yaml").unlink()
    with pytest.raises(DataError, match=r"migbench\.yaml: no file for the tasks migbench_diff"):
        load_tasks(folder)
