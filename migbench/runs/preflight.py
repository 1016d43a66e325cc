"""The preflight: what stands in the way of a run, found in seconds, before anything is spent.

Every check is about something that would else be found out after hours: a server that is not there,
an image that is missing, a dialect that is another family's. All that is found is told together.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from migbench.boxes import Original
from migbench.errors import MigbenchError, UsageError
from migbench.messages import Readiness
from migbench.models.adapters import adapter_arguments, find_adapter
from migbench.models.boundary import Failure, called
from migbench.models.checkpoint_config import dialects_in_profiles, dialects_of, model_type_of
from migbench.models.event_loop import EventLoop
from migbench.models.resolving import Model, load_profiles
from migbench.runs.plan import Plan

_ADAPTER_SECONDS = 10.0
_SHOWN = 3
_SIZES = 200
"""Images whose sizes are tried, evenly spread over all."""
_BYTES_PER_QUESTION = 8192
"""Two stored lines, their place in a table, and the like; answers of a few hundred tokens."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the way, by the name of its check, in one line that names the way out."""

    check: str
    text: str


def preflight(plan: Plan, out: Path | None, *, skip: Collection[str] = ()) -> list[Problem]:
    """What stands in the way of a run in the folder ``out``, if that is known, all of it.

    Nothing is started or written. ``skip`` names checks that are left out. Raises what
    `migbench.models.adapters.check_settings` would.
    """
    looks = _looks_at_images(plan.settings.model)
    checks: dict[str, Callable[[], Iterator[str]]] = {
        "images": lambda: _images(plan) if looks else iter(()),
        "sizes": lambda: _sizes(plan) if looks else iter(()),
        "folder": lambda: _folder(out) if out else iter(()),
        "disk": lambda: _disk(out, len(plan.questions)) if out else iter(()),
    }
    return [*model_problems(plan.settings.model, skip=skip), *_carried_out(checks, skip)]


def model_problems(model: Model, *, skip: Collection[str] = ()) -> list[Problem]:
    """What stands in the way of asking a model anything."""
    said = Readiness() if {"server", "dialect"} <= {*skip} else _ask_adapter(model)
    checks: dict[str, Callable[[], Iterator[str]]] = {
        "server": lambda: iter(said.problems),
        "dialect": lambda: _dialect(model, said),
    }
    return _carried_out(checks, skip)


def _carried_out(
    checks: Mapping[str, Callable[[], Iterator[str]]], skip: Collection[str]
) -> list[Problem]:
    return [
        Problem(check=name, text=text)
        for name, check in checks.items()
        if name not in skip
        for text in check()
    ]


CHECKS_OF_MODEL = {
    "server": "the model's server is reached, takes the key and serves the model",
    "dialect": "the dialect is that of the checkpoint's model_type",
}
CHECKS = {
    **CHECKS_OF_MODEL,
    "images": "every image is there",
    "sizes": "images can be opened, where boxes count in pixels",
    "folder": "the run folder can be written",
    "disk": "there is room for the answers",
}
"""The checks by name, with what holds after each."""


def refuse_problems(problems: Sequence[Problem]) -> None:
    """Raise `UsageError` that tells all problems, where there are any."""
    if not problems:
        return
    names = dict.fromkeys(each.check for each in problems)
    skip = " ".join(f"--skip-check {name}" for name in names)
    if len(problems) == 1:
        raise UsageError(f"{problems[0].text}; {skip} asks all the same")
    lines = [f"  {each.text}" for each in problems]
    raise UsageError(
        f"nothing was asked: {len(problems)} things stand in the way; {skip} asks all the same\n"
        + "\n".join(lines)
    )


