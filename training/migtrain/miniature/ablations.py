"""What each stage, the merge and each part of the data give the miniature: Tables 6 and 9, small.

``migtrain ablate --miniature`` runs it. Every training is one of the packaged recipes in fewer
steps, with sources left out; every figure is Acc@0.5 by polling. What is finished is not done
again: stopped, it goes on; with more seeds, it adds to what is there.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import yaml
from tabulate import tabulate

import migbench
from migbench.errors import AdapterError
from migtrain.miniature.recipe import Batch, find_recipe

FIGURES = "figures.json"
MIGBENCH = ("-m", "migbench")
MIGTRAIN = ("-m", "migtrain")
COLUMNS = {task.key: task.column for task in migbench.load_tasks()}
ONE_IMAGE = ("pair", "single")
SIX_TASKS = (
    "refer_grounding", "object_tracking", "group_grounding", "region", "diff", "common_object",
)  # fmt: skip
"""Stage 1's, in Table 9's order."""
FREE_FORM = ("view_diff", "multi_view", "reasoning", "correspondence")
SMALL = Batch(size=8, per_device=4)
"""Of a training of one task: as many steps as all tasks take together, with more examples of it."""
DECAY = 0.3
"""The last share of a training's steps, in which the learning rate falls."""


@dataclass(frozen=True)
class Training:
    """A packaged recipe with only the sources of some tasks, begun at another training's model."""

    name: str
    recipe: str
    tasks: Sequence[str]
    begins: str | None = None


@dataclass(frozen=True)
class Merge:
    """The mean of several trainings' weights."""

    name: str
    of: Sequence[str]


ALL = (*ONE_IMAGE, *SIX_TASKS, *FREE_FORM)
STAGES = (
    Training("stage 1", "mini-stage1", ALL),
    Training("stage 2", "mini-stage2", ALL, begins="stage 1"),
    Merge("merged", ("stage 1", "stage 2")),
)
DATA_PARTS = (
    Training("full data", "mini-all", ALL),
    Training("without grounding in several images", "mini-all", ONE_IMAGE),
    Training("without single images", "mini-all", (*SIX_TASKS, *FREE_FORM)),
)
SEPARATE = tuple(Training(f"only {task}", "mini-stage1", (task,)) for task in SIX_TASKS)
SPECIALISTS = Merge("specialists merged", tuple(each.name for each in SEPARATE))
PLAN: tuple[Training | Merge, ...] = (*STAGES, *DATA_PARTS, *SEPARATE, SPECIALISTS)

Figures = dict[str, float]
"""Acc@0.5 by task."""


@dataclass(frozen=True, slots=True)
class AblationPlan:
    """Where everything lies, and how much of it is done.

    Trainings lie below ``work`` and begin at the checkpoint ``start``, which the recipe
    `mini-vision` leaves; ``data`` is MIG-Mini's test split. Each training takes so many ``steps``
    in so many ``processes``.
    """

    work: Path
    start: Path
    data: Path
    steps: int = 200
    processes: int = 1
    seeds_at_once: int = 2


