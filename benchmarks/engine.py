"""Requests per second of engines that run a model in process, on the same checkpoint and images.

    python benchmarks/engine.py --json engine.json
    python benchmarks/engine.py --vllm-python .venv-vllm/bin/python
    python benchmarks/engine.py --checkpoint 7b --data MIG --limit 50     # on a GPU

Compared are the published evaluator's loop (one `generate` after another), migbench with its
transformers and its vllm adapter, and vLLM's own entry point given everything at once, which is as
fast as that engine goes. Loading the model is not counted. Decoding images is, but for the last.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from measuring import measured, recorded, table

from migbench.runs.store import Run

STEPS = str(Path(__file__).parent / "engine_steps.py")
FLOOR = "generate, one by one"


@dataclass(frozen=True)
class Outcome:
    """What one engine said, by question, and what that took."""

    engine: str
    seconds: float
    tokens_out: int
    peak_mb: float
    answers: dict[str, str]

    @property
    def per_second(self) -> float:
        """Questions answered per second."""
        return len(self.answers) / self.seconds


@dataclass(frozen=True)
class Work:
    """What all engines are given, and where they leave their traces."""

    checkpoint: Path
    data: Path
    folder: Path
    limit: int | None
    max_new_tokens: int
    dtype: str

    @property
    def limits(self) -> list[str]:
        """The options that every engine's command shares."""
        limit = [f"--limit={self.limit}"] if self.limit else []
        return [*limit, f"--max-new-tokens={self.max_new_tokens}"]

    def step(self, engine: str, name: str, python: str, *further: str) -> Outcome:
        """Run a step of `engine_steps`."""
        command = [python, STEPS, name, str(self.checkpoint), str(self.data), *self.limits]
        used = measured([*command, f"--dtype={self.dtype}", *further], self.folder / f"{name}.err")
        # vLLM prints what it likes before the record.
        return Outcome(engine, **json.loads(used.output.strip().splitlines()[-1]))

    def migbench(self, engine: str, adapter: str, python: str, *further: str) -> Outcome:
        """Run migbench with one of its adapters."""
        out = self.folder / adapter
        command = [
            *(python, "-m", "migbench", "run", f"--model={self.checkpoint}"),
            *(f"--adapter={adapter}", f"--data={self.data}", f"--out={out}", *self.limits),
            *(f"--model-arg=dtype={self.dtype}", *further),
        ]
        # An untrained model's answers hold no box, which a run warns of with status 1.
        used = measured(command, out.with_suffix(".err"), accepted=(0, 1))
        run = Run(out)
        lines = [line for line in run.lines.values() if line.text is not None]
        return Outcome(
            engine=engine,
            seconds=run.manifest.wall_seconds or 0.0,
            tokens_out=sum(line.answer.completion_tokens or 0 for line in lines if line.answer),
            peak_mb=used.peak_mb,
            answers={line.question: line.text or "" for line in lines},
        )


def engines(
    work: Work, vllm_python: str | None, batch_size: str, engine_args: Sequence[str]
) -> dict[str, Callable[[str], Outcome] | None]:
    """The engines by name; None for those that are not installed."""
    here = sys.executable
    found: dict[str, Callable[[str], Outcome] | None] = {
        FLOOR: lambda name: work.step(name, "one-by-one", here),
        "migbench, transformers": lambda name: work.migbench(
            name, "transformers", here, f"--model-arg=batch_size={batch_size}"
        ),
        "migbench, vllm": None,
        "vLLM's LLM.chat, all at once": None,
    }
    if vllm_python:
        given = [f"--engine-args={pair}" for pair in engine_args]
        found |= {
            "migbench, vllm": lambda name: work.migbench(name, "vllm", vllm_python, *given),
            "vLLM's LLM.chat, all at once": lambda name: work.step(
                name, "vllm", vllm_python, *given
            ),
        }
    return found


