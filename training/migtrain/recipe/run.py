"""Running a stage: LLaMA-Factory started, held to its number of examples, its result evaluated."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from migbench.errors import AdapterError, DataError, UsageError
from migtrain.recipe.prepare import Prepared
from migtrain.recipe.stages import MODEL, write_config
from migtrain.recipe.validation import ValidationSettings

CONFIG = "llamafactory.yaml"
LOG = "train.log"
VALIDATION = "validation.json"
EVALUATION = "evaluation"
GRACE_SECONDS = 10
"""How long a training that is stopped may go on."""
_EXAMPLES = re.compile(r"Num examples = ([0-9,]+)")


@dataclass(frozen=True, slots=True)
class StageRun:
    """A stage's training: its whole configuration, its data, and the folder that it is kept in."""

    config: Mapping[str, Any]
    prepared: Prepared
    out: Path
    validation: ValidationSettings | None = None

    @property
    def model(self) -> Path:
        """The finished checkpoint."""
        return self.out / MODEL

    @property
    def examples(self) -> int:
        """How many examples LLaMA-Factory is to find: ``max_samples`` bounds each source."""
        most = self.config.get("max_samples")
        samples = [each.samples for each in self.prepared.sources.values()]
        return sum(min(count, most) if most else count for count in samples)


def train_stage(run: StageRun, show: Callable[[str], None] = lambda line: None) -> Path:
    """Train a stage to its end; return the checkpoint.

    ``show`` is called with every line that LLaMA-Factory prints, which the folder's log keeps.
    Raises `UsageError` where the folder holds a finished training or there is no GPU to train on,
    `DataError` where LLaMA-Factory has found another number of examples, and `AdapterError` where
    it fails.
    """
    if (run.model / "config.json").is_file():
        raise UsageError(f"{run.model}: is there already; choose another --out")
    on_cpu = bool(run.config.get("use_cpu"))
    if not on_cpu and not torch.cuda.is_available():
        raise UsageError("torch sees no GPU; --cpu trains without one, which only toys finish")
    run.out.mkdir(parents=True, exist_ok=True)
    write_config(run.config, run.out / CONFIG)
    command = _command(run, on_cpu)
    with (
        (run.out / LOG).open("a", encoding="utf-8") as log,
        started(command, run.out, on_cpu) as process,
    ):
        counted = _follow(process, run.examples, log.write, show)
    if process.returncode != 0:
        raise AdapterError(
            f"LLaMA-Factory failed with status {process.returncode}: {_last_error(run.out / LOG)} "
            f"(all of it is in {run.out / LOG})"
        )
    if not counted:
        raise DataError(f"{run.out / LOG}: never says how many examples were trained on")
    return run.model


def evaluate(model: Path, data: Path, out: Path) -> int:
    """Score a checkpoint on a data set by ``migbench run``; return its exit status."""
    command = [sys.executable, "-m", "migbench", "run", "--model", str(model)]
    return subprocess.run([*command, "--data", str(data), "--out", str(out)]).returncode


@contextmanager
def started(command: Sequence[str], folder: Path, on_cpu: bool) -> Iterator[subprocess.Popen[str]]:
    """A training that has been started in a folder, and that ends with the block.

    It starts processes of its own, one a GPU, which would outlive it: all of them make one group.
    """
    environment = dict(os.environ)
    if not on_cpu:
        # LLaMA-Factory finds torchrun by its name alone.
        own_programs = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join([own_programs, environment.get("PATH", os.defpath)])
        environment["FORCE_TORCHRUN"] = "1"
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    with process:
        try:
            yield process
            process.wait()
        except BaseException:
            _stop(process)
            raise


def _stop(process: subprocess.Popen[str]) -> None:
    """End a training's processes, those that do not listen by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _command(run: StageRun, on_cpu: bool) -> list[str]:
    """``llamafactory-cli train``; to validate, the same through a worker that adds a callback.

    Files are named from the training's folder: LLaMA-Factory cuts its command at spaces.
    """
    if run.validation is None:
        return [str(Path(sys.executable).with_name("llamafactory-cli")), "train", CONFIG]
    settings = msgspec.json.encode(run.validation)
    (run.out / VALIDATION).write_bytes(settings + b"\n")
    worker = ["-m", "migtrain.recipe.worker", CONFIG, VALIDATION]
    if on_cpu:
        return [sys.executable, *worker]
    gpus = str(torch.cuda.device_count())
    return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", gpus, *worker]


def _follow(
    process: subprocess.Popen[str],
    expected: int,
    keep: Callable[[str], object],
    show: Callable[[str], None],
) -> bool:
    """Pass on what a training prints; whether it said the expected number of examples.

    Raises `DataError` as soon as it says another.
    """
    counted = False
    assert process.stdout is not None
    for line in process.stdout:
        keep(line)
        show(line.rstrip("\n"))
        if found := _EXAMPLES.search(line):
            counted = True
            number = int(found.group(1).replace(",", ""))
            if number != expected:
                raise DataError(
                    f"LLaMA-Factory trains on {number:,} examples of {expected:,}: it has dropped "
                    "some; stopped before the first step"
                )
    return counted


def _last_error(log: Path) -> str:
    """The last line of a log that names an error, else the last line."""
    lines = [line.strip() for line in log.read_text("utf-8").splitlines() if line.strip()]
    named = [
        line for line in lines if re.match(r"(\[rank\d+\]: *)?[\w.]*(Error|Exception)\b", line)
    ]
    return (named or lines or ["it printed nothing"])[-1]
