"""Write docs/first-hour.md: what a newcomer meets in the first hour, as it happens when it is run.

    python docs/first_hour.py docs/first-hour.md

MIG-Mini is rendered, `tests/support/local_server.py` stands in for a model's server, and every
command below is run in an empty folder. Ports, folders and hashes are not shown as they are, nor
are tables of scores, so that the page changes with what it is about alone.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.local_server import Behaviour, LocalServer  # noqa: E402

KEY = "sk-right-0123456789"
QUICK = 5.0
"""Seconds within which a command that cannot work says so."""


@dataclass(frozen=True)
class Step:
    """A command, what it shows, and what is to come of it."""

    title: str
    about: str
    command: str
    status: int
    tells: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    is_refused: bool = False
    """Then it ends within `QUICK`, and leaves no run folder."""


@dataclass(frozen=True)
class Done:
    """What came of a step."""

    step: Step
    status: int
    output: str
    seconds: float
    left: bool


def steps(url: str, locked: str) -> Iterator[Step]:
    """The situations, in their order; ``locked`` is a server that asks for a key."""
    run = "migbench run --model tiny --adapter openai"
    served = f"{run} --endpoint {url}"
    yield Step(
        "Data and a model",
        "The miniature needs neither download nor GPU. The server is any that speaks OpenAI's API.",
        "migbench data mini mini --per-task 10",
        0,
        ("next: migbench run",),
    )
    yield Step(
        "A wrong port",
        "Nothing is asked before the server was reached; nothing is left behind.",
        f"{run} --endpoint http://127.0.0.1:9/v1 --dialect qwen2-vl --data mini --out results/tiny",
        2,
        ("nothing listens at 127.0.0.1:9", "are host and port right?"),
        is_refused=True,
    )
    yield Step(
        "A wrong key",
        "The variable that holds the key is named, and never the key.",
        f"{run} --endpoint {locked} --dialect qwen2-vl --data mini --out results/tiny",
        2,
        ("401", "OPENAI_API_KEY, which is set; is it the key of this server?"),
        {"OPENAI_API_KEY": "sk-wrong-0123456789"},
        is_refused=True,
    )
    yield Step(
        "A model that is not served",
        "The names that are served are listed.",
        f"{served.replace('--model tiny', '--model huge')} --dialect qwen2-vl --data mini "
        "--out results/tiny",
        2,
        ("does not serve huge, but tiny", "--model NAME"),
        is_refused=True,
    )
    yield Step(
        "Missing images",
        "All of them are counted, and the first are named. Several troubles are told together.",
        f"{run} --endpoint http://127.0.0.1:9/v1 --dialect qwen2-vl --data part --out results/tiny",
        2,
        ("2 things stand in the way", "images are not below", "nothing listens"),
        is_refused=True,
    )
    yield Step(
        "A dialect of another family",
        "A checkpoint's `config.json` says what it is, and so does what a server says of itself.",
        "migbench run --model checkpoint --dialect internvl --data mini --out results/tiny",
        2,
        ("writes boxes as --dialect qwen2-vl", "model_type is qwen2_vl"),
        is_refused=True,
    )
    yield Step(
        "A dialect that no file contradicts",
        "The first answer is shown as it was parsed. After fifty answers without boxes the run "
        "says so, with the dialect that reads them, and in the end the status is 1.",
        f"{served} --dialect gemini --data mini --out results/wrong",
        1,
        (
            "50 of the first 50 answers hold no box",
            "they can be read with --dialect qwen2-vl",
            "migbench doctor --run results/wrong",
        ),
    )
    yield Step(
        "The right one",
        "This stand-in answers at random, in Qwen2-VL's form: the boxes are read, and miss.",
        f"{served} --dialect qwen2-vl --data mini --out results/tiny --save-config tiny.yaml",
        0,
        ("first question", "parsed by dialect qwen2-vl: a box in image"),
    )
    yield Step(
        "The same again",
        "A finished run starts no model and asks no server.",
        "migbench run --config tiny.yaml",
        0,
        ("every question is answered already; no model was started",),
    )
    yield Step(
        "One question, with one's own images",
        "The quickest way to see what a model does.",
        f"migbench ask --model tiny --adapter openai --endpoint {url} --dialect qwen2-vl "
        "--image mini/images/diff/00000_1.png --image mini/images/diff/00000_2.png "
        '"Where does image 2 differ?"',
        0,
        ("Box in image 2", "Picture: answer.png"),
    )


def play(folder: Path) -> Iterator[Done]:
    """Run every step in this folder."""
    served = Behaviour(model="tiny", delay=0.002)
    locked = Behaviour(model="tiny", key=KEY)
    with LocalServer(served) as server, LocalServer(locked) as closed:
        for step in steps(server.base_url, closed.base_url):
            done = _run(step, folder)
            for _ in range(3):
                if step.is_refused and done.seconds > QUICK:
                    done = _run(step, folder)  # The machine was busy with something else.
            yield done
            if step.command.startswith("migbench data mini"):
                _prepare(folder)


def _prepare(folder: Path) -> None:
    """A part of the data, and the folder of a checkpoint."""
    (folder / "part").mkdir()
    (folder / "part" / "MIG_mini.json").write_bytes((folder / "mini/MIG_mini.json").read_bytes())
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "config.json").write_text('{"model_type": "qwen2_vl"}')


def _run(step: Step, folder: Path) -> Done:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"},
        "HF_HUB_OFFLINE": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **(step.environment or {}),
    }
    started = time.monotonic()
    process = subprocess.run(
        shlex.split(step.command),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    seconds = time.monotonic() - started
    left = (folder / "results" / "tiny").exists()
    return Done(step, process.returncode, process.stdout, seconds, left)


def problems(done: Done) -> Iterator[str]:
    """What did not come as the step says."""
    step = done.step
    if done.status != step.status:
        yield f"{step.title}: status {done.status}, not {step.status}:\n{done.output}"
    for text in step.tells:
        if text not in done.output:
            yield f"{step.title}: does not say {text!r}:\n{done.output}"
    if step.is_refused and done.left:
        yield f"{step.title}: leaves a run folder behind"
    if step.is_refused and done.seconds > QUICK:
        yield f"{step.title}: takes {done.seconds:.1f} s"


def page(every: list[Done]) -> str:
    """The transcript as Markdown."""
    parts = [
        "# The first hour",
        "What goes wrong with a new model, and what is said about it. This page is the transcript "
        "of `docs/first_hour.py`, which runs every command; a test runs the same. Each that cannot "
        f"work ends in less than {QUICK:.0f} seconds with the way out, and leaves nothing behind.",
    ]
    for done in every:
        step = done.step
        variables = "".join(f"{name}={value} " for name, value in (step.environment or {}).items())
        command = _steady(f"{variables}{step.command}").replace(
            " --endpoint", " \\\n    --endpoint"
        )
        output = _steady(_without_tables(done.output))
        parts.append(
            f"## {step.title}\n\n{step.about}\n\n```console\n$ {command}\n```\n\n"
            f"```text\n{output}\n```\n\nExit status: {done.status}."
        )
    return "\n\n".join(parts) + "\n"


_SHOWN = re.compile(r"(migbench: |  \S|Run: |results/|mini/|Answer: |Box in|Picture: )")


def _without_tables(text: str) -> str:
    """The lines that say something; scores are cut out."""
    lines = [line if _SHOWN.match(line) else "[…]" for line in text.splitlines()]
    return re.sub(r"(\[…\]\n)+", "[…]\n", "\n".join([*lines, ""])).rstrip()


def _steady(text: str) -> str:
    """What is shown of a text: no port, folder or hash of this very run."""
    text = re.sub(r"127\.0\.0\.1:(?!9\b)\d+", "127.0.0.1:8000", text)
    text = re.sub(r"\brun [0-9a-f]{12}\b", "run 0123456789ab", text)
    return re.sub(r"/\S*/migbench-first-hour-[^/\s]+/", "", text)


def main() -> None:
    """Run it, and write the page where the command line says."""
    with tempfile.TemporaryDirectory(prefix="migbench-first-hour-") as folder:
        every = list(play(Path(folder)))
    if found := [problem for done in every for problem in problems(done)]:
        raise SystemExit("\n".join(found))
    Path(sys.argv[1]).write_text(page(every), encoding="utf-8")


if __name__ == "__main__":
    main()
