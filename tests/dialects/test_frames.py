"""Boxes in pixels are read in the frame that the model's image processor really used."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from support.command_line import migbench
from support.data_files import record, write_annotations, write_images
from support.sealed import edit_manifest

from migbench.boxes import SmartResized
from migbench.dialects import find_dialect
from migbench.messages import Resizing
from migbench.models.resolving import Overrides, resolve_model, with_resizing
from migbench.runs.manifest import read_manifest, write_json
from model_adapters.resizing import resizing_of
from model_adapters.transformers.loading import load
from model_adapters.transformers.settings import TransformersSettings

SIZE = (640, 480)
TRUTH = [0.1, 0.2, 0.5, 0.7]
OWN = Resizing(factor=28, min_pixels=784, max_pixels=50176)

ADAPTER = '''
from migbench.boxes import Box, Convention, Order, SmartResized
from migbench.messages import Resizing


class Asked:
    """Finds every box, and writes it in the frame that its processor makes."""

    RESIZING
    def __init__(self, longest: int = 50176) -> None:
        self.resizing = Resizing(28, 784, longest)

    def answer(self, request):
        frame = SmartResized(factor=28, min_pixels=784, max_pixels=self.resizing.max_pixels)
        convention = Convention(Order.XYXY, None, frame)
        numbers = convention.from_unit(Box(*TRUTH), request.images[1].size())
        return f"[{', '.join(str(round(number)) for number in numbers)}]"


class Silent(Asked):
    """The same, and nobody can ask it."""

    def __init__(self, longest: int = 50176) -> None:
        self.hidden = longest

    def answer(self, request):
        self.resizing = Resizing(28, 784, self.hidden)
        try:
            return super().answer(request)
        finally:
            del self.resizing
'''.replace("RESIZING", f"TRUTH = {TRUTH}").replace("Box(*TRUTH)", "Box(*self.TRUTH)")

Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Runs an adapter over three questions; gives the command's result."""
    sets = [[f"images/{n}a.png", f"images/{n}b.png"] for n in range(3)]
    write_images(tmp_path, [name for names in sets for name in names], size=SIZE)
    questions = [record(images=names, answer=TRUTH) for names in sets]
    write_annotations(tmp_path / "data.json", *questions)
    (tmp_path / "asked.py").write_text(ADAPTER)

    def asking(name: str = "Asked", *more: object, dialect: str = "qwen2.5-vl") -> Any:
        return migbench(
            *("run", "--model", "m", "--adapter", f"{tmp_path / 'asked.py'}:{name}"),
            *("--dialect", dialect, "--data", tmp_path / "data.json", "--out", tmp_path / "run"),
            *more,
        )

    return asking


def frame(run: Path) -> SmartResized:
    found = read_manifest(run).settings.model.dialect.frame
    assert isinstance(found, SmartResized)
    return found


def change(source: Path, old: str, new: str) -> None:
    source.write_text(source.read_text().replace(old, new))


def hits(run: Path) -> int:
    scores = json.loads(migbench("score", run, "--json", "-").out)
    return int(scores["tasks"]["diff"]["outcomes"]["hit"])


def test_boxes_are_read_in_the_frame_that_the_processor_says(ask: Ask, tmp_path: Path) -> None:
    done = ask()
    assert done.status == 0
    assert read_manifest(tmp_path / "run").settings.model.frame_from == "processor"
    assert frame(tmp_path / "run") == SmartResized(factor=28, min_pixels=784, max_pixels=50176)
    assert hits(tmp_path / "run") == 3
    # Scored by itself: the adapter may be gone.
    (tmp_path / "asked.py").unlink()
    assert hits(tmp_path / "run") == 3
    verified = migbench("verify", tmp_path / "run")
    assert verified.status == 0
    assert "dialect" not in verified.out


