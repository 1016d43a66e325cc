"""Scoring time and memory as runs grow: 4 thousand, 40 thousand and 400 thousand answers.

    python benchmarks/scale.py --json scale.json
    python benchmarks/scale.py --largest           # 4 million as well

A rendered MIG-Mini is repeated under new image names, answered by draws from a seed, and scored
under the standard protocol; each size in a process of its own. Linear means that each size takes
ten times as long as the one before it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import measured, recorded, table

STEPS = str(Path(__file__).parent / "scale_steps.py")
SIZES = (4_000, 40_000, 400_000)
LARGEST = 4_000_000


@dataclass(frozen=True)
class Size:
    """One size's figures: CPU seconds of reading the answers, and of all else that scoring does.

    ``hash_seconds`` are those of the run's hash, a part of scoring; ``links_seconds`` those of
    holding every line against its link, which `migbench verify` does beside.
    """

    answers: int
    read_seconds: float
    score_seconds: float
    hash_seconds: float
    links_seconds: float
    peak_mb: float
    accuracy: float

    @property
    def seconds(self) -> float:
        """Both together; the interpreter's start is not in it."""
        return self.read_seconds + self.score_seconds


def measure(answers: int, small: Path, folder: Path, seed: int) -> Size:
    """Write a run of this size, score it, and delete it."""
    run = folder / f"{answers}"
    command = [sys.executable, STEPS, "write", str(small), str(run)]
    measured([*command, f"--answers={answers}", f"--seed={seed}"], folder / "write.err")
    used = measured([sys.executable, STEPS, "score", str(run)], folder / "score.err")
    shutil.rmtree(run)
    return Size(peak_mb=used.peak_mb, **json.loads(used.output))


def show(sizes: Sequence[Size]) -> str:
    """The table; ratios are to the size before, as multiples of what it has more answers."""
    header = ["Answers", "Read s", "Score s", "of it hash", "Links s", "Answers/s", "Peak MB"]
    header += ["x time", "x MB", "x answers"]
    rows = []
    for before, one in zip([None, *sizes], sizes, strict=False):
        ratios = ["", "", ""]
        if before is not None:
            ratios = [
                f"{one.seconds / before.seconds:.1f}",
                f"{one.peak_mb / before.peak_mb:.1f}",
                f"{one.answers / before.answers:.1f}",
            ]
        rows.append(
            [
                f"{one.answers:,}",
                f"{one.read_seconds:.2f}",
                f"{one.score_seconds:.2f}",
                f"{one.hash_seconds:.2f}",
                f"{one.links_seconds:.2f}",
                f"{one.answers / one.seconds:,.0f}",
                f"{one.peak_mb:.0f}",
                *ratios,
            ]
        )
    return f"{table(header, rows)}\n\nThe last three columns compare with the line above."


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Measure every size, and print the table."""
    numbers = [int(number) for number in options.sizes.split(",")] if options.sizes else [*SIZES]
    numbers += [LARGEST] * options.largest
    mini = [sys.executable, "-m", "migbench", "data", "mini", str(folder / "mini")]
    measured([*mini, f"--seed={options.seed}"], folder / "mini.err")
    small = folder / "mini" / "MIG_mini.json"
    sizes = [measure(number, small, folder, options.seed) for number in numbers]
    print(show(sizes))
    return {"sizes": [asdict(one) | {"seconds": one.seconds} for one in sizes]}


def main() -> None:
    """Read the options, compare, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", help="numbers of answers, comma-separated")
    parser.add_argument("--largest", action="store_true", help="4 million answers as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record to this file")
    recorded("scale", parser.parse_args(), compare)


if __name__ == "__main__":
    main()
