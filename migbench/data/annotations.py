"""Annotation files: their versions, and their instances, read a chunk at a time.

Two published files are known by their hash: ``original`` (the paper's, boxes in 0-1) and
``revised`` (UniVG-R1's, boxes in thousandths). Any other file is ``custom``: its boxes are in 0-1
unless the user declares another scale. Scores on different files must never be compared.
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedReader
from pathlib import Path

import msgspec
import numpy as np

from migbench import chunks
from migbench.chunks import Chunked
from migbench.data.clusters import number_clusters
from migbench.data.instances import Instance as Instance
from migbench.data.instances import InstanceBuilder
from migbench.data.records import find_records
from migbench.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class Version:
    """A known annotation file: its name in results, and the number that stands for 100 %."""

    name: str
    scale: float


KNOWN_VERSIONS = {
    "8f6e8fce3720dc6e17462533426d455463cda38b441edc2d70d65afa15681300": Version("original", 1),
    "69aea94deef1bd2a9f5e117068b7a325a82bc9c0d11881f98f29338fbe779791": Version("revised", 1000),
}
"""SHA-256 of ``MIG_data.json`` and ``revised_MIG_bench.json``."""


@dataclass(frozen=True)
class Annotations:
    """All instances of one annotation file, in its order, and their number by task.

    Instances are read from the file when they are asked for, a chunk at a time.
    """

    path: Path
    sha256: str
    version: str
    scale: float
    instances: Chunked[Instance]
    counts: Counter[str]

    @cached_property
    def by_id(self) -> dict[str, Instance]:
        """Instances by id, all in memory."""
        return {instance.id: instance for instance in self.instances}

    @cached_property
    def clusters(self) -> Sequence[int]:
        """Every instance's cluster: image sets that share an image, by any chain, are one.

        Answers within a cluster are not independent; clusters are the unit of standard errors.
        """
        return number_clusters(instance.images for instance in self.instances)

    def cluster_of(self, instance: Instance) -> int:
        """The cluster number of one of these instances."""
        return self.clusters[instance.index]


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that cannot be used: its place in the file, the line where it begins, and why.

    Places count from 0, lines from 1.
    """

    index: int
    line: int
    message: str


def read_annotations(path: Path, scale: float | None = None) -> Annotations:
    """Read an annotation file; boxes come out in 0-1.

    ``scale`` declares the number that stands for 100 % in a custom file (1 or 1000); a known file
    has its own. Raises `DataError` naming the file and the first bad records.
    """
    annotations, problems = inspect_annotations(path, scale)
    if problems:
        shown = "\n".join(
            f"  record {bad.index} (line {bad.line}): {bad.message}" for bad in problems[:5]
        )
        raise DataError(
            f"{path}: {len(problems)} malformed record(s):\n{shown}\n"
            f"`migbench data check {path}` lists them all"
        )
    if not annotations.instances:
        raise DataError(f"{path}: holds no instances")
    return annotations


def inspect_annotations(
    path: Path, scale: float | None = None
) -> tuple[Annotations, tuple[Problem, ...]]:
    """Read what can be read of an annotation file, and list the records that cannot.

    Raises `DataError` where the file as a whole is unusable, `UsageError` for a scale that cannot
    be one.
    """
    if scale is not None and not 0 < scale < math.inf:
        raise UsageError(f"--scale {scale:g}: a positive number is expected, such as 1 or 1000")
    with _opened(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        version = KNOWN_VERSIONS.get(digest, Version("custom", scale or 1))
        if scale is not None and scale != version.scale:
            raise DataError(f"{path}: is the {version.name} file, with scale {version.scale:g}")
        source = _Source(path, file, InstanceBuilder(version.scale))
    annotations = Annotations(
        path, digest, version.name, version.scale, source.instances, source.counts
    )
    return annotations, tuple(source.problems)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


class _Source:
    """An annotation file, read once to its end and then again wherever it is asked for.

    Of every instance, 24 bytes are kept: where its record begins and ends, and its place among all.
    """

    def __init__(self, path: Path, file: BufferedReader, builder: InstanceBuilder) -> None:
        """Check every record. Raises `DataError` where the file as a whole is unusable."""
        self._path = path
        self._builder = builder
        self._state = _state(file)
        self._starts, self._ends, self._indices = array("q"), array("q"), array("q")
        self.problems: list[Problem] = []
        self.counts = Counter[str]()
        names = array("Q")
        first: list[Instance] = []
        file.seek(0)
        for index, record in enumerate(find_records(path, file)):
            try:
                instance = builder.build(index, record.raw)
            except (ValueError, msgspec.ValidationError) as error:
                self.problems.append(Problem(index, record.line, str(error)))
                continue
            self._starts.append(record.start)
            self._ends.append(record.start + len(memoryview(record.raw)))
            self._indices.append(index)
            self.counts[instance.task] += 1
            names.append(builder.name_number(instance))
            if len(first) < chunks.CHUNK:
                first.append(instance)
        self._check(file)
        self._occurrences = _occurrences(names)
        first = [self._numbered(place, instance) for place, instance in enumerate(first)]
        self.instances = Chunked(len(self._starts), self._read, first)

    def _read(self, start: int, stop: int) -> list[Instance]:
        begin = self._starts[start]
        with _opened(self._path) as file:
            file.seek(begin)
            content = memoryview(file.read(self._ends[stop - 1] - begin))
            self._check(file)
        return [
            self._numbered(
                place,
                self._builder.build(
                    self._indices[place],
                    content[self._starts[place] - begin : self._ends[place] - begin],
                ),
            )
            for place in range(start, stop)
        ]

    def _numbered(self, place: int, instance: Instance) -> Instance:
        """The instance under an id of its own: exact duplicates after the first have a number."""
        number = self._occurrences.get(place)
        return instance if number is None else replace(instance, id=f"{instance.id}.{number}")

    def _check(self, file: BufferedReader) -> None:
        if _state(file) != self._state:
            raise DataError(f"{self._path}: was changed while it was in use; start again")


def _state(file: BufferedReader) -> tuple[int, int]:
    """What differs, as a rule, as soon as a file is written to."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _occurrences(names: array[int]) -> dict[int, int]:
    """For every place whose name occurred before, which occurrence it is: 2 or more."""
    numbers = np.frombuffer(names, np.uint64)
    order = np.argsort(numbers, kind="stable")
    again = numbers[order[1:]] == numbers[order[:-1]]
    found: dict[int, int] = {}
    for before, place in zip(order[:-1][again].tolist(), order[1:][again].tolist(), strict=True):
        found[place] = found.get(before, 1) + 1
    return found
