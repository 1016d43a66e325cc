"""An annotation file is known by its records, however they are written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import migbench
from support.data_files import record, write_annotations
from support.sealed import edit_manifest

from migbench.data.annotations import Annotations, inspect_annotations, read_annotations
from migbench.data.content import canonical
from migbench.data.download import REPOSITORY
from migbench.data.versions import KNOWN_VERSIONS
from migbench.runs.manifest import read_manifest, write_json
from migbench.runs.run_hash import run_hash
from migbench.runs.store import Run
from migbench.scoring.scored_run import score_run

HUB_BYTES = "0be98182eb41700b2028e0084846a6e3a88e8a495c9a02321425a811ef6fa4bb"

Records = list[dict[str, Any]]


def rewritten(**options: Any) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(json.loads(content), **options).encode()


def reordered(content: bytes) -> bytes:
    return json.dumps([dict(reversed(each.items())) for each in json.loads(content)]).encode()


def edges_as_text(spelling: str) -> Callable[[bytes], bytes]:
    """Every whole edge spelled with decimals."""

    def spell(content: bytes) -> bytes:
        records = json.loads(content)
        text = json.dumps(records)
        for each in records:
            whole = [spelling % edge if edge == int(edge) else str(edge) for edge in each["answer"]]
            text = text.replace(json.dumps(each["answer"]), f"[{', '.join(whole)}]")
        return text.encode()

    return spell


FAITHFUL: dict[str, Callable[[bytes], bytes]] = {
    "LF": lambda content: content.replace(b"\r", b""),
    "CRLF": lambda content: content.replace(b"\r", b"").replace(b"\n", b"\r\n"),
    "a line more": lambda content: content + b"\n\n",
    "one line": rewritten(separators=(",", ":")),
    "indented": rewritten(indent=1),
    "keys reordered": reordered,
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "escapes": rewritten(ensure_ascii=True),
    "no escapes": rewritten(ensure_ascii=False),
    "whole numbers with decimals": edges_as_text("%.2f"),
}


@pytest.fixture(params=["original", "revised"])
def published(request: pytest.FixtureRequest) -> Annotations:
    annotations: Annotations = request.getfixturevalue(request.param)
    return annotations


@pytest.mark.parametrize("copy", FAITHFUL.values(), ids=FAITHFUL)
def test_a_faithful_copy_is_the_published_version(
    published: Annotations, copy: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    file = tmp_path / "copy.json"
    file.write_bytes(copy(published.path.read_bytes()))
    read = read_annotations(file)
    assert (read.version, read.scale) == (published.version, published.scale)
    assert read.content_sha256 == published.content_sha256
    assert list(read.instances) == list(published.instances)
    assert not read.unusable_because


def test_the_forms_that_were_published_are_those_that_are_known(original: Annotations) -> None:
    assert original.sha256 == KNOWN_VERSIONS[original.content_sha256].files[0]
    assert KNOWN_VERSIONS[original.content_sha256].files[1] == HUB_BYTES


def change(records: Records, index: int, **fields: Any) -> Records:
    return [*records[:index], records[index] | fields, *records[index + 1 :]]


CHANGES: dict[str, Callable[[Records], Records]] = {
    "one coordinate": lambda records: change(
        records, 4000, answer=[*records[4000]["answer"][:3], 0.9876]
    ),
    "two records exchanged": lambda records: [records[1], records[0], *records[2:]],
    "a record less": lambda records: records[:-1],
    "a field more": lambda records: change(records, 7, note="mine"),
    "another type": lambda records: change(records, 7, need_format=1),
    "a letter of a question": lambda records: change(
        records, 7, question=records[7]["question"] + " "
    ),
}


@pytest.mark.parametrize("edit", CHANGES.values(), ids=CHANGES)
def test_a_changed_record_makes_another_file(
    original: Annotations, edit: Callable[[Records], Records], tmp_path: Path
) -> None:
    records = edit(json.loads(original.path.read_bytes()))
    read, _ = inspect_annotations(write_annotations(tmp_path / "changed.json", *records))
    assert read.version == "custom"
    assert read.content_sha256 != original.content_sha256


# --- the canonical form ---------------------------------------------------------------------------

SAME = [
    (b"1", b"1.0"),
    (b"1", b"1.00"),
    (b"1", b"1e0"),
    (b"0", b"-0.0"),
    (b"0.5", b"0.50"),
    (b"1e22", b"10000000000000000000000"),
    (b'"\xc3\xa9"', b'"\\u00e9"'),
    (b'"\xf0\x9f\x98\x80"', b'"\\ud83d\\ude00"'),
    (b'"/"', b'"\\/"'),
    (b'{"a": 1, "b": 2}', b'{"b":2,"a":1}'),
]
DIFFERENT = [
    (b"1", b"true"),
    (b"1", b'"1"'),
    (b"0.1", b"0.10000000000000002"),
    (b"9007199254740992", b"9007199254740993"),
    (b"[1, 2]", b"[2, 1]"),
    (b'{"a": null}', b"{}"),
    (b'"\xc3\xa9"', b'"e\xcc\x81"'),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_says_the_same_has_one_form(one: bytes, other: bytes) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_says_something_else_has_another(one: bytes, other: bytes) -> None:
    assert canonical(one) != canonical(other)


VALUES: st.SearchStrategy[Any] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"]))
        | st.lists(VALUES, max_size=4)
        | st.dictionaries(st.text('ab"\\é'), VALUES, max_size=4)
    )
)


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 3]))
def test_the_form_does_not_depend_on_the_writer(value: Any, escaped: bool, indent: int) -> None:
    written = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert canonical(written) == canonical(msgspec.json.encode(value))
    assert canonical(canonical(written)) == canonical(written)


@pytest.mark.parametrize(
    "twice",
    [
        b'{"answer": [0, 0, 1, 1], "answer": [0, 0, 1, 1]}',
        b'{"inner": [{"answer": 1, "b": 2, "answer": 3}]}',
        b'{"answer": 1, "\\u0061nswer": 2}',
    ],
)
def test_a_field_that_is_given_twice_is_refused_by_name(twice: bytes) -> None:
    with pytest.raises(ValueError, match="field 'answer' more than once"):
        canonical(twice)


def test_a_record_with_a_field_given_twice_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "twice.json"
    file.write_text(f'[\n{json.dumps(record())[:-1]}, "answer": [0, 0, 1, 1]}}\n]')
    done = migbench("data", "check", file)
    assert done.status == 2
    assert "record 0 (line 2): gives the field 'answer' more than once" in done.out


# --- wherever a run refers to its file ------------------------------------------------------------


@pytest.fixture(scope="module")
def hub_file(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as the hub serves it."""
    file = tmp_path_factory.mktemp("hub") / "LF.json"
    content = (shared / "mig_bench" / "MIG_data.json").read_bytes()
    file.write_bytes(content.replace(b"\r", b""))
    return file


