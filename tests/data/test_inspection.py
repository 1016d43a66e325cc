"""``data check`` and ``data stats``: every kind of defect is found, and nothing is made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from support.command_line import migbench
from support.data_files import record, write_annotations, write_images

from migbench.data import image_check
from migbench.data.annotations import Annotations
from migbench.data.image_check import Fault
from migbench.data.images import DataLocation, ImageFolder, locate_data
from migbench.data.inspection import BoxDefect, Duplicate, IdCollision, Report, check
from migbench.data.statistics import ImagesShown, TaskStatistics, count
from migbench.errors import DataError
from migbench.messages import ImageFile, image_decoding
from migbench.mini import render
from migbench.tasks import load_tasks

NAMES = ("images/a.png", "images/b.png")
SIZE = (40, 30)

# --- the published files --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original_report(original: Annotations) -> Report:
    return check(locate_data(original.path), images_required=False)


@pytest.fixture(scope="module")
def revised_report(revised: Annotations) -> Report:
    return check(locate_data(revised.path), images_required=False)


def test_the_original_files_defects_are_found(original_report: Report) -> None:
    assert original_report.usable
    assert {box.index: box.defects for box in original_report.defective_boxes} == {
        **dict.fromkeys((7, 105, 126, 163, 512), (BoxDefect.INVERTED,)),
        **dict.fromkeys((34, 703), (BoxDefect.OUTSIDE,)),
    }
    assert [(each.index, each.repeats, each.same_box) for each in original_report.duplicates] == [
        (2094, 2092, True),
        (2095, 2093, True),
    ]
    repeating = [each.index for each in original_report.repeated_images]
    assert repeating == [695, 696, 697, 698, 699, 4212, 4213, 4217, 4218]
    assert original_report.malformed == original_report.id_collisions == ()
    assert original_report.images is None


def test_the_revised_file_has_duplicates_but_no_defects(revised_report: Report) -> None:
    assert revised_report.usable
    assert revised_report.defective_boxes == ()
    assert [(each.index, each.repeats) for each in revised_report.duplicates] == [
        (1551, 1549),
        (1552, 1550),
    ]
    assert [each.index for each in revised_report.repeated_images] == [694, 695, 696, 697, 698]
    assert (revised_report.version, revised_report.scale) == ("revised", 1000)


@pytest.mark.parametrize("version", ["original", "revised"])
def test_published_counts_are_those_that_the_task_files_expect(
    version: str, request: pytest.FixtureRequest
) -> None:
    report: Report = request.getfixturevalue(f"{version}_report")
    assert list(report.tasks) == [spec.key for spec in load_tasks()]
    for each in report.tasks.values():
        assert each.instances == each.expected


def sets(
    instances: int, image_sets: int, clusters: int, images: tuple[int, int], referred: int = 0
) -> TaskStatistics:
    return TaskStatistics(
        instances=instances,
        image_sets=image_sets,
        referred_sets=referred or image_sets,
        clusters=clusters,
        fewest_images=images[0],
        most_images=images[1],
    )


def test_the_original_file_is_counted_as_published(original: Annotations) -> None:
    statistics = count(original)
    assert statistics.tasks == {
        "diff": sets(528, 528, 528, (2, 2)),
        "view_diff": sets(94, 94, 94, (2, 2)),
        "common_object": sets(816, 201, 198, (3, 5)),
        "object_tracking": sets(550, 110, 110, (6, 6)),
        "multi_view": sets(288, 97, 78, (2, 6), referred=100),
        "region": sets(1203, 499, 499, (2, 4)),
        "refer_grounding": sets(99, 99, 99, (2, 2)),
        "group_grounding": sets(499, 128, 128, (3, 5)),
        "reasoning": sets(101, 101, 101, (2, 2)),
        "correspondence": sets(117, 117, 117, (2, 2)),
    }
    assert statistics.all == sets(4295, 1974, 1952, (2, 6), referred=1977)
    assert statistics.images_shown == ImagesShown(
        polling=16215, image_sets=5930, prefixes=5923, images=5887
    )


def test_the_revised_file_is_counted_as_published(revised: Annotations) -> None:
    statistics = count(revised)
    assert statistics.all == sets(4276, 1970, 1948, (2, 6), referred=1973)
    assert statistics.images_shown.polling == 16137


# --- records and boxes ----------------------------------------------------------------------------

Check = Callable[..., Report]


@pytest.fixture
def check_records(tmp_path: Path) -> Check:
    """Check these records, which are the whole of a file that lies alone."""

    def check_them(*records: object, scale: float | None = None) -> Report:
        file = write_annotations(tmp_path / "data.json", *records)
        return check(DataLocation(file, None), scale)

    return check_them


def test_a_sound_file_is_usable_and_nothing_is_found(check_records: Check) -> None:
    report = check_records(record())
    assert report.usable
    assert (report.defective_boxes, report.duplicates, report.malformed) == ((), (), ())
    assert {key: (each.instances, each.expected) for key, each in report.tasks.items()} == {
        "diff": (1, None)
    }


def test_malformed_records_make_a_file_unusable_and_are_all_listed(check_records: Check) -> None:
    report = check_records(record(), 1, record(images=["../a.png", "b.png"]), record(task="x"))
    assert report.unusable_because == ("malformed records: 3",)
    assert [(bad.index, bad.line) for bad in report.malformed] == [(1, 3), (2, 4), (3, 5)]
    assert "leaves the data folder" in report.malformed[1].message


def test_a_file_without_instances_is_unusable(check_records: Check) -> None:
    assert check_records().unusable_because == ("no instances",)


def test_a_file_that_is_no_list_of_records_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("{}")
    with pytest.raises(DataError, match="a JSON list of records is expected"):
        check(locate_data(tmp_path / "data.json"))


@pytest.mark.parametrize(
    ("answer", "defects"),
    [
        ([0, 0, 1, 1], []),
        ([0.5, 0.1, 0.2, 0.6], ["inverted"]),
        ([0.1, 0.6, 0.2, 0.5], ["inverted"]),
        ([-0.1, 0, 0.5, 0.5], ["outside"]),
        ([0.5, 0.5, 1.1, 0.6], ["outside"]),
        ([0.5, 0.1, 0.5, 0.6], ["empty"]),
        ([1.1, 0, 1.2, 1], ["outside", "empty"]),
        ([1.2, 0, 1.1, 1], ["inverted", "outside", "empty"]),
    ],
)
def test_defective_boxes_are_found_but_do_no_harm(
    check_records: Check, answer: list[float], defects: list[str]
) -> None:
    report = check_records(record(answer=answer), record(question="1."), record(question="2."))
    assert report.usable
    assert [list(box.defects) for box in report.defective_boxes] == [defects] * bool(defects)


def test_boxes_outside_their_images_betray_an_undeclared_scale(check_records: Check) -> None:
    thousandths = [
        record(question=f"{number}", answer=[0, 0, 100 * number, 500]) for number in range(1, 5)
    ]
    (reason,) = check_records(*thousandths).unusable_because
    assert "4 of 4 boxes, taken in 0-1, lie outside their image" in reason
    assert "--scale 1000" in reason
    assert check_records(*thousandths, scale=1000).usable


def test_boxes_next_to_nothing_betray_a_wrongly_declared_scale(check_records: Check) -> None:
    (reason,) = check_records(record(), scale=1000).unusable_because
    assert "next to nothing: declare --scale 1" in reason


def test_duplicates_say_whether_they_agree(check_records: Check) -> None:
    report = check_records(record(), record(question="?"), record(), record(answer=[0, 0, 1, 1]))
    first, *_ = (each.id for each in report.duplicates)
    assert report.duplicates == (
        Duplicate(id=first, index=2, repeats=0, same_box=True),
        Duplicate(id=first.replace(".2", ".3"), index=3, repeats=0, same_box=False),
    )
    assert report.usable


def test_records_that_differ_but_share_an_id_are_told(check_records: Check) -> None:
    # A hash joins its parts with the unit separator, so these two are hashed alike.
    report = check_records(
        record(images=["a", "b"], question="c\x1fd"), record(images=["a", "b", "c"], question="d")
    )
    (collision,) = report.id_collisions
    assert collision == IdCollision(id=collision.id, index=1, collides_with=0)
    assert report.duplicates == ()
    assert report.usable


# --- images ---------------------------------------------------------------------------------------


def faults(report: Report) -> dict[str, Fault]:
    assert report.images is not None
    return {finding.image: finding.fault for finding in report.images.findings}


def check_folder(folder: Path, *, names: tuple[str, ...] = NAMES, decode: bool = False) -> Report:
    file = write_annotations(folder / "data.json", record(images=list(names)))
    return check(DataLocation(file, ImageFolder(folder)), decode=decode)


def cut_short(path: Path) -> None:
    """Leave the header and lose the pixels."""
    path.write_bytes(path.read_bytes()[:60])


def test_images_that_are_there_are_no_fault(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES, size=SIZE)
    report = check_folder(tmp_path, decode=True)
    assert report.usable
    assert report.images is not None
    assert (report.images.named, report.images.found, report.images.findings) == (2, 2, ())


def test_missing_images_make_a_data_set_unusable(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES[:1], size=SIZE)
    report = check_folder(tmp_path)
    assert faults(report) == {NAMES[1]: Fault.MISSING}
    assert report.unusable_because == ("missing images: 1 of 2",)


def test_a_file_that_is_no_image_is_unreadable(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES, size=SIZE)
    (tmp_path / NAMES[1]).write_text("not an image")
    report = check_folder(tmp_path)
    assert faults(report) == {NAMES[1]: Fault.UNREADABLE}
    assert report.unusable_because == ("unreadable images: 1 of 2",)


def test_a_damaged_image_is_found_when_its_pixels_are_read(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES, size=(100, 100))
    cut_short(tmp_path / NAMES[0])
    assert faults(check_folder(tmp_path)) == {}
    assert faults(check_folder(tmp_path, decode=True)) == {NAMES[0]: Fault.UNREADABLE}


def test_images_of_very_many_pixels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_decoding, "MAX_PIXELS", 1200)
    write_images(tmp_path, [NAMES[0]], size=(30, 40))
    write_images(tmp_path, [NAMES[1]], size=(30, 41))
    report = check_folder(tmp_path)
    assert faults(report) == {NAMES[1]: Fault.UNREADABLE}
    assert report.unusable_because == ("unreadable images: 1 of 2",)


@pytest.mark.parametrize("size", [(8001, 40), (40, 8001)])
@pytest.mark.parametrize("decode", [True, False])
def test_images_that_some_models_refuse_limit_who_can_be_asked(
    tmp_path: Path, size: tuple[int, int], decode: bool
) -> None:
    write_images(tmp_path, NAMES[:1], size=(8000, 40))
    write_images(tmp_path, NAMES[1:], size=size)
    report = check_folder(tmp_path, decode=decode)
    assert faults(report) == {NAMES[1]: Fault.THIN}
    assert report.usable
    assert report.limited_because == ("thin images: 1 of 2",)


def test_what_is_shown_otherwise_elsewhere_is_named_and_limits_nobody(tmp_path: Path) -> None:
    write_images(tmp_path, NAMES[:1], size=(28, 28))
    Image.new("RGBA", (40, 30)).save(tmp_path / NAMES[1])
    report = check_folder(tmp_path)
    assert faults(report) == {NAMES[1]: Fault.CONVERTED}
    assert report.usable
    assert not report.limited_because
    write_images(tmp_path, NAMES[1:], size=(27, 40))
    assert faults(check_folder(tmp_path)) == {NAMES[1]: Fault.SMALL}


def test_large_files_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, NAMES, size=SIZE)
    monkeypatch.setattr(image_check, "MAX_BYTES", (tmp_path / NAMES[0]).stat().st_size)
    (tmp_path / NAMES[1]).write_bytes((tmp_path / NAMES[1]).read_bytes() + b"\0")
    report = check_folder(tmp_path)
    assert faults(report) == {NAMES[1]: Fault.OVERSIZED}
    assert report.usable


def test_an_image_behind_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, ["outside.png"], size=SIZE)
    write_images(tmp_path / "data", NAMES[:1], size=SIZE)
    (tmp_path / "data" / NAMES[1]).symlink_to(tmp_path / "outside.png")
    report = check_folder(tmp_path / "data")
    assert faults(report) == {NAMES[1]: Fault.REFUSED}
    assert report.images is not None
    assert (report.images.named, report.images.found) == (2, 1)
    assert report.unusable_because == ("refused images: 1 of 2",)


def test_each_distinct_image_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, NAMES, size=SIZE)
    opened: list[str] = []
    original_open = ImageFile.open

    def counted_open(image: ImageFile) -> Image.Image:
        opened.append(Path(image.name).name)
        return original_open(image)

    monkeypatch.setattr(ImageFile, "open", counted_open)
    records = [record(question=f"{n}", images=[*NAMES, *NAMES, f"./{NAMES[0]}"]) for n in range(3)]
    file = write_annotations(tmp_path / "data.json", *records)
    seen: list[tuple[int, int]] = []
    check(locate_data(file), decode=True, progress=lambda *now: seen.append(now))
    assert sorted(opened) == ["a.png", "b.png"]
    assert seen == [(1, 2), (2, 2)]


def test_images_may_be_absent_altogether_but_not_in_part(tmp_path: Path) -> None:
    file = write_annotations(tmp_path / "data.json", record())
    assert check(locate_data(file), images_required=False).images is None
    assert check(locate_data(file), images_required=False).usable
    assert not check(locate_data(file), images_required=True).usable

    write_images(tmp_path, NAMES[:1], size=SIZE)
    assert not check(locate_data(file), images_required=False).usable


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a sound data set."""
    folder = tmp_path / "data"
    write_annotations(folder / "MIG_data.json", record())
    write_images(folder, NAMES, size=SIZE)
    return folder


