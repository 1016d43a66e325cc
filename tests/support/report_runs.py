"""A small data set with images of odd aspect ratios, and runs on it with given answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from PIL import Image

from migbench.cli.report import make_page, score_runs
from migbench.data.annotations import Annotations, Instance, read_annotations
from migbench.models.resolving import resolve_model
from migbench.reporting.html.viewer import Content, Viewer
from migbench.runs.environment import new_manifest
from migbench.runs.opening import open_run
from migbench.runs.plan import DEFAULT_PROMPTS, source_of
from migbench.runs.settings import Settings
from migbench.runs.store import Run
from migbench.tasks import task_hashes
from support.answer_lines import answer_line
from support.data_files import record, write_annotations

SIZES = {
    "tall.png": (33, 301),
    "wide.png": (640, 48),
    "plain.png": (200, 150),
    "square.png": (97, 97),
    "odd.png": (131, 97),
}
"""The data set's images by name, with their sizes in pixels."""

REFERENCE = "<|box_start|>(100,200),(300,400)<|box_end|>"


def small_records() -> list[dict[str, Any]]:
    """Ten targets of four tasks, of which some share their images."""
    shared = [f"images/{name}" for name in ("plain.png", "tall.png", "wide.png")]
    tracked = [f"images/{name}" for name in ("odd.png", "plain.png", "tall.png")]
    common = "These images share one object in common. Recognize and locate it in the {}th image. "
    tracking = (
        f"For the object in the first image marked with red bounding box({REFERENCE}), please "
        "locate it in the {}th image. "
    )
    phrase = "<|object_ref_start|>a blue kite<|object_ref_end|>"
    return [
        *(
            record(
                task="common_object",
                images=shared,
                question=common.format(number),
                answer=[0.1 * number, 0.2, 0.1 * number + 0.4, 0.7],
            )
            for number in (1, 2, 3)
        ),
        *(
            record(
                task="object_tracking",
                images=tracked,
                question=tracking.format(number),
                answer=[0.25, 0.1, 0.75, 0.9],
            )
            for number in (2, 3)
        ),
        record(
            task="group_grounding",
            images=shared,
            question=f"Please find the bounding box for the area described by: {phrase}.",
            additional_info="It is in the third image. ",
            answer=[0.05, 0.1, 0.35, 0.9],
        ),
        *(
            record(
                task="diff",
                images=[f"images/{first}", f"images/{second}"],
                answer=[0.2, 0.3, 0.6, 0.8],
            )
            for first, second in (
                ("tall.png", "wide.png"),
                ("wide.png", "tall.png"),
                ("square.png", "odd.png"),
                ("odd.png", "square.png"),
            )
        ),
    ]


def make_data(folder: Path, records: Sequence[dict[str, Any]] | None = None) -> Annotations:
    """The data set: white images and an annotation file."""
    for name, size in SIZES.items():
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "white").save(path)
    path = write_annotations(folder / "data.json", *(records or small_records()))
    return read_annotations(path)


def boxed(edges: Sequence[float]) -> str:
    """A box in 0-1 as Qwen2-VL writes it."""
    left, top, right, bottom = (round(1000 * edge) for edge in edges)
    return f"<|box_start|>({left},{top}),({right},{bottom})<|box_end|>"


def truth(instance: Instance) -> str:
    """An answer that hits."""
    return boxed(instance.box)


def beside(instance: Instance) -> str:
    """An answer that overlaps its target, and misses it."""
    left, top, right, bottom = instance.box
    return boxed((left, top, (left + right) / 2, top + (bottom - top) * 0.6))


def make_run(
    out: Path,
    annotations: Annotations,
    answer: Callable[[Instance], str | None],
    *,
    model: str = "qwen2-vl-7b",
    strategy: str = "direct",
    images: Path | None = None,
    status: Any = "complete",
) -> Run:
    """A run with these answers; those that are None are model errors.

    A chain of thought says "a red boat" first.
    """
    settings = Settings(
        model=resolve_model(model),
        strategy=strategy,
        prompts=DEFAULT_PROMPTS[strategy].value,
        annotations=source_of(annotations),
        tasks={key: value for key, value in task_hashes().items() if annotations.counts[key]},
    )
    manifest = new_manifest(
        settings, len(annotations.instances), images=images or annotations.path.parent
    )
    with open_run(out, manifest) as store:
        for instance in annotations.instances:
            text = answer(instance)
            error = None if text is not None else "the server said no"
            answers = [*["a red boat"] * (strategy != "direct"), text]
            for turn, said in enumerate(answers):
                store.append(
                    answer_line(
                        instance.id,
                        turn=turn,
                        prompt=instance.question,
                        text=said,
                        error=error if said is None else None,
                    )
                )
        store.finish(status)
    return Run(out)


PAGE_OPTIONS: dict[str, Any] = {
    "protocol": "standard",
    "corrections": "profile",
    "annotations": None,
    "image_folder": None,
    "accept_model_errors": False,
    "difficulty": None,
    "bootstrap": None,
    "seed": 0,
    "published": False,
    "names": (),
    "title": None,
}


@contextmanager
def served(*runs: Path) -> Iterator[Viewer]:
    """A viewer of these runs, at any free port."""
    content = Content(
        runs,
        lambda pictures, state: make_page(
            score_runs(runs, PAGE_OPTIONS), pictures, PAGE_OPTIONS, state
        ),
    )
    viewer = Viewer(content, 0)
    loop = asyncio.new_event_loop()

    def serve() -> None:
        with (
            suppress(asyncio.CancelledError),
            asyncio.Runner(loop_factory=lambda: loop) as runner,
        ):
            runner.run(viewer.serve())

    def stop() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    thread = Thread(target=serve)
    thread.start()
    try:
        yield viewer
    finally:
        loop.call_soon_threadsafe(stop)
        thread.join()
