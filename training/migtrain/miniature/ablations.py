"""What each stage, the merge and each part of the data give the miniature: Tables 6 and 9, small.

    python -m migtrain.miniature.ablations WORK --start SEEING/model --data MINI --seeds 0,1,2

``--start`` is what the recipe `mini-seeing` leaves, ``--data`` MIG-Mini's test split.
Every training is one of the packaged recipes in fewer steps, with sources left out; every figure
is Acc@0.5 by polling. What is found finished beneath WORK is not done again: stopped, it goes on;
with more seeds, it adds to what is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
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


@dataclass(frozen=True)
class Bench:
    """Where everything lies, and how much of it is done."""

    options: argparse.Namespace
    seed: int

    @property
    def folder(self) -> Path:
        """The seed's."""
        return Path(self.options.work / f"seed-{self.seed}")

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
        several = ("-m", "torch.distributed.run", "--nproc_per_node", self.options.processes)
        self._call(
            *several,
            "--standalone",
            *MIGTRAIN,
            "miniature",
            "--config",
            recipe,
            "--out",
            model.parent,
        )

    def recipe(self, training: Training) -> str:
        """A training's packaged recipe, with what it leaves out, as YAML."""
        packaged = find_recipe(training.recipe)
        begins = self.model(training.begins) if training.begins else self.options.start
        alone = len(training.tasks) == 1
        steps = self.options.steps
        (phase,) = packaged.with_steps(steps).phases
        shares = {
            source: share
            for source, share in phase.shares.items()
            if source.removesuffix("_all") in training.tasks
        }
        recipe = msgspec.structs.replace(
            packaged,
            title=training.name,
            seed=self.seed,
            model=msgspec.structs.replace(packaged.model, checkpoint=str(begins)),
            phases=(msgspec.structs.replace(phase, shares=shares),),
            batch=SMALL if alone else packaged.batch,
            sources={name: packaged.sources[name] for name in shares},
            watch=None,
            trainer={"lr_scheduler_kwargs": {"num_decay_steps": round(DECAY * steps)}},
        )
        return yaml.safe_dump(msgspec.to_builtins(recipe), sort_keys=False)

    def measure(self, name: str, tasks: Sequence[str]) -> Figures:
        """What a model reaches on tasks."""
        start = self.options.start if name == "base" else self.model(name)
        run = self.folder / "runs" / name
        asked = ("--tasks", ",".join(tasks), "--data", self.options.data, "--out", run)
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


def figures(options: argparse.Namespace, seed: int) -> dict[str, Figures]:
    """What every model of a seed reaches, by its name."""
    found: dict[str, Figures] = {}
    own = {each.name: each.tasks for each in SEPARATE}
    bench = Bench(options, seed)
    bench.folder.mkdir(parents=True, exist_ok=True)
    for wanted in (None, *PLAN):
        if wanted:
            bench.make(wanted)
        name = wanted.name if wanted else "base"
        found[name] = bench.measure(name, own.get(name, tuple(COLUMNS)))
        print(seed, name, {key: round(each, 1) for key, each in found[name].items()}, flush=True)
    return found


def compare(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Figures of every model: by name and task, one of each seed."""
    with ThreadPoolExecutor(options.seeds_at_once) as pool:
        seeds = list(pool.map(partial(figures, options), options.seeds))
    return {
        name: {task: [each[name][task] for each in seeds] for task in tasks}
        for name, tasks in seeds[0].items()
    }


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


def main() -> None:
    """Compare, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")],
                        default=[0, 1, 2])  # fmt: skip
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--processes", type=int, default=1, help="of each training")
    parser.add_argument("--seeds-at-once", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.work, options.start = options.work.resolve(), options.start.resolve()
    found = compare(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(report(found))


if __name__ == "__main__":
    main()
