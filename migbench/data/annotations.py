"""Annotation files: their versions, and their instances.

Two published files are known by their content: ``original`` (the paper's, boxes in 0-1) and
``revised`` (UniVG-R1's, boxes in thousandths). Any other file is ``custom``: its boxes are in 0-1
unless the user declares another scale. Scores on different files must never be compared.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from migbench.data.clusters import number_clusters
from migbench.data.content import ContentHash
from migbench.data.instances import Instance as Instance
from migbench.data.instances import InstanceBuilder
from migbench.data.records import find_records, number_lines
from migbench.data.usability import Problem as Problem
from migbench.data.usability import obstacles
from migbench.data.versions import CUSTOM, KNOWN_VERSIONS, Identity, Version
from migbench.errors import DataError, UsageError
from migbench.util.input_files import BOM, read_raw
from migbench.util.json_files import INVALID, trouble


@dataclass(frozen=True)
class Annotations:
    """All instances of one annotation file, in its order."""

    path: Path
    identity: Identity
    version: str
    scale: float
    instances: tuple[Instance, ...]
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
    def counts(self) -> Counter[str]:
        """The number of instances by task."""
        return Counter(instance.task for instance in self.instances)

    @cached_property
    def by_id(self) -> dict[str, Instance]:
        """Instances by id."""
        return {instance.id: instance for instance in self.instances}

    @cached_property
    def clusters(self) -> Sequence[int]:
        """Every instance's cluster: image sets that share an image, by any chain, are one.

        Answers within a cluster are not independent; clusters are the unit of standard errors.
        """
        return number_clusters([instance.images for instance in self.instances])

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
    raw = read_raw(path)
    content = raw.removeprefix(BOM)
    records = find_records(path, content)
    complaints: dict[int, str] = {}
    content_sha256 = _hash_content(records, complaints)
    version = _find_version(path, content_sha256, scale)
    instances = _build(records, version.scale, complaints)
    problems = _problems(content, records, complaints)
    boxes = [each.box for each in instances] if version.name == CUSTOM else None
    annotations = Annotations(
        path=path,
        identity=Identity(content_sha256, hashlib.sha256(raw).hexdigest()),
        version=version.name,
        scale=version.scale,
        instances=tuple(instances),
        unusable_because=obstacles(problems, boxes, version.scale),
    )
    return annotations, problems


def _hash_content(records: Sequence[msgspec.Raw], complaints: dict[int, str]) -> str:
    """The file's content hash; adds a complaint for each record without a definite content."""
    content = ContentHash()
    for index, raw in enumerate(records):
        record = bytes(raw)
        try:
            content.add(record)
        except INVALID as error:
            complaints[index] = trouble(error, record)
    return content.hexdigest()


def _find_version(path: Path, content_sha256: str, scale: float | None) -> Version:
    """Which version it is. Raises `DataError` where a known one has another scale."""
    version = KNOWN_VERSIONS.get(content_sha256, Version(CUSTOM, scale or 1))
    if scale is not None and scale != version.scale:
        raise DataError(
            f"{path}: is the {version.name} file, with scale {version.scale:g}; leave --scale away"
        )
    return version


def _build(
    records: Sequence[msgspec.Raw], scale: float, complaints: dict[int, str]
) -> list[Instance]:
    """The instances of all records that can be used; adds a complaint for each other one."""
    builder = InstanceBuilder(scale)
    instances: list[Instance] = []
    for index, raw in enumerate(records):
        if index in complaints:
            continue
        try:
            instances.append(builder.build(index, raw))
        except INVALID as error:
            complaints[index] = trouble(error, bytes(raw))
    return instances


def _problems(
    content: bytes, records: Sequence[msgspec.Raw], complaints: dict[int, str]
) -> tuple[Problem, ...]:
    if not complaints:
        return ()
    return tuple(
        Problem(index, line, complaints[index])
        for index, line in enumerate(number_lines(content, records))
        if index in complaints
    )