def rows(found: Sequence[Outcome]) -> list[dict[str, object]]:
    """The figures of a record; `FLOOR` comes first."""
    floor = found[0]
    return [
        {
            "engine": one.engine,
            "requests": len(one.answers),
            "seconds": one.seconds,
            "requests_per_second": one.per_second,
            "to_floor": one.per_second / floor.per_second,
            "tokens_out": one.tokens_out,
            "peak_mb": one.peak_mb,
            "same_as_floor": sum(floor.answers[name] == said for name, said in one.answers.items()),
        }
        for one in found
    ]


def show(figures: Sequence[dict[str, object]], absent: Sequence[str]) -> str:
    """The table, and what its columns are."""
    header = ["Engine", "Requests", "s", "Requests/s", "x one by one", "Tokens out", "MB", "Same"]
    lines = [
        [
            f"{one['engine']}",
            f"{one['requests']}",
            f"{one['seconds']:.1f}",
            f"{one['requests_per_second']:.2f}",
            f"{one['to_floor']:.2f}",
            f"{one['tokens_out']:,}",
            f"{one['peak_mb']:.0f}",
            f"{one['same_as_floor']}",
        ]
        for one in figures
    ]
    lines += [[name, "not installed", *[""] * (len(header) - 2)] for name in absent]
    return (
        f"{table(header, lines)}\n\n"
        "MB: peak of the process's main memory. Same: answers equal to those of the first line, "
        "to the letter."
    )


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Make what is missing of checkpoint and data, run every engine, print the table."""
    vllm = str(options.vllm_python) if options.vllm_python else None
    if vllm is None and find_spec("vllm"):
        vllm = sys.executable
    work = Work(
        checkpoint=_checkpoint(options.checkpoint, folder),
        data=options.data or _mini(options.per_task, folder),
        folder=folder,
        limit=options.limit,
        max_new_tokens=options.max_new_tokens,
        dtype=options.dtype,
    )
    every = engines(work, vllm, options.batch_size, options.engine_args)
    figures = rows([run(name) for name, run in every.items() if run])
    absent = [name for name, run in every.items() if not run]
    print(show(figures, absent))
    return {
        "checkpoint": options.checkpoint,
        "max_new_tokens": options.max_new_tokens,
        "engines": figures,
        "absent": absent,
    }


def _checkpoint(name: str, folder: Path) -> Path:
    """A checkpoint's folder; the tiny one and the one in the shape of 7B are built."""
    made = folder / name
    if name == "tiny":
        measured(
            [sys.executable, "-m", "model_adapters.tiny_qwen2_vl", str(made)], folder / "m.err"
        )
    elif name == "7b":
        measured([sys.executable, STEPS, "build-7b", str(made)], folder / "m.err")
    else:
        return Path(name)
    return made


def _mini(per_task: int, folder: Path) -> Path:
    data = folder / "mini"
    rendering = [sys.executable, "-m", "migbench", "data", "mini", str(data)]
    measured([*rendering, f"--per-task={per_task}"], folder / "mini.err")
    return data


def main() -> None:
    """Read the options, compare, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", default="tiny", help="tiny, 7b (random weights), a folder")
    parser.add_argument("--data", type=Path, help="a data set (default: a rendered MIG-Mini)")
    parser.add_argument("--per-task", type=int, default=10, help="of the rendered MIG-Mini")
    parser.add_argument("--limit", type=int, help="the first instances of each task only")
    parser.add_argument("--max-new-tokens", type=int, default=32)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-size", default="auto", help="of the transformers adapter")
    parser.add_argument("--engine-args", action="append", default=[], help="of vLLM: KEY=VALUE")
    parser.add_argument("--vllm-python", type=Path, help="an interpreter that has vLLM")
    parser.add_argument("--json", type=Path, help="write the record to this file")
    options = parser.parse_args()
    recorded("engine", options, compare)


if __name__ == "__main__":
    main()
