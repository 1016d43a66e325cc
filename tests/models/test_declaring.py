"""Declaring a dialect: by options, by a file, and what is refused before a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
from support.command_line import Done, migbench
from support.data_files import record, write_annotations

from migbench.boxes import EdgeLimited, Order
from migbench.cli.model_options import chosen_dialect, dialect_options
from migbench.dialects import Dialect, load_dialects, undeclared_families
from migbench.errors import UsageError


@click.command
@dialect_options
def chosen(**options: object) -> Dialect | None:
    return chosen_dialect(options)


def declared(options: str) -> Dialect:
    text = f"--dialect custom --box-order yxyx --box-scale 999 --box-format Where? {options}"
    dialect = chosen.main(shlex.split(text), standalone_mode=False)
    assert isinstance(dialect, Dialect)
    return dialect


def test_options_reach_everything_that_says_how_boxes_are_written() -> None:
    dialect = declared(
        "--box-syntax box-tag --box-syntax '{}_{}_{}_{}' --box-offset 0.5 "
        "--box-frame edge-limited:1568:28:1568 --box-tag bbox --box-tag '|det|' "
        "--box-brackets '<>' --box-key where --box-corners l,t,r,b --images-from 0 "
        "--image-field view --thinking-marks '[[' ']]' --thought-opened"
    )
    assert dialect.order is Order.YXYX
    assert (dialect.scale, dialect.offset) == (999, 0.5)
    assert dialect.frame == EdgeLimited(longest=1568, patch=28, max_patches=1568)
    assert dialect.syntax == ("box-tag", "{}_{}_{}_{}")
    assert (dialect.tags, dialect.brackets, dialect.keys) == (
        ("bbox", "|det|"),
        ("<>",),
        ("where",),
    )
    assert dialect.corners == (("l", "t", "r", "b"),)
    assert (dialect.images_from, dialect.image_fields) == (0, ("view",))
    assert [(mark.start, mark.end) for mark in dialect.thinking_marks] == [("[[", "]]")]
    assert dialect.thought_opened_by_template


def test_what_is_not_given_is_as_in_a_file_that_leaves_it_out() -> None:
    dialect = declared("--box-syntax quad")
    plain = Dialect(name="", title="", source="", syntax=("quad",), format="")
    for field in ("tags", "brackets", "keys", "corners", "images_from", "thinking_marks", "offset"):
        assert getattr(dialect, field) == getattr(plain, field)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("--box-syntax '{}_{}'", "nor a template with four"),
        ("--box-syntax '{a}_{}_{}_{}'", "nor a template with four"),
        ("--box-syntax '{'", "syntax '{'"),
        ("--box-syntax quad --box-brackets '['", "an opening and a closing sign"),
        ("--box-syntax quad --box-corners a,b", "four names"),
        ("--box-syntax quad --box-frame edge-limited:9:28:0", "--box-frame"),
        ("--box-syntax quad --thinking-marks '' x", "thinking marks"),
    ],
)
def test_a_mistake_in_an_option_is_named(options: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        declared(options)


# --- Files ----------------------------------------------------------------------------------------

MINE = """\
title: Mine
source: my notes
order: yxyx
scale: 1000
syntax: ["{}_{}_{}_{}"]
format: " Where?"
"""


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    return write_annotations(tmp_path / "ann.json", record(), record(), record())


def scored(tmp_path: Path, annotations: Path, dialect: object, *answers: str) -> Done:
    lines = [json.dumps({"index": at, "response": text}) for at, text in enumerate(answers)]
    (tmp_path / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = migbench(
        *("import", "jsonl", tmp_path / "answers.jsonl", "--annotations", annotations),
        *("--profile", "m", "--dialect", dialect, "--out", tmp_path / "run"),
    )
    if done.status == 2:
        return done
    return migbench("score", tmp_path / "run", "--json", "-")


def test_a_file_by_its_path_is_a_dialect(tmp_path: Path, annotations: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    done = scored(tmp_path, annotations, tmp_path / "mine.yaml", "200_100_400_300", "[1, 2, 3, 4]")
    found = json.loads(done.out)["macro"]["outcomes"]
    assert found["unreadable"] == 1
    assert found["hit"] + found["miss"] == 1
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["model"]["dialect"]
    assert (kept["name"], kept["syntax"]) == ("mine", ["{}_{}_{}_{}"])


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        (("order: yxyx", "order: yx"), ":3: "),
        (("scale: 1000", "scale: -1"), ":4: scale -1"),
        (("{}_{}_{}_{}", "{}_{}"), ":5: syntax '{}_{}'"),
        (("format", "formed"), ":6: "),
        (("title: Mine", "title: [Mine"), "line 2"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(
    tmp_path: Path, annotations: Path, wrong: tuple[str, str], place: str
) -> None:
    (tmp_path / "mine.yaml").write_text(MINE.replace(*wrong))
    done = scored(tmp_path, annotations, tmp_path / "mine.yaml", "1_2_3_4")
    assert done.status == 2
    assert f"{tmp_path / 'mine.yaml'}" in done.err
    assert place in done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_not_there_is_told(tmp_path: Path, annotations: Path) -> None:
    done = scored(tmp_path, annotations, tmp_path / "no.yaml", "")
    assert (done.status, "no.yaml" in done.err) == (2, True)


# --- Reasons --------------------------------------------------------------------------------------

UNREADABLE = ("<point>1 2</point>", "", "(100,200),(300,400)")


def test_score_and_doctor_count_what_unreadable_answers_hold(
    tmp_path: Path, annotations: Path
) -> None:
    done = scored(tmp_path, annotations, "qwen2-vl", *UNREADABLE)
    (task,) = json.loads(done.out)["tasks"].values()
    assert task["unreadable"] == {"a point, not a box": 1, "empty": 1}
    assert task["outcomes"]["unreadable"] == 2
    told = migbench("score", tmp_path / "run").out
    assert "Unreadable answers hold: a point, not a box 1; empty 1." in told
    looked = migbench("doctor", "--run", tmp_path / "run").out
    assert "2 unreadable (1 a point, not a box, 1 empty)" in looked


def test_the_report_has_the_reason_of_every_unreadable_answer(
    tmp_path: Path, annotations: Path
) -> None:
    scored(tmp_path, annotations, "qwen2-vl", *UNREADABLE)
    assert migbench("report", tmp_path / "run", "--out", tmp_path / "page.html").status == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('"reason":"a point, not a box"') == 1
    assert "Unreadable answers hold" in page


# --- Before a run ---------------------------------------------------------------------------------


def test_a_family_of_points_alone_is_refused_with_that_reason(tmp_path: Path) -> None:
    done = migbench("doctor", "--model", "x", "--adapter", "baseline", "--dialect", "molmo")
    assert done.status == 2
    assert "points alone, never with boxes" in done.err


def checkpoint(folder: Path, model_type: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


@pytest.mark.parametrize(
    ("model_type", "complaint"),
    [
        ("molmo2", "points alone"),
        ("keye", "nothing is published about the boxes of Keye-VL (looked for in: Kwai-Keye/Keye"),
        ("brand_new", "no dialect claims its model_type 'brand_new'"),
    ],
)
def test_a_checkpoint_of_no_dialect_is_refused_with_what_is_known(
    tmp_path: Path, model_type: str, complaint: str
) -> None:
    done = migbench("doctor", "--model", checkpoint(tmp_path / "model", model_type))
    assert done.status == 2
    assert complaint in done.err


def test_models_lists_what_is_not_declared_and_where_it_was_looked_for() -> None:
    listed = migbench("models").out
    for family in undeclared_families():
        assert f"{family.title}: {family.searched}" in listed
    for dialect in load_dialects().values():
        assert dialect.name in listed
