"""The tasks: what each of them is, read from the YAML files that lmms-eval reads too.

The top-level keys of a task file belong to lmms-eval; what migbench needs stands under
``metadata``. A new task is a new file; no Python.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from pathlib import Path

import msgspec

from migbench.errors import DataError, UsageError
from migbench.util.ordinals import ordinal
from migbench.util.suggestions import did_you_mean
from migbench.util.yaml_files import as_record, read_yaml

GROUP_FILE = "migbench.yaml"


class TargetImage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which image of the set holds the target; images count from 1, as in the questions.

    Either it is ``always`` the same one, or a field of the record names it, where ``pattern``
    finds the ordinal; ``default`` is taken where it does not.
    """

    always: int | None = None
    named_by: str | None = None
    pattern: str = ""
    default: int | None = None

    def __post_init__(self) -> None:
        if (self.always is None) == (self.named_by is None):
            raise ValueError("give either 'always' or 'named_by'")
        if self.named_by not in (None, "question", "additional_info"):
            raise ValueError("'named_by' is question or additional_info")
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise ValueError(f"'pattern' is not a regular expression ({error})") from error
        if self.named_by and groups != 1:
            raise ValueError("'pattern' needs one group, around the ordinal")

    @property
    def is_left_open(self) -> bool:
        """Whether the question does not say which image to look in, nor the task."""
        return self.named_by == "additional_info"

    def find(self, question: str, additional_info: str) -> tuple[int | None, int | None]:
        """The image that holds the target and the image that the question asks for, from 1.

        The second is None where the question leaves open which image to look in. The first is None
        where the record does not say, which is a defect of the record.
        """
        if self.always is not None:
            return self.always, self.always
        match = re.search(
            self.pattern, question if self.named_by == "question" else additional_info
        )
        number = ordinal(match.group(1)) if match else None
        if number is None:
            return self.default, None
        return number, number if self.named_by == "question" else None


class Noun(StrEnum):
    """What an answer to a question about several boxes calls them by."""

    IMAGE = "image"
    REGION = "region"
    """A picture cut out of the first image; region 1 is the second image."""


class AllAtOnce(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one question for all targets of an image set; its wordings are ours.

    ``pattern`` finds, in an instance's own question, which image or region it asks for.
    ``question`` has ``{box}``, the reference box. ``ground``, the second step of a multi-image
    chain of thought, has ``{question}`` and ``{description}``.
    """

    noun: Noun
    pattern: str
    question: str
    ground: str

    def number(self, question: str) -> int | None:
        """Which image or region an instance's own question asks for, from 1."""
        match = re.search(self.pattern, question)
        return ordinal(match.group(1)) if match else None


class Steps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The two steps of a chain of thought in one prompt set.

    ``describe`` has ``{question}``, ``{stem}`` (without its closing request to locate), ``{box}``
    (the reference box), ``{choices}`` (the images' names) and ``{picture}`` (the asked region's
    place among the images). ``ground`` has ``{question}`` and ``{description}``.
    """

    describe: str
    ground: str


class Departure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the published script words one family's step 1 differently."""

    dialect: str
    strategy: str
    describe: str


class ChainOfThought(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a task is asked in two steps (paper, appendix; or the published script).

    Step 1 chooses the image of step 2 where ``chooses_image``; else it is the target's. ``look``
    is how a multi-image step 2 names it: ``the {ordinal} image`` or ``Image{number}``.
    """

    look: str
    chooses_image: bool = False
    paper: Steps
    released: Steps
    departures: tuple[Departure, ...] = ()


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task. ``key`` is its name in the annotation file, ``column`` its name in Table 1."""

    key: str
    title: str
    column: str
    group: str
    subgroup: str
    target_image: TargetImage
    instances: dict[str, int] = {}
    """How many instances each known version of the data has."""
    all_at_once: AllAtOnce | None = None
    """None: the task asks the same in both forms."""
    chain_of_thought: ChainOfThought | None = None


@cache
def tasks_folder() -> Path:
    """Where the task files lie: inside the installed package, or beside it in a clone."""
    package = Path(__file__).parent
    packaged = package / "_tasks"
    return packaged if packaged.is_dir() else package.parent / "tasks"


@cache
def find_task(key: str) -> TaskSpec:
    """The task of this key in the annotation file, which is known to exist."""
    return next(spec for spec in load_tasks() if spec.key == key)


@cache
def load_tasks(folder: Path | None = None) -> tuple[TaskSpec, ...]:
    """All tasks, in the column order of Table 1 (the order of the group file).

    Tasks that the group file does not list follow, by name. Raises `DataError`.
    """
    folder = folder or tasks_folder()
    paths = {path.stem: path for path in folder.glob("*.yaml") if path.name != GROUP_FILE}
    group = read_yaml(folder / GROUP_FILE).get("task", [])
    if unknown := [name for name in group if name not in paths]:
        raise DataError(f"{folder / GROUP_FILE}: no file for the tasks {', '.join(unknown)}")
    ordered = [*group, *sorted(paths.keys() - set(group))]
    return tuple(_read_task(paths[name]) for name in ordered)


def _read_task(path: Path) -> TaskSpec:
    content = read_yaml(path)
    if "metadata" not in content:
        raise DataError(f"{path}: a task file of migbench needs the key 'metadata'")
    return as_record(content["metadata"], TaskSpec, path)


def task_hashes() -> dict[str, str]:
    """SHA-256 of every task's file, by key: a run records them."""
    return {
        spec.key: hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()
        for spec in load_tasks()
    }


def select_tasks(names: Iterable[str]) -> tuple[TaskSpec, ...]:
    """The tasks of these names (key or Table 1 column, any case), in Table 1's order.

    No names: all tasks. Raises `UsageError` for a name that no task has.
    """
    tasks = load_tasks()
    known = {name.lower(): spec.key for spec in tasks for name in (spec.key, spec.column)}
    wanted = {name.strip().lower() for name in names}
    if unknown := sorted(wanted - known.keys()):
        choices = ", ".join(f"{spec.key} ({spec.column})" for spec in tasks)
        meant = "".join(did_you_mean(name, known) for name in unknown[:1])
        raise UsageError(f"no task is called {', '.join(unknown)}{meant}; choose from {choices}")
    keys = {known[name] for name in wanted}
    return tuple(spec for spec in tasks if spec.key in keys or not keys)
