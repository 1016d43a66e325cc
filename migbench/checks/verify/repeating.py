"""Repeating a run from its manifest, and telling what the two have answered differently."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from migbench.checks.verify.changes import model_changes
from migbench.checks.verify.received import Given
from migbench.data.annotations import Annotations
from migbench.data.images import DataLocation, Images, folder_of, image_search, locate_data
from migbench.dialects import PromptSet
from migbench.errors import UsageError
from migbench.models.resolving import Model, merged_settings
from migbench.runs.findings import Finding, FindingKind, changed
from migbench.runs.fingerprints import adapter_file
from migbench.runs.manifest import Manifest
from migbench.runs.plan import Plan, make_plan
from migbench.runs.selection import questions_of
from migbench.runs.settings import differences
from migbench.runs.store import Run
from migbench.scoring.scored_run import images_of


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How the answers of two runs of the same questions compare, turn by turn.

    ``same`` and ``different`` count turns that both have answered; ``only_first`` and
    ``only_second`` those that one of them has. ``examples`` are questions with different answers.
    """

    same: int
    different: int
    only_first: int
    only_second: int
    examples: list[str]

    @property
    def complete(self) -> bool:
        """Whether both have given the same answers."""
        return not (self.different or self.only_first or self.only_second)


def data_of_run(manifest: Manifest, data: Path | None, images: Images) -> DataLocation:
    """Where the run's data are: where they were, or where the user says they are now.

    The image folder of a received run is the user's alone to say. Raises `UsageError` where the
    data are not there.
    """
    if data is not None:
        return locate_data(data, images)
    path = Path(manifest.settings.annotations.path)
    if not path.is_file():
        raise UsageError(f"{path}: the run's annotation file is gone; pass --data")
    search = image_search(images)
    folder = search.folder or images_of(manifest)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: the run's image folder is gone; pass --images, or --data")
    if folder is None:
        return DataLocation(path, None)
    return DataLocation(path, folder_of(replace(search, folder=folder), path.parent))


def model_again(manifest: Manifest, given: Given) -> Model:
    """The model that the run asked, with what the user says anew. Loads no code.

    Raises `UsageError` where there is no model to ask: answers were imported; or where the run
    trusted code that comes with a checkpoint, which no file may decide, and the user does not.
    """
    old = manifest.settings.model
    if manifest.origin != "run" and not manifest.origin.startswith("shards "):
        raise UsageError(
            f"its answers were imported from {manifest.origin}: there is no model to ask again"
        )
    if _trusts_code(old.settings) and not _trusts_code(given.settings):
        raise UsageError(
            "it ran code that came with the checkpoint; say that this is to be trusted: "
            "--model-arg trust_remote_code=true"
        )
    return msgspec.structs.replace(
        old,
        adapter=_adapter_again(manifest, given.adapter_file),
        checkpoint=given.checkpoint or old.checkpoint,
        settings=merged_settings(old.settings, given.settings),
    )


def plan_again(manifest: Manifest, data: DataLocation, model: Model) -> Plan:
    """The plan that the run carried out."""
    old = manifest.settings
    return make_plan(
        model,
        data,
        scale=old.annotations.scale if old.annotations.version == "custom" else None,
        tasks=old.tasks,
        limit=old.limit,
        shard=old.shard,
        evaluator=old.evaluator,
        strategy=old.strategy,
        prompts=PromptSet(old.prompts),
    )


def _trusts_code(settings: Mapping[str, Any]) -> bool:
    inner = [value for value in settings.values() if isinstance(value, Mapping)]
    return bool(settings.get("trust_remote_code")) or any(map(_trusts_code, inner))


def _adapter_again(manifest: Manifest, file: Path | None) -> str:
    """The adapter's name: where it is a file's, with the whole path of the file that is loaded."""
    model, folder = manifest.settings.model, Path(manifest.environment.folder or ".")
    named = adapter_file(model, folder)
    if named is None:
        if file is not None:
            raise UsageError(f"--trust-adapter {file}: the run used the installed {model.adapter}")
        return model.adapter
    if not (file or named).is_file():
        raise UsageError(
            f"there is no file {named.absolute()} (any more); name it with --trust-adapter FILE.py"
        )
    return f"{(file or named).resolve()}:{model.adapter.rpartition(':')[2]}"


def obstacles(manifest: Manifest, plan: Plan) -> list[Finding]:
    """What makes a repetition another run: its settings, annotations, tasks, model or adapter.

    No code is loaded for it; the adapter's file that is looked at is the one that will be.
    """
    found = [
        changed("settings", f"{name}: was {before!r}, is now {after!r}")
        for name, before, after in differences(manifest.settings, plan.settings, manifest.serving)
        if name != "model.adapter"  # Its path may be a longer one; its content is held below.
    ]
    found += model_changes(manifest, plan.settings.model)
    return [each for each in found if each.kind is FindingKind.CHANGED]


def agreement(first: Run, second: Run, annotations: Annotations) -> Agreement:
    """Compare the answers of two runs."""
    asked = {question.id for question in questions_of(first.settings, annotations)}
    one, other = _texts(first, asked), _texts(second, asked)
    both = one.keys() & other.keys()
    different = sorted(place for place in both if one[place] != other[place])
    return Agreement(
        same=len(both) - len(different),
        different=len(different),
        only_first=len(one.keys() - both),
        only_second=len(other.keys() - both),
        examples=[question for question, _ in different[:5]],
    )


def _texts(run: Run, questions: Set[str]) -> dict[tuple[str, int], str]:
    return {
        place: line.text
        for place, line in run.lines.items()
        if line.text is not None and place[0] in questions
    }
