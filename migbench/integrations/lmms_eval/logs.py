"""Reading the samples that lmms-eval logs (``--log_samples``) of migbench's tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from migbench.asking.evaluators import EVALUATORS
from migbench.data.annotations import Annotations
from migbench.errors import DataError
from migbench.integrations.lmms_eval.failures import failure, refused_by_filter
from migbench.integrations.lmms_eval.questions import Reference
from migbench.messages import Answer
from migbench.models.resolving import Model
from migbench.runs.importing import Imported
from migbench.util.input_files import read_bytes
from migbench.util.json_files import encodable_json

PATTERN = "*_samples_migbench_*.jsonl"


class LoggedSample(msgspec.Struct, frozen=True):
    """One line of a log, as far as it matters here.

    ``resps`` holds the answer as the model gave it, where filters have changed it.
    """

    target: str
    filtered_resps: str
    resps: str | list[str] | None = None
    input: str = ""

    @property
    def answer(self) -> str:
        """The raw answer."""
        if self.resps is None:
            return self.filtered_resps
        return self.resps if isinstance(self.resps, str) else self.resps[0]


@dataclass(frozen=True, slots=True)
class _Logged:
    """A sample, what it answers, and where it stands."""

    where: str
    sample: LoggedSample
    reference: Reference


def read_logs(path: Path, annotations: Annotations, model: Model) -> tuple[str, list[Imported]]:
    """The evaluator that was used, and all answers below a folder, or in one file.

    Raises `DataError` naming file and line where a sample is malformed, answers a question of
    another annotation file, was asked in another dialect, or is there twice.
    """
    files = [path] if not path.is_dir() else sorted(path.rglob(PATTERN))
    logged = [each for file in files for each in _read(file)]
    if not logged:
        raise DataError(
            f"{path}: holds no samples of migbench's tasks ({PATTERN}); "
            "run lmms-eval with --log_samples and --output_path"
        )
    evaluator = "polling"
    if any(each.reference.evaluator != evaluator for each in logged):
        # All at once, most tasks ask what they ask in polling.
        evaluator = "all-at-once"
    return evaluator, list(_answers(logged, evaluator, annotations, model))


def _read(file: Path) -> Iterator[_Logged]:
    for number, line in enumerate(read_bytes(file).splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            # lmms-eval writes numbers (NaN) that are not JSON, which only this decoder takes.
            sample = msgspec.convert(encodable_json(json.loads(line)), LoggedSample)
            reference = msgspec.json.decode(sample.target, type=Reference)
        except (ValueError, RecursionError, msgspec.DecodeError) as error:
            raise DataError(f"{where}: no sample of migbench's tasks ({error})") from error
        yield _Logged(where, sample, reference)


def _answers(
    logged: list[_Logged], evaluator: str, annotations: Annotations, model: Model
) -> Iterator[Imported]:
    questions = {each.id: each for each in EVALUATORS[evaluator](annotations.instances)}
    seen: dict[str, str] = {}
    for each in logged:
        where, reference = each.where, each.reference
        if not reference.identity.is_same(annotations.identity):
            raise DataError(
                f"{where}: answers a question of another annotation file "
                f"({reference.identity.short}, not {annotations.path} {annotations.identity.short})"
            )
        if reference.dialect != model.dialect.name:
            raise DataError(
                f"{where}: was asked in dialect {reference.dialect}, not {model.dialect.name}"
            )
        question = questions.get(reference.question)
        if question is None:
            raise DataError(
                f"{where}: {reference.question} is no question of {evaluator}; "
                "import the logs of polling and of all-at-once apart"
            )
        if question.id in seen:
            raise DataError(
                f"{where}: {question.id} was answered at {seen[question.id]} already; "
                "name the file or folder of one lmms-eval run"
            )
        seen[question.id] = where
        answer = each.sample.answer
        error = failure(answer)
        yield Imported(
            question.targets[0],
            None if error else Answer(answer, refused=refused_by_filter(answer)),
            error=error,
            prompt=each.sample.input,
            question=question.id,
        )
