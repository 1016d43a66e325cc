"""The suites: which benchmarks stand in Tables 2 to 4, and which tasks measure them.

Where a number of these tasks cannot be the paper's, ``notes`` say why; tables print them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from migbench.errors import UsageError

PARTS = "v_star_parts"
"""The key of V*Bench as several images; a row of its own under the column ``v_star``."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One column of a table, and how it is measured.

    ``key`` is the column's in the published table. ``tasks`` are task files: lmms-eval's own, by
    their paths in its folder of tasks, or ours, below ``tasks/general``. The figure is the sum of
    the ``metrics``, each ``scale`` times its mean over the tasks, weighted by their documents.
    ``folder`` is the data's below ``--data``, laid out as the hub's data set ``hub`` is.
    A limit counts questions, each of which is asked in ``documents`` forms.
    """

    key: str
    title: str
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    folder: str
    hub: str
    notes: tuple[str, ...]
    ours: bool = False
    scale: float = 100.0
    documents: int = 1
    head: str = ""
    """The group that is printed above the column, if any."""
    images_apart: bool = False
    """Whether images are files beside the table, which lmms-eval does not fetch from the hub."""

    @property
    def name(self) -> str:
        """What it is called outside of its table."""
        return f"{self.head} {self.title}".strip()


BLINK_TASKS = (
    "art_style",
    "counting",
    "forensic_detection",
    "functional_correspondence",
    "iq_test",
    "jigsaw",
    "multi_view_reasoning",
    "object_localization",
    "relative_depth",
    "relative_reflectance",
    "semantic_correspondence",
    "spatial_relation",
    "visual_correspondence",
    "visual_similarity",
)

MUIRBENCH = Benchmark(
    key="muirbench",
    title="MuirBench",
    tasks=("muirbench/muirbench.yaml",),
    metrics=("muirbench_score_overall",),
    folder="muirbench",
    hub="MUIRBENCH/MUIRBENCH",
    notes=(
        "MuirBench: 'A' and 'A. …' are read, '(A)' is not; the paper's release asks for the "
        "letter in other words.",
    ),
)
BLINK = Benchmark(
    key="blink",
    title="BLINK val",
    tasks=tuple(f"blink/blink_{name}.yaml" for name in BLINK_TASKS),
    metrics=("blink_acc",),
    folder="blink",
    hub="BLINK-Benchmark/BLINK",
    notes=(
        "BLINK: the share of all questions of its 14 tasks; its authors match long answers with a "
        "language model.",
    ),
)
MIBENCH = Benchmark(
    key="mibench",
    title="MIBench",
    tasks=("migbench_mibench.yaml",),
    metrics=("mibench_acc",),
    folder="mibench",
    hub="StarBottle/MIBench",
    notes=(
        "MIBench: the nine tasks that the paper's release asks (not in-context learning), each "
        "question once; MIBench's authors ask it with its options in every order.",
    ),
    ours=True,
    images_apart=True,
)
MANTIS_EVAL = Benchmark(
    key="mantis_eval",
    title="Mantis_eval",
    tasks=("mantis/mantis.yaml",),
    metrics=("mantis_score",),
    folder="mantis_eval",
    hub="TIGER-Lab/Mantis-Eval",
    notes=(
        "Mantis-Eval: lmms-eval samples at temperature 0.2; short answers must match to the "
        "letter.",
    ),
)
MMIU = Benchmark(
    key="mmiu",
    title="MMIU",
    tasks=("migbench_mmiu.yaml",),
    metrics=("mmiu_acc",),
    folder="mmiu",
    hub="FanqingM/MMIU-Benchmark",
    notes=(
        "MMIU: the mean of its tasks; options are read by rule, its authors let a language model "
        "match long answers.",
    ),
    ours=True,
    images_apart=True,
)
MME = Benchmark(
    key="mme",
    title="MME",
    tasks=("mme/mme.yaml",),
    metrics=("mme_perception_score", "mme_cognition_score"),
    folder="mme",
    hub="lmms-lab-encoder/MME",
    notes=(
        "MME: perception and cognition together, at most 2,800 points; the printed 1510.7 and "
        "1128.9 may be perception alone.",
    ),
    scale=1.0,
    documents=2,
)
MMBENCH = Benchmark(
    key="mmbench",
    title="MMBench",
    tasks=("mmbench/mmbench_en_dev_static.yaml",),
    metrics=("gpt_eval_score",),
    folder="mmbench",
    hub="lmms-lab-encoder/MMBench",
    notes=(
        "MMBench: the English dev split, options read by rule. The test split's answers are not "
        "public, and the usual figure lets a language model match what no rule reads.",
    ),
    scale=1.0,
)
V_STAR = Benchmark(
    key="v_star",
    title="V* Bench",
    tasks=("vstar_bench/vstar_bench.yaml",),
    metrics=("vstar_overall_acc",),
    folder="v_star",
    hub="lmms-lab-encoder/vstar-bench",
    notes=("V* Bench: the whole image is shown.",),
    scale=1.0,
)
V_STAR_PARTS = Benchmark(
    key=PARTS,
    title="V* Bench in parts",
    tasks=("migbench_vstar_parts.yaml",),
    metrics=("vstar_parts_acc",),
    folder="v_star",
    hub="lmms-lab-encoder/vstar-bench",
    notes=(
        "V* Bench in parts: the image is cut up and the region grounded first (appendix F). The "
        "paper's own number is of this form; its cut and its wording are not published.",
    ),
    ours=True,
)


def _refcoco(head: str, hub: str, split: str, *more: str) -> Benchmark:
    name = head.lower()
    return Benchmark(
        key=f"{name}_{split}",
        title=split,
        head=head,
        tasks=(f"migbench_{name}_{split}.yaml",),
        metrics=("acc@0.5",),
        folder=name,
        hub=f"lmms-lab-encoder/{hub}",
        notes=(
            "RefCOCO, RefCOCO+ and RefCOCOg: every expression is asked in the model's dialect; "
            "boxes are not corrected.",
            *more,
        ),
        ours=True,
    )


REFCOCO = (
    _refcoco(
        "RefCOCO",
        "RefCOCO",
        "val",
        "RefCOCO val: the hub's split has 8,811 objects, the one that papers report 3,811.",
    ),
    _refcoco("RefCOCO", "RefCOCO", "testA"),
    _refcoco("RefCOCO", "RefCOCO", "testB"),
    _refcoco("RefCOCO+", "RefCOCOplus", "val"),
    _refcoco("RefCOCO+", "RefCOCOplus", "testA"),
    _refcoco("RefCOCO+", "RefCOCOplus", "testB"),
    _refcoco(
        "RefCOCOg",
        "RefCOCOg",
        "val",
        "RefCOCOg val: the hub's split has 7,573 objects, the one that papers report 2,573.",
    ),
    _refcoco("RefCOCOg", "RefCOCOg", "test"),
)

SUITES: Mapping[str, tuple[Benchmark, ...]] = {
    "table2": (MUIRBENCH, BLINK, MIBENCH, MANTIS_EVAL, MMIU),
    "table3": (MME, MMBENCH, V_STAR, V_STAR_PARTS),
    "table4": REFCOCO,
}
"""By the table's number in the paper, in the order of its columns."""


def choose(suites: Iterable[str], only: Iterable[str] = ()) -> tuple[Benchmark, ...]:
    """The benchmarks of these suites, or those of these keys among them. Raises `UsageError`."""
    known = {each.key: each for suite in suites for each in SUITES[suite]}
    wanted = [name.strip() for name in only]
    if unknown := [name for name in wanted if name not in known]:
        raise UsageError(
            f"--benchmarks: no benchmark of the suite is called {', '.join(unknown)}; "
            f"choose from {', '.join(known)}"
        )
    return tuple(each for key, each in known.items() if not wanted or key in wanted)


def check_data(benchmarks: Iterable[Benchmark], data: Path | None) -> None:
    """Whether the data can be there. Raises `UsageError` naming the folders that are missing."""
    for each in benchmarks:
        if data is None and each.images_apart:
            raise UsageError(
                f"{each.name}: its images do not come with its table; download {each.hub} into "
                f"a folder DIR/{each.folder}, unpack its archives there, and pass --data DIR"
            )
        if data is not None and not (data / each.folder).is_dir():
            raise UsageError(
                f"{data / each.folder}: no such folder; it is to hold {each.name}, as the hub's "
                f"{each.hub} is laid out (--benchmarks leaves a benchmark out)"
            )