@pytest.fixture(scope="module")
def runs(hub_file: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same run on both forms of the paper's file."""
    folder = tmp_path_factory.mktemp("runs")
    out = []
    for name, data in (("hub", hub_file), ("code", shared / "mig_bench" / "MIG_data.json")):
        out.append(folder / name)
        command = ("--model", "whole-image", "--data", data, "--tasks", "diff", "--out", out[-1])
        assert migbench("run", *command).status == 0
    return out


def test_the_hubs_file_is_the_papers(hub_file: Path) -> None:
    assert "LF.json: version original," in migbench("data", "stats", hub_file).out


def test_runs_on_both_forms_are_one(runs: list[Path]) -> None:
    assert len({run_hash(Run(run)) for run in runs}) == 1
    compared = migbench("compare", *runs)
    assert (compared.status, compared.err) == (0, "")


def test_a_run_on_the_hubs_form_stands_beside_published_rows(runs: list[Path]) -> None:
    table = migbench("table", runs[0], "--published")
    assert table.status == 0
    assert "On original annotations" in table.out
    assert "custom" not in table.out
    shown = migbench("published", "show", "table1", "--run", runs[0], "--row", "Migician")
    assert (shown.status, shown.err) == (0, "")


def test_a_run_on_the_hubs_form_is_exported_under_the_hubs_id(
    runs: list[Path], tmp_path: Path
) -> None:
    done = migbench(
        "export", runs[0], "--to", "model-index", "--partial", "--out", tmp_path / "card.yaml"
    )
    assert done.status == 0, done.err
    assert f"type: {REPOSITORY}\n" in (tmp_path / "card.yaml").read_text()


def test_a_run_goes_on_and_verifies_with_the_other_form(
    runs: list[Path], original: Annotations
) -> None:
    command = ("--model", "whole-image", "--data", original.path, "--tasks", "diff")
    assert migbench("run", *command, "--out", runs[0]).status == 0
    verified = migbench("verify", runs[0], "--annotations", original.path)
    assert verified.status == 0, verified.out


def as_made_before(run: Path, file_sha256: str, version: str) -> None:
    """Have a run's manifest say what versions wrote that knew only a file's bytes."""
    manifest = read_manifest(run)
    source = msgspec.structs.replace(
        manifest.settings.annotations, content_sha256=None, sha256=file_sha256, version=version
    )
    settings = msgspec.structs.replace(manifest.settings, annotations=source)
    (run / "scores.json").unlink()
    write_json(run / "run.json", msgspec.structs.replace(manifest, settings=settings))
    edit_manifest(run, lambda content: None)


def made_on(data: Path, out: Path) -> Path:
    assert migbench("run", "--model", "whole-image", "--data", data, "--out", out).status == 0
    return out


@pytest.mark.parametrize("form", ["code", "hub"])
def test_an_older_run_on_either_form_is_on_the_papers_file(
    form: str, hub_file: Path, original: Annotations, runs: list[Path], tmp_path: Path
) -> None:
    data = hub_file if form == "hub" else original.path
    command = ("--model", "whole-image", "--tasks", "diff", "--out", tmp_path / "old")
    assert migbench("run", *command, "--data", data).status == 0
    known = ("custom", HUB_BYTES) if form == "hub" else ("original", original.sha256)
    as_made_before(tmp_path / "old", known[1], known[0])

    scored = score_run(Run(tmp_path / "old"))
    assert scored.scores.annotations.version == "original"
    if form == "code":  # The hash that it was known by stays, and a new run has the same.
        assert scored.scores.run == run_hash(Run(runs[0]))
    assert migbench("compare", tmp_path / "old", runs[1]).status == 0
    # It can be scored on the other form as well, and goes on with it.
    other = original.path if form == "hub" else hub_file
    assert migbench("score", tmp_path / "old", "--annotations", other).status == 0
    assert migbench("run", *command, "--data", other).status == 0


def test_an_older_run_on_a_custom_file_knows_it_by_its_bytes(tmp_path: Path) -> None:
    data = write_annotations(tmp_path / "mine.json", record(), record(question="Another."))
    new, old = made_on(data, tmp_path / "new"), made_on(data, tmp_path / "old")
    as_made_before(old, read_annotations(data).sha256, "custom")
    assert migbench("score", old).status == 0
    assert migbench("compare", old, new).status == 0
    assert migbench("verify", old).status == 0, migbench("verify", old).out
    assert made_on(data, old) == old

    as_made_before(old, read_annotations(data).sha256, "custom")
    data.write_text(data.read_text() + "\n")
    assert migbench("score", new).status == 0
    done = migbench("score", old)
    assert done.status == 2
    assert "is not the file that" in done.err


def test_a_custom_file_under_another_name_and_form_is_the_same(tmp_path: Path) -> None:
    one = write_annotations(tmp_path / "one.json", record(), record(question="Another."))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(json.loads(one.read_text()), indent=4))
    runs = made_on(one, tmp_path / "a"), made_on(other, tmp_path / "b")
    assert migbench("compare", *runs).status == 0
    assert migbench("verify", runs[0], "--annotations", other).status == 0
    changed = write_annotations(tmp_path / "c.json", record(), record(answer=[0, 0, 0.5, 1]))
    done = migbench("compare", runs[0], made_on(changed, tmp_path / "c"))
    assert done.status == 2
    assert "are on different annotations" in done.err
