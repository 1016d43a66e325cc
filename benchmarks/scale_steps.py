"""The two steps of `scale.py`, each run in a process of its own: ``write`` a run, ``score`` it.

Used as ``scale_steps.py write SMALL.json FOLDER --answers 40000`` and as
``scale_steps.py score FOLDER``.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from migbench.data.annotations import Instance, read_annotations
from migbench.messages import Answer
from migbench.models.resolving import resolve_model
from migbench.runs.answer_lines import AnswerLine, encode_line
from migbench.runs.answers_file import ANSWERS
from migbench.runs.environment import new_manifest
from migbench.runs.hash_chain import ChainEnd
from migbench.runs.manifest import write_manifest
from migbench.runs.plan import source_of
from migbench.runs.run_hash import run_hash
from migbench.runs.settings import Settings
from migbench.runs.store import Run
from migbench.runs.stored import stored_findings
from migbench.scoring.scored_run import score_run
from migbench.tasks import task_hashes


def write(small: Path, folder: Path, answers: int, seed: int) -> None:
    """Write ``answers`` instances, the small file's over and over, and a run that answers them."""
    path = folder / "annotations.json"
    folder.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as file:
        repeated = itertools.islice(_repeated(json.loads(small.read_text())), answers)
        file.writelines(
            f"{',' if number else '['}\n{json.dumps(record)}"
            for number, record in enumerate(repeated)
        )
        file.write("\n]\n")
    annotations = read_annotations(path)
    settings = Settings(
        model=resolve_model("qwen2-vl-7b"),
        annotations=source_of(annotations),
        tasks={key: value for key, value in task_hashes().items() if annotations.counts[key]},
    )
    manifest = new_manifest(settings, answers, origin="made up")
    (folder / "run").mkdir()
    draws = random.Random(seed)
    end = ChainEnd()
    with (folder / "run" / ANSWERS).open("wb") as lines:
        for instance in annotations.instances:
            line, end = end.followed_by(encode_line(_answered(instance, draws)))
            lines.write(line)
    complete = msgspec.structs.replace(manifest, status="complete", answered=answers)
    write_manifest(folder / "run", complete, end)


def _repeated(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for copy in itertools.count():
        for record in records:
            images = [f"./copy{copy}/{image.removeprefix('./')}" for image in record["images"]]
            yield record | {"images": images}


def _answered(instance: Instance, draws: random.Random) -> AnswerLine:
    """A line as a run stores it: mostly boxes near the truth, some without a box, some refused."""
    kind = draws.random()
    edges = [round(1000 * edge) + draws.randint(-40, 40) for edge in instance.box]
    text = "<|box_start|>({},{}),({},{})<|box_end|>".format(*edges)
    if kind < 0.05:
        text = "I'm sorry, but I cannot find it in any of the images."
    elif kind < 0.1:
        text = "It stands to the left of the tree."
    elif kind < 0.2:
        text = f"Image-{instance.target_image + 1}: {text}"
    return AnswerLine(
        question=instance.id,
        key=hashlib.sha256(instance.id.encode()).hexdigest(),
        prompt=instance.question,
        answer=Answer(
            text, prompt_tokens=1500, completion_tokens=20, seconds=draws.uniform(0.1, 2.0)
        ),
    )


def score(folder: Path) -> dict[str, float]:
    """Find and score the answers as ``migbench score`` does; CPU seconds of both, the accuracy.

    Hashing the run is a part of scoring; holding it against its links is what `verify` does more.
    """
    started = time.process_time()
    run = Run(folder / "run")
    read = time.process_time()
    scored = score_run(run)
    done = time.process_time()
    run_hash(run)
    hashed = time.process_time()
    if findings := list(stored_findings(run.folder, run.manifest)):
        raise SystemExit(findings[0].message)
    return {
        "answers": len(scored.samples),
        "read_seconds": read - started,
        "score_seconds": done - read,
        "hash_seconds": hashed - done,
        "links_seconds": time.process_time() - hashed,
        "accuracy": scored.scores.macro.at_50 or 0.0,
    }


def main() -> None:
    """Read the options and do one step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    writing = steps.add_parser("write")
    writing.add_argument("small", type=Path)
    writing.add_argument("folder", type=Path)
    writing.add_argument("--answers", type=int, required=True)
    writing.add_argument("--seed", type=int, default=0)
    scoring = steps.add_parser("score")
    scoring.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.step == "write":
        write(options.small, options.folder, options.answers, options.seed)
    else:
        print(json.dumps(score(options.folder)))


if __name__ == "__main__":
    main()
