"""Writing a stage's data as LLaMA-Factory reads it: ``dataset_info.json`` and one file a source.

Every record is checked first. Records of a source go into one file, and ``num_samples`` tells
LLaMA-Factory how many of them to draw, which keeps the mixture's shares exactly; of a source with
fewer records some are drawn again.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from migbench.errors import DataError, UsageError
from migbench.mini.conversations import Conversation
from migtrain.recipe.mixtures import DataMixture
from migtrain.records.checking import RecordChecker, ValidationReport

DATASET_INFO = "dataset_info.json"
PREPARED = "prepared.json"


class PreparedSource(msgspec.Struct, frozen=True):
    """One source: valid records in its file, and how many examples are drawn from it."""

    records: int
    samples: int

    @property
    def epochs(self) -> float:
        """How many times the training goes through the source."""
        return self.samples / self.records


class Prepared(msgspec.Struct, frozen=True):
    """What lies in a prepared folder. ``images`` is the folder below which image paths lie.

    ``longest`` is the largest number of tokens of a record, counted or estimated; ``left_out`` are
    valid records of kinds that no source takes.
    """

    images: str
    cutoff_len: int
    image_max_pixels: int
    longest: int
    left_out: dict[str, int]
    sources: dict[str, PreparedSource]

    @property
    def examples(self) -> int:
        """How many examples a training has."""
        return sum(each.samples for each in self.sources.values())


def prepare(
    mixture: DataMixture,
    checker: RecordChecker,
    out: Path,
    *,
    examples: int | None = None,
    leave_out_invalid: bool = False,
) -> tuple[Prepared, ValidationReport]:
    """Check a mixture's records below ``checker.images``, and write them into the folder ``out``.

    Raises `UsageError` where ``out`` is not empty or a source has no files, and `DataError` where
    records are invalid, unless those are to be left out, or a source has none.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty; name a folder that is, or none")
    sources = _sources_by_file(mixture, checker.images)
    out.mkdir(parents=True, exist_ok=True)
    report, left_out = ValidationReport(), Counter[str]()
    records = dict.fromkeys(mixture.sources, 0)
    with ExitStack() as stack:
        targets = {
            name: stack.enter_context((out / f"{name}.jsonl").open("w", encoding="utf-8"))
            for name in records
        }
        for (file, kind), names in sources.items():
            for conversation in checker.valid_records(file, report, kind):
                taken = [name for name in names if _takes(mixture, name, conversation.kind)]
                for name in taken:
                    targets[name].write(_line(conversation))
                    records[name] += 1
                if not taken:
                    left_out[conversation.kind] += 1
    _require_usable(records, report, out, leave_out_invalid)
    samples = mixture.samples(records, examples)
    prepared = Prepared(
        images=str(checker.images.resolve()),
        cutoff_len=checker.cutoff_len,
        image_max_pixels=checker.counter.image_max_pixels,
        longest=report.longest,
        left_out=dict(left_out),
        sources={name: PreparedSource(records[name], samples[name]) for name in records},
    )
    info = {name: _dataset_entry(name, samples[name]) for name in records}
    (out / DATASET_INFO).write_text(json.dumps(info, indent=2) + "\n", "utf-8")
    (out / PREPARED).write_bytes(msgspec.json.format(msgspec.json.encode(prepared)) + b"\n")
    return prepared, report


def read_prepared(folder: Path) -> Prepared:
    """What lies in a prepared folder. Raises `UsageError` where it is none."""
    try:
        return msgspec.json.decode((folder / PREPARED).read_bytes(), type=Prepared)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"{folder}: holds no prepared data ({error}); make it with migtrain prepare"
        ) from error


def _sources_by_file(mixture: DataMixture, data: Path) -> dict[tuple[Path, str | None], list[str]]:
    """The sources that take records of each file: one that several name is read once."""
    sources: dict[tuple[Path, str | None], list[str]] = {}
    for name, spec in mixture.sources.items():
        for file in spec.find(data):
            sources.setdefault((file, spec.kind), []).append(name)
    return sources


def _takes(mixture: DataMixture, name: str, kind: str) -> bool:
    kinds = mixture.sources[name].kinds
    return not kinds or kind in kinds


def _line(conversation: Conversation) -> str:
    """What LLaMA-Factory reads of a record: all records of a file with the same entries."""
    record = conversation.record()
    return json.dumps(record, ensure_ascii=False) + "\n"


def _dataset_entry(name: str, samples: int) -> dict[str, object]:
    return {
        "file_name": f"{name}.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images"},
        "num_samples": samples,
    }


def _require_usable(
    records: dict[str, int], report: ValidationReport, out: Path, leave_out_invalid: bool
) -> None:
    """Raise `DataError`, and leave nothing behind, where the data cannot be trained on."""
    problem = None
    if report.invalid and not leave_out_invalid:
        shown = [str(each) for each in report.invalid[:20]]
        more = [f"and {len(report.invalid) - 20:,} more"] if len(report.invalid) > 20 else []
        problem = "\n  ".join(
            [
                f"{len(report.invalid):,} records cannot be trained on (mend them, or give "
                "--leave-out-invalid):",
                *shown,
                *more,
            ]
        )
    elif empty := [name for name, count in records.items() if not count]:
        problem = f"no valid record of {', '.join(empty)}"
    if problem:
        for name in records:
            (out / f"{name}.jsonl").unlink()
        with suppress(OSError):
            out.rmdir()
        raise DataError(problem)
