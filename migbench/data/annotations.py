"""Annotation files: their versions, and their instances, read a chunk at a time.

Two published files are known by their content: ``original`` (the paper's, boxes in 0-1) and
``revised`` (UniVG-R1's, boxes in thousandths). Any other file is ``custom``: its boxes are in 0-1
unless the user declares another scale. Scores on different files must never be compared.
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedReader
from pathlib import Path

import numpy as np

from migbench.data import chunks
from migbench.data.chunks import Chunked
from migbench.data.clusters import number_clusters
from migbench.data.content import ContentHash
from migbench.data.instances import Instance as Instance
from migbench.data.instances import InstanceBuilder
from migbench.data.records import find_records
from migbench.data.usability import Problem as Problem
from migbench.data.usability import ScaleCheck, obstacles
from migbench.data.versions import CUSTOM, KNOWN_VERSIONS, Identity, Version
from migbench.errors import DataError, UsageError
from migbench.util.input_files import open_regular
from migbench.util.json_files import INVALID, trouble


@dataclass(frozen=True)
class Annotations:
    """All instances of one annotation file, in its order, and their number by task.

    Instances are read from the file when they are asked for, a chunk at a time.
    """

    path: Path
    identity: Identity
    version: str
    scale: float
    instances: Chunked[Instance]
    counts: Counter[str]
    unusable_because: tuple[str, ...] = ()
    """Why scores on this file would mean nothing; empty where a run can be made of it."""

    @property
    def content_sha256(self) -> str:
        """What the file is known by (`migbench.data.content`)."""
        assert self.identity.content_sha256 is not None, "it was read"
        return self.identity.content_sha256

    @property
    def sha256(self) -> str:
        """Of the file's bytes, as it was read."""
        assert self.identity.file_sha256 is not None, "it was read"
        return self.identity.file_sha256

    def require_usable(self) -> None:
        """Raise `DataError`, in the words of ``data check``, where scores would mean nothing."""
        if self.unusable_because:
            raise DataError(f"{self.path}: not usable: {'; '.join(self.unusable_because)}")

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


def read_annotations(path: Path, scale: float | None = None) -> Annotations:
    """Read an annotation file; boxes come out in 0-1.

    ``scale`` declares the number that stands for 100 % in a custom file (1 or 1000); a known file
    has its own. Raises `DataError` naming the file and the first bad records. Whether the boxes can
    be meant in this scale is not asked here: see `Annotations.require_usable`.
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
    with open_regular(path) as file:
        file_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        source = _Source(path, file, scale)
    annotations = Annotations(
        path=path,
        identity=Identity(source.content_sha256, file_sha256),
        version=source.version.name,
        scale=source.version.scale,
        instances=source.instances,
        counts=source.counts,
        unusable_because=source.obstacles,
    )
    return annotations, tuple(source.problems)


class _Source:
    """An annotation file, read once to its end and then again wherever it is asked for.

    Of every instance, 24 bytes are kept: where its record begins and ends, and its place among all.
    """

    def __init__(self, path: Path, file: BufferedReader, scale: float | None) -> None:
        """Check every record. Raises `DataError` where the file as a whole is unusable."""
        self._path = path
        self._builder = builder = InstanceBuilder(scale or 1)
        self._state = _state(file)
        self._starts, self._ends, self._indices = array("q"), array("q"), array("q")
        self.problems: list[Problem] = []
        self.counts = Counter[str]()
        names = array("Q")
        first: list[Instance] = []
        content = ContentHash()
        boxes = ScaleCheck()
        file.seek(0)
        for index, record in enumerate(find_records(path, file)):
            try:
                content.add(bytes(record.raw))
                instance = builder.build(index, record.raw)
            except INVALID as error:
                message = trouble(error, bytes(record.raw))
                self.problems.append(Problem(index, record.line, message))
                continue
            except ValueError as error:
                self.problems.append(Problem(index, record.line, str(error)))
                continue
            boxes.add(instance.box)
            self._starts.append(record.start)
            self._ends.append(record.start + len(memoryview(record.raw)))
            self._indices.append(index)
            self.counts[instance.task] += 1
            names.append(builder.name_number(instance))
            if len(first) < chunks.CHUNK:
                first.append(instance)
        self._check(file)
        self.content_sha256 = content.hexdigest()
        self.version = self._find_version(scale)
        known = self.version.name != CUSTOM
        self.obstacles = obstacles(self.problems, None if known else boxes, builder.scale)
        self._occurrences = _occurrences(names)
        if builder.scale != self.version.scale:
            builder.scale = self.version.scale
            first = []  # Made again, in the file's own scale, when it is asked for.
        first = [self._numbered(place, instance) for place, instance in enumerate(first)]
        self.instances = Chunked(len(self._starts), self._read, first)

    def _find_version(self, scale: float | None) -> Version:
        """Which version it is. Raises `DataError` where a known one has another scale."""
        version = KNOWN_VERSIONS.get(self.content_sha256, Version(CUSTOM, self._builder.scale))
        if scale is not None and scale != version.scale:
            raise DataError(
                f"{self._path}: is the {version.name} file, with scale {version.scale:g}; "
                "leave --scale away"
            )
        return version

    def _read(self, start: int, stop: int) -> list[Instance]:
        begin = self._starts[start]
        with open_regular(self._path) as file:
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