def test_what_differs_from_the_dialect_is_said(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    ask()
    assert "784 to 50176 pixels in all, as the model's processor does, not to" in caplog.text


def test_where_nobody_can_be_asked_what_was_assumed_is_said(
    ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask("Silent")
    assert "3136 to 12845056 pixels in all, as declared" in caplog.text
    assert "--min-pixels and --max-pixels" in caplog.text
    assert read_manifest(tmp_path / "run").settings.model.frame_from is None
    assert hits(tmp_path / "run") == 0


def test_a_declared_frame_is_read_in(ask: Ask, tmp_path: Path) -> None:
    ask("Silent", "--min-pixels", 784, "--max-pixels", 50176)
    assert hits(tmp_path / "run") == 3


@pytest.mark.parametrize("dialect", ["qwen2-vl", "qwen3-vl", "gemini"])
def test_dialects_that_count_in_no_pixels_stay_as_they_are(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = resolve_model("m", Overrides(adapter="openai", dialect=find_dialect(dialect)))
    assert with_resizing(model, OWN) == with_resizing(model, None) == model
    assert not caplog.records


def test_a_dialect_of_the_users_own_keeps_its_frame(caplog: pytest.LogCaptureFixture) -> None:
    dialect = msgspec.structs.replace(find_dialect("qwen2.5-vl"), name="custom")
    model = resolve_model("m", Overrides(adapter="openai", dialect=dialect))
    assert with_resizing(model, OWN) == model
    assert "as declared, but the model's processor resizes to" in caplog.text


def test_a_run_goes_on_in_its_frame_and_in_no_other(ask: Ask, tmp_path: Path) -> None:
    ask("Asked", "--limit", 3)
    before = read_manifest(tmp_path / "run").settings
    assert "0 requests made now" in ask("Asked", "--limit", 3).out
    assert read_manifest(tmp_path / "run").settings == before
    change(tmp_path / "asked.py", "50176", "99999")
    done = ask("Asked", "--limit", 3)
    assert done.status == 2
    assert "resizes images to" in done.err
    assert frame(tmp_path / "run").max_pixels == 50176


def test_a_run_from_before_processors_were_asked_takes_over_what_is_true(
    ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask()

    def as_made_before(content: dict[str, Any]) -> None:
        model = content["settings"]["model"]
        del model["frame_from"]
        model["dialect"]["frame"] |= {"max_pixels": 12845056, "min_pixels": 3136}

    edit_manifest(tmp_path / "run", as_made_before)
    assert hits(tmp_path / "run") == 0  # as it was, without a model to ask
    caplog.clear()
    assert ask().status == 0
    assert "50176 pixels in all, as the model's processor does" in caplog.text
    assert hits(tmp_path / "run") == 3


def test_the_frame_leaves_the_runs_hash_as_it_was(ask: Ask, tmp_path: Path) -> None:
    """Settings say which frame; who said so is no setting."""
    ask()
    run = json.loads(migbench("score", tmp_path / "run", "--json", "-").out)["run"]
    path = tmp_path / "run" / "run.json"
    content = json.loads(path.read_bytes())
    del content["settings"]["model"]["frame_from"]
    write_json(path, content)
    assert json.loads(migbench("score", tmp_path / "run", "--json", "-").out)["run"] == run


def test_shards_in_different_frames_are_not_merged(ask: Ask, tmp_path: Path) -> None:
    for number, longest in ((1, 50176), (2, 60000)):
        ask("Asked", "--shard", f"{number}/2", "--out", tmp_path / f"part{number}")
        assert frame(tmp_path / f"part{number}").max_pixels == longest
        change(tmp_path / "asked.py", "50176", "60000")
    done = migbench("merge", tmp_path / "part1", tmp_path / "part2", "--out", tmp_path / "merged")
    assert done.status == 2
    assert "model.dialect.frame.max_pixels: 50176 there, 60000 here" in done.err


# --- what a processor says ------------------------------------------------------------------------

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "older names": {"min_pixels": 56 * 56, "max_pixels": 100352},
    "areas as edges": {"size": {"shortest_edge": 6272, "longest_edge": 75264}},
    "both": {"size": {"shortest_edge": 1, "longest_edge": 2}, "max_pixels": 75264},
    "small patches": {"patch_size": 14, "merge_size": 1, "min_pixels": 196, "max_pixels": 30000},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("limits", [{}, {"max_pixels": 40000}, {"min_pixels": 20000}])
def test_it_says_what_it_does(
    checkpoint: Path, tmp_path: Path, name: str, limits: dict[str, int]
) -> None:
    """Held against the grids that it makes of images of odd sizes."""
    folder = tmp_path / "own"
    shutil.copytree(checkpoint, folder)
    path = folder / "preprocessor_config.json"
    known = json.loads(path.read_bytes())
    for bound in ("min_pixels", "max_pixels", "size"):
        known.pop(bound, None)
    path.write_text(json.dumps(known | CONFIGURATIONS[name]))
    processor = load(
        TransformersSettings(checkpoint=str(folder), **limits)
    ).processor.image_processor
    said = resizing_of(processor)
    assert said is not None
    used = SmartResized(factor=said.factor, min_pixels=said.min_pixels, max_pixels=said.max_pixels)
    for size in [(640, 480), (33, 301), (20, 20), (1000, 100), (97, 131)]:
        grid = processor([Image.new("RGB", size)], return_tensors="pt")["image_grid_thw"][0]
        high, wide = (int(patches) * processor.patch_size for patches in grid[1:])
        assert used.canvas(*size)[:2] == (wide, high)


class Qwen2VLImageProcessor:
    """What there is to ask."""

    do_resize = True
    size = {"shortest_edge": 3136, "longest_edge": 12845056}  # noqa: RUF012
    patch_size, merge_size = 14, 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (None, Resizing(28, 3136, 12845056)),
        ({"max_pixels": 50176}, Resizing(28, 3136, 50176)),
        ({"size": {"longest_edge": 50176}}, Resizing(28, 3136, 50176)),
        ({"images_kwargs": {"min_pixels": 784}}, Resizing(28, 784, 12845056)),
        ({"size": {"longest_edge": 1}, "max_pixels": 50176}, Resizing(28, 3136, 50176)),
        ({"patch_size": 16}, Resizing(32, 3136, 12845056)),
        ({"do_resize": False}, None),
    ],
)
def test_settings_of_its_calls_count(overrides: Any, said: Resizing | None) -> None:
    assert resizing_of(Qwen2VLImageProcessor(), overrides) == said


@pytest.mark.parametrize("processor", [None, object()])
def test_a_processor_of_another_rule_says_nothing(processor: object) -> None:
    assert resizing_of(processor) is None


def test_a_checkpoint_with_bounds_of_its_own_is_read_in_them(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["images/a.png", "images/b.png"]
    write_images(tmp_path, names, size=SIZE)
    write_annotations(tmp_path / "data.json", record(images=names))
    migbench(
        *("run", "--model", checkpoint, "--dialect", "qwen2.5-vl", "--max-new-tokens", 1),
        *("--skip-check", "dialect"),
        *("--data", tmp_path / "data.json", "--out", tmp_path / "run"),
    )
    own = json.loads((checkpoint / "preprocessor_config.json").read_bytes())
    used = frame(tmp_path / "run")
    assert (used.min_pixels, used.max_pixels) == (own["min_pixels"], own["max_pixels"])


def test_nothing_is_logged_where_the_processor_agrees(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    model = resolve_model("qwen2.5-vl-7b")
    used = with_resizing(model, Resizing(28, 3136, 12845056))
    assert used.dialect == model.dialect
    assert used.frame_from == "processor"
    assert not caplog.records