def test_checking_a_sound_folder(data: Path) -> None:
    done = migbench("data", "check", data)
    assert done.status == 0
    assert f"Images: 2 of 2 are in {data} (headers read" in done.out
    assert done.out.endswith("\nUsable\n")
    assert done.err == ""


def test_a_folder_needs_its_images_and_a_lone_file_does_not(data: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (data / name).unlink()
    (tmp_path / "empty").mkdir()
    file = data / "MIG_data.json"

    alone = migbench("data", "check", file)
    assert alone.status == 0
    assert "Images: none here, not checked (--images DIR says where they are)" in alone.out

    for arguments in ([data], [file, "--images", tmp_path / "empty"]):
        done = migbench("data", "check", *arguments)
        assert done.status == 2
        assert "Not usable: missing images: 2 of 2" in done.out


def test_an_unusable_data_set_is_reported_in_full_with_status_2(data: Path) -> None:
    damaged = [record(), record(), record(question="1", answer=[1, 0, 0, 1]), 17]
    write_annotations(data / "MIG_data.json", *damaged)
    (data / NAMES[0]).write_text("not an image")
    done = migbench("data", "check", data)
    assert done.status == 2
    for line in (
        "Unreadable images: 1\n  image images/a.png: cannot be decoded",
        "Defective boxes: 1\n  record 2, diff-",
        "Duplicates: 1\n  record 1 repeats record 0, with the same box",
        "Id collisions: none",
        "Malformed records: 1\n  record 3 (line 5): Expected `object`, got `int`",
        "Not usable: malformed records: 1; unreadable images: 1 of 2\n",
    ):
        assert line in done.out


def test_long_lists_are_cut_on_the_screen_and_whole_in_the_json(data: Path, tmp_path: Path) -> None:
    write_annotations(data / "MIG_data.json", *([17] * 30))
    done = migbench("data", "check", data, "--json", tmp_path / "report.json")
    assert done.out.count("Expected `object`") == 10
    assert "… and 20 more (--json FILE lists all)" in done.out
    assert len(json.loads((tmp_path / "report.json").read_text())["malformed"]) == 30


def test_the_json_of_a_check_reads_back_as_the_report(data: Path) -> None:
    done = migbench("data", "check", data, "--json", "-", "--decode")
    assert done.status == 0
    assert msgspec.json.decode(done.out, type=Report) == check(locate_data(data), decode=True)


def test_a_scale_is_declared_on_the_command_line(data: Path) -> None:
    write_annotations(data / "MIG_data.json", record(answer=[100, 200, 300, 400]))
    assert "--scale 1000" in migbench("data", "check", data).out
    done = migbench("data", "check", data, "--scale", "1000")
    assert done.status == 0
    assert "Boxes in 0-1000" in done.out


@pytest.mark.parametrize("command", ["check", "stats"])
def test_what_cannot_be_read_at_all_is_an_error_without_a_traceback(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "data.json").write_text('[\n{"task": }]')
    done = migbench("data", command, tmp_path / "data.json")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"migbench: {tmp_path / 'data.json'}:2: not valid JSON")