@dataclass(frozen=True, slots=True)
class SeedRun:
    """All trainings of one seed."""

    plan: AblationPlan
    seed: int

    @property
    def folder(self) -> Path:
        """The seed's."""
        return self.plan.work / f"seed-{self.seed}"

    def model(self, name: str) -> Path:
        """The finished checkpoint of a training or a merge."""
        return self.folder / name / "model"

    def make(self, wanted: Training | Merge) -> None:
        """Train or merge, unless it is done."""
        model = self.model(wanted.name)
        if model.exists():
            return
        if isinstance(wanted, Merge):
            self._call(*MIGTRAIN, "merge", *map(self.model, wanted.of), "--out", model)
            return
        recipe = self.folder / f"{wanted.name}.yaml"
        recipe.write_text(self.recipe(wanted), "utf-8")
        several = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")
        train = ("miniature", "--config", recipe, "--out", model.parent)
        self._call(*several, self.plan.processes, *MIGTRAIN, *train)

    def recipe(self, training: Training) -> str:
        """A training's packaged recipe, with what it leaves out, as YAML."""
        packaged = find_recipe(training.recipe)
        begins = self.model(training.begins) if training.begins else self.plan.start
        alone = len(training.tasks) == 1
        steps = self.plan.steps
        (stage,) = packaged.with_steps(steps).stages
        shares = {
            source: share
            for source, share in stage.shares.items()
            if source.removesuffix("_all") in training.tasks
        }
        recipe = msgspec.structs.replace(
            packaged,
            title=training.name,
            seed=self.seed,
            model=msgspec.structs.replace(packaged.model, checkpoint=str(begins)),
            stages=(msgspec.structs.replace(stage, shares=shares),),
            batch=SMALL if alone else packaged.batch,
            sources={name: packaged.sources[name] for name in shares},
            validation=None,
            trainer={"lr_scheduler_kwargs": {"num_decay_steps": round(DECAY * steps)}},
        )
        return yaml.safe_dump(msgspec.to_builtins(recipe), sort_keys=False)

    def measure(self, name: str, tasks: Sequence[str]) -> Figures:
        """What a model reaches on tasks."""
        start = self.plan.start if name == "base" else self.model(name)
        run = self.folder / "runs" / name
        asked = ("--tasks", ",".join(tasks), "--data", self.plan.data, "--out", run)
        self._call(*MIGBENCH, "run", "--model", start, *asked)
        scores = migbench.score_run(migbench.Run(run)).scores
        return {task: each.at_50 for task, each in scores.tasks.items() if each.at_50 is not None}

    def _call(self, *command: object) -> None:
        with (self.folder / "last.log").open("wb") as log:
            done = subprocess.run(
                [sys.executable, *map(str, command)], stdout=log, stderr=subprocess.STDOUT
            )
        if done.returncode:
            raise AdapterError(f"{' '.join(map(str, command))}: failed; see {log.name}")


def measure_seed(plan: AblationPlan, log: Callable[[str], None], seed: int) -> dict[str, Figures]:
    """What every model of a seed reaches, by its name."""
    found: dict[str, Figures] = {}
    own = {each.name: each.tasks for each in SEPARATE}
    run = SeedRun(plan, seed)
    run.folder.mkdir(parents=True, exist_ok=True)
    for wanted in (None, *PLAN):
        if wanted:
            run.make(wanted)
        name = wanted.name if wanted else "base"
        found[name] = run.measure(name, own.get(name, tuple(COLUMNS)))
        tasks = ", ".join(f"{task} {figure:.1f}" for task, figure in found[name].items())
        log(f"seed {seed}, {name}: {tasks}")
    return found


def compare(
    plan: AblationPlan, seeds: Sequence[int], log: Callable[[str], None]
) -> dict[str, dict[str, list[float]]]:
    """Figures of every model: by name and task, one of each seed; they are kept in figures.json.

    ``log`` is called with a line a model. Raises `AdapterError` where a training fails.
    """
    with ThreadPoolExecutor(plan.seeds_at_once) as pool:
        found = list(pool.map(partial(measure_seed, plan, log), seeds))
    figures = {
        name: {task: [each[name][task] for each in found] for task in tasks}
        for name, tasks in found[0].items()
    }
    (plan.work / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return figures


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ±{deviation:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    align = ("left", *["right"] * (len(header) - 1))
    return tabulate(rows, header, colalign=align, disable_numparse=True)


def averages(figures: dict[str, list[float]]) -> list[float]:
    """The macro average of each seed."""
    return [statistics.mean(each) for each in zip(*figures.values(), strict=True)]


def report(found: dict[str, dict[str, list[float]]]) -> str:
    """The tables, in the paper's layout."""
    stages = _table(
        ["Model", *COLUMNS.values(), "AVE"],
        [
            [name, *(spread(found[name][task]) for task in COLUMNS), spread(averages(found[name]))]
            for name in ("base", *(each.name for each in STAGES))
        ],
    )
    full = statistics.mean(averages(found["full data"]))
    parts = _table(
        ["Setting", "MIG", ""],
        [
            [name, spread(averages(found[name])),
             f"{statistics.mean(averages(found[name])) - full:+.1f}"]
            for name in ("base", *(each.name for each in DATA_PARTS))
        ],
    )  # fmt: skip
    separate = {task: found[f"only {task}"][task] for task in SIX_TASKS}
    methods = {
        "Base": found["base"],
        "Multi-Task Learning": found["stage 1"],
        "Separate Learning": separate,
        "Model Merging": found[SPECIALISTS.name],
    }
    learnt = _table(
        ["Training Methods", *(COLUMNS[task] for task in SIX_TASKS)],
        [
            [name, *(spread(figures[task]) for task in SIX_TASKS)]
            for name, figures in methods.items()
        ],
    )
    return "\n\n".join([stages, parts, learnt])
