"""Annotation files: from JSON records to instances, image sets and clusters.

Two published files are known by their hash: ``original`` (the paper's, boxes in 0-1) and
``revised`` (UniVG-R1's, boxes in thousandths). Any other file is ``custom``: its boxes are in 0-1
unless the user declares another scale. Scores on different files must never be compared.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from migbench.boxes import Box
from migbench.errors import DataError, UsageError
from migbench.hashing import short_hash
from migbench.tasks import TaskSpec, load_tasks


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

Edges = Annotated[list[float], Meta(min_length=4, max_length=4)]


class Record(msgspec.Struct, frozen=True):
    """One record as it stands in the file."""

    task: str
    images: Annotated[list[str], Meta(min_length=1)]
    question: str
    answer: Edges
    additional_info: str = ""
    need_format: bool = True


@dataclass(frozen=True, slots=True)
class Instance:
    """One target box in one image of an image set, and the question that asks for it.

    ``target_image`` counts from 0. ``asked_image`` is the same where the question says in which
    image to look, else None. ``box`` is in 0-1 of the target image, defects kept.
    """

    id: str
    index: int
    task: str
    images: tuple[str, ...]
    question: str
    target_image: int
    asked_image: int | None
    box: Box

    @property
    def image_set(self) -> str:
        """A short name for the ordered images shown together."""
        return short_hash(*self.images)


@dataclass(frozen=True)
class Annotations:
    """All instances of one annotation file, in its order."""

    path: Path
    sha256: str
    version: str
    scale: float
    instances: tuple[Instance, ...]

    @cached_property
    def by_id(self) -> dict[str, Instance]:
        """Instances by id."""
        return {instance.id: instance for instance in self.instances}

    @cached_property
    def counts(self) -> Counter[str]:
        """Number of instances by task."""
        return Counter(instance.task for instance in self.instances)

    @cached_property
    def clusters(self) -> dict[str, int]:
        """Cluster number by instance id: instances whose image sets share an image, by any chain.

        Answers within a cluster are not independent; clusters are the unit of standard errors.
        """
        parent: dict[str, str] = {}

        def root(image: str) -> str:
            while (up := parent.setdefault(image, image)) != image:
                parent[image] = parent[up]
                image = up
            return image

        for instance in self.instances:
            first, *others = (root(image) for image in instance.images)
            for other in others:
                parent[other] = first
        numbers: dict[str, int] = {}
        return {
            instance.id: numbers.setdefault(root(instance.images[0]), len(numbers))
            for instance in self.instances
        }

    def cluster_of(self, instance: Instance) -> int:
        """The cluster number of one of these instances."""
        return self.clusters[instance.id]


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
    content = _read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    version = KNOWN_VERSIONS.get(digest, Version("custom", scale or 1))
    if scale is not None and scale != version.scale:
        raise DataError(f"{path}: is the {version.name} file, with scale {version.scale:g}")
    builder = _InstanceBuilder(load_tasks(), version.scale)
    instances: list[Instance] = []
    problems: list[Problem] = []
    end = 0
    for index, raw in enumerate(_split_records(path, content)):
        # Only commas and white space lie between two records, so the first match is the record.
        start = content.index(raw, end)
        end = start + len(memoryview(raw))
        try:
            instances.append(builder.build(index, raw))
        except (ValueError, msgspec.ValidationError) as error:
            problems.append(Problem(index, _line_at(content, start), str(error)))
    annotations = Annotations(path, digest, version.name, version.scale, tuple(instances))
    return annotations, tuple(problems)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _split_records(path: Path, content: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(content, type=list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise DataError(f"{path}: a JSON list of records is expected ({error})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}{_line_of(error, content)}: not valid JSON ({error})") from error
    except RecursionError as error:
        raise DataError(
            f"{path}: a JSON list of records is expected (nested too deeply)"
        ) from error


def _line_of(error: Exception, content: bytes) -> str:
    """``:LINE`` where the decoder says at which byte it stopped."""
    _, found, rest = str(error).partition("(byte ")
    if not found:
        return ""
    return f":{_line_at(content, int(rest.rstrip(')')))}"


def _line_at(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1


class _InstanceBuilder:
    """Turns records into instances; remembers ids, to number exact duplicates."""

    def __init__(self, tasks: Iterable[TaskSpec], scale: float) -> None:
        self.tasks = {spec.key: spec for spec in tasks}
        self.scale = scale
        self.decoder = msgspec.json.Decoder(Record)
        self.occurrences: Counter[str] = Counter()

    def build(self, index: int, raw: msgspec.Raw) -> Instance:
        """One instance. Raises ValueError or msgspec.ValidationError saying what is wrong."""
        record = self.decoder.decode(raw)
        spec = self.tasks.get(record.task)
        if spec is None:
            raise ValueError(
                f"task {record.task!r} has no task file (known: {', '.join(self.tasks)})"
            )
        images = tuple(normalise_path(image) for image in record.images)
        target, asked = spec.target_image.find(record.question, record.additional_info)
        if target is None:
            raise ValueError(f"does not say which image holds the target ({record.question!r})")
        if not 1 <= target <= len(images):
            raise ValueError(f"asks for image {target} of {len(images)}")
        return Instance(
            id=self._identify(record, images),
            index=index,
            task=record.task,
            images=images,
            question=record.question,
            target_image=target - 1,
            asked_image=None if asked is None else asked - 1,
            box=Box(*(edge / self.scale for edge in record.answer)),
        )

    def _identify(self, record: Record, images: tuple[str, ...]) -> str:
        name = f"{record.task}-{short_hash(*images, record.question)}"
        self.occurrences[name] += 1
        number = self.occurrences[name]
        return name if number == 1 else f"{name}.{number}"


def normalise_path(path: str) -> str:
    """An image path without leading ``./`` or doubled slashes: the same image, the same name.

    Raises ValueError for a path that is absolute or climbs out of the data folder.
    """
    # PurePosixPath would take a quarter of the time in which a run is scored.
    slashed = path.replace("\\", "/")
    parts = [part for part in slashed.split("/") if part not in ("", ".")]
    if "\0" in path:
        raise ValueError(f"image path {path!r} cannot be the name of a file")
    if slashed.startswith("/") or ".." in parts or not parts or ":" in parts[0]:
        raise ValueError(f"image path {path!r} leaves the data folder")
    return "/".join(parts)