def test_stats_of_a_published_file(original: Annotations) -> None:
    done = migbench("data", "stats", original.path)
    assert done.status == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["multi_view", "MV", "288", "97", "(100)", "78", "2-6"] in lines
    assert ["all", "4295", "1974", "(1977)", "1952", "2-6"] in lines
    assert ["by", "polling,", "every", "instance", "anew", "16215"] in lines


def test_the_json_of_stats_has_all_of_it(data: Path) -> None:
    done = migbench("data", "stats", data, "--json", "-")
    content = json.loads(done.out)
    assert content["version"] == "custom"
    assert content["tasks"] == {"diff": content["all"]}
    assert content["images_shown"] == {"polling": 2, "image_sets": 2, "prefixes": 2, "images": 2}


def test_stats_need_a_sound_file_but_no_images(data: Path) -> None:
    write_annotations(data / "MIG_data.json", record(), 17)
    done = migbench("data", "stats", data)
    assert done.status == 2
    assert "1 malformed record(s)" in done.err


def test_mini_renders_a_data_set_that_passes_the_check(tmp_path: Path) -> None:
    folder = tmp_path / "mini"
    arguments = ["--per-task", "1", "--seed", "3", "--split", "train"]
    done = migbench("data", "mini", folder, *arguments)
    assert done.status == 0
    assert str(folder / "MIG_mini.json") in done.out
    same = render(tmp_path / "same", per_task=1, seed=3, split="train")
    assert (folder / "MIG_mini.json").read_bytes() == same.read_bytes()
    checked = migbench("data", "check", folder, "--decode", "--json", "-")
    report = msgspec.json.decode(checked.out, type=Report)
    assert report.usable
    assert {each.instances for each in report.tasks.values()} == {1}
    assert list(report.tasks) == [spec.key for spec in load_tasks()]