def _ask_adapter(model: Model) -> Readiness:
    """What the adapter finds out by itself, if it has a way to."""
    hook = getattr(find_adapter(model.adapter), "preflight", None)
    if hook is None:
        return Readiness()
    arguments = adapter_arguments(model)
    with EventLoop() as loop:
        found = loop.run(called(lambda: hook(**arguments), _ADAPTER_SECONDS))
    if isinstance(found, Failure):
        return Readiness(problems=(found.message,))
    if not isinstance(found, Readiness):
        wrong = f"adapter {model.adapter}: preflight gave {type(found).__name__}, no Readiness"
        return Readiness(problems=(wrong,))
    return found


def _looks_at_images(model: Model) -> bool:
    """Whether images are needed, as far as the adapter's class says it."""
    return getattr(find_adapter(model.adapter), "needs_images", True) is not False


def _dialect(model: Model, said: Readiness) -> Iterator[str]:
    """Whether another dialect than the declared one is the checkpoint's.

    A profile's own dialect is not questioned, nor one that claims no ``model_type``: a model that
    was trained further may write otherwise than its family, and such dialects are made for it.
    """
    dialect = model.dialect
    profile = load_profiles().get(model.name)
    if not dialect.model_types or (profile and profile.dialect == dialect.name):
        return
    checkpoints = [*said.checkpoints, *([model.checkpoint] if model.checkpoint else [])]
    types = dict.fromkeys(said.model_types)
    for checkpoint in checkpoints:
        if (found := model_type_of(checkpoint, model.revision)) is not None:
            types[found] = None
    fitting = dialects_of(types) or dialects_in_profiles(checkpoints)
    if fitting and dialect.name not in fitting:
        because = f"its model_type is {', '.join(types)}" if types else "its profile says so"
        yield (
            f"--dialect {dialect.name}: {checkpoints[0]} writes boxes as --dialect "
            f"{' or '.join(fitting)} ({because})"
        )


def _images(plan: Plan) -> Iterator[str]:
    names = _names(plan)
    folder = plan.data.images
    if folder is None:
        yield "there is no image folder: name it with --images FOLDER"
        return
    missing: list[str] = []
    for name in names:
        try:
            image = plan.data.image(name)
        except MigbenchError as error:  # It leads out of the folder, or cannot be looked up.
            yield str(error)
            return
        if not image.is_there:
            missing.append(name)
    if missing:
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        yield (
            f"{len(missing):,} of {len(names):,} images are not below {folder.root}: "
            f"{', '.join(missing[:_SHOWN])}{more}; name their folder with --images, or complete it "
            "with `migbench data download`"
        )


def _sizes(plan: Plan) -> Iterator[str]:
    """Whether sizes in pixels can be had, of some images that are there."""
    dialect = plan.settings.model.dialect
    if not dialect.needs_size and isinstance(dialect.frame, Original):
        return
    names = _names(plan)
    unreadable: list[str] = []
    for name in names[:: max(1, len(names) // _SIZES)]:
        try:
            image = plan.data.image(name)
            if image.is_there:
                image.size()
        except MigbenchError as error:
            unreadable.append(str(error))
    if unreadable:
        yield (
            f"dialect {dialect.name} counts in pixels, and sizes of images cannot be read: "
            f"{unreadable[0]}; `migbench data check` names all such images"
        )


def _folder(out: Path) -> Iterator[str]:
    place = _existing(out)
    if not place.is_dir():
        yield f"--out {out}: {place} is a file; choose another place"
    elif not os.access(place, os.W_OK | os.X_OK):
        yield f"--out {out}: you may not write in {place}; choose another place"


def _disk(out: Path, questions: int) -> Iterator[str]:
    place = _existing(out)
    needed = questions * _BYTES_PER_QUESTION
    free = shutil.disk_usage(place).free
    if free < needed:
        yield (
            f"--out {out}: {free / 1e6:,.0f} MB are free there, and {questions:,} answers may need "
            f"{needed / 1e6:,.0f} MB; free some space, or choose another place"
        )


def _names(plan: Plan) -> list[str]:
    """Every image of the questions once, in their order."""
    return [*dict.fromkeys(name for question in plan.questions for name in question.images)]


def _existing(path: Path) -> Path:
    """The path, or the nearest above it that exists."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
