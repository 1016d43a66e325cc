"""The examination: the scenes as a plan of the benchmark, and a diagnosis of what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from migbench.boxes import Convention
from migbench.checks.doctor.answers import Speech, Written, listen, written
from migbench.checks.doctor.bias import Bias, estimate_bias
from migbench.checks.doctor.conventions import candidates
from migbench.checks.doctor.fits import Fits, Sample, fit_all
from migbench.checks.doctor.identity import Identity, Search, Shown, identify
from migbench.checks.doctor.scenes import SCALE, Kind, kind_of, write_scenes
from migbench.checks.doctor.verdict import Finding, Severity, findings
from migbench.data.annotations import Annotations
from migbench.data.images import DataLocation, locate_data
from migbench.dialects import PromptSet
from migbench.messages import Size
from migbench.models.resolving import Model
from migbench.runs.plan import Plan, make_plan
from migbench.runs.store import Run
from migbench.scoring import Outcome


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the doctor found; parts that answers were too few for are None."""

    model: Model
    image_sets: int
    questions: int
    speech: Speech
    conventions: Fits | None
    bias: Bias | None
    images: Identity | None
    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """Whether the declared convention was borne out and nothing stands in the way."""
        return all(finding.severity is not Severity.PROBLEM for finding in self.findings)


def prepare(model: Model, folder: Path, image_sets: int) -> Plan:
    """Render the scenes into a folder; the plan is carried out like any of the benchmark's."""
    return make_plan(model, locate_data(write_scenes(folder, image_sets)), scale=SCALE)


def diagnose(plan: Plan, run: Run) -> Diagnosis:
    """What the answers to the doctor's scenes show."""
    settings, annotations = run.settings, plan.annotations
    dialect, model = settings.model.dialect, settings.model
    lines = run.lines
    found = written(settings, plan.questions, lines)
    clusters = [annotations.cluster_of(each.instance) for each in found]
    speech = listen(found, clusters, dialect)
    if speech.used != dialect.syntax:
        found = written(settings, plan.questions, lines, speech.used)
    fits = _fits(found, plan.data, annotations, dialect.convention)
    bias, images = None, None
    if fits and not fits.is_chance:
        read_as = (fits.best if fits.of_declared.matters else fits.of_declared).convention
        bias = _bias(found, plan, read_as)
        images = identify(_searches(found, plan.data, annotations), read_as)
    errors = [each.line.error for each in found if each.line and each.line.error]
    return Diagnosis(
        model=model,
        image_sets=len({question.images for question in plan.questions}),
        questions=len(plan.questions),
        speech=speech,
        conventions=fits,
        bias=bias,
        images=images,
        findings=tuple(
            findings(model, PromptSet(settings.prompts), speech, fits, bias, images, errors=errors)
        ),
    )


def _fits(
    found: Sequence[Written], data: DataLocation, annotations: Annotations, declared: Convention
) -> Fits | None:
    """Under every convention, from all targets that were answered; None without any box."""
    samples = [
        Sample(
            each.numbers,
            _size(each, data),
            each.instance.box,
            annotations.cluster_of(each.instance),
        )
        for each in found
        if each.prediction.outcome is not Outcome.MODEL_ERROR
    ]
    if not any(sample.numbers for sample in samples):
        return None
    return fit_all(samples, candidates(declared))


def _bias(found: Sequence[Written], plan: Plan, convention: Convention) -> Bias | None:
    alone = [each for each in found if each.numbers and kind_of(each.instance) is Kind.ALONE]
    return estimate_bias(
        [
            convention.to_unit(each.numbers, _size(each, plan.data))
            for each in alone
            if each.numbers
        ],
        [each.instance.box for each in alone],
        [plan.annotations.cluster_of(each.instance) for each in alone],
        plan.settings.model.corrections,
    )


def _searches(
    found: Sequence[Written], data: DataLocation, annotations: Annotations
) -> list[Search]:
    """The answered questions about sets of several images, all of whose things are known."""
    things = {
        each.instance.images[each.instance.target_image]: Shown(
            _size(each, data), each.instance.box
        )
        for each in found
    }
    return [
        Search(
            kind=kind_of(each.instance),
            images=tuple(things[name] for name in each.instance.images),
            asked=each.instance.target_image,
            numbers=each.numbers,
            named=each.prediction.named_image,
            cluster=annotations.cluster_of(each.instance),
        )
        for each in found
        if kind_of(each.instance) is not Kind.ALONE
        and each.prediction.outcome is not Outcome.MODEL_ERROR
    ]


def _size(each: Written, data: DataLocation) -> Size:
    return data.image(each.instance.images[each.instance.target_image]).size()
