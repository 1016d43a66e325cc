"""The scenes as a plan of the benchmark, and a diagnosis of the answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from migbench.boxes import Convention
from migbench.checks.doctor.answers import AnswerFormat, RawAnswer, parse_answers
from migbench.checks.doctor.bias import Bias, estimate_bias
from migbench.checks.doctor.conventions import candidates
from migbench.checks.doctor.findings import Finding, findings, is_ok
from migbench.checks.doctor.image_order import ImageOrder, MultiImageQuery, check_image_order
from migbench.checks.doctor.ranking import AnsweredBox, Ranking, rank
from migbench.checks.doctor.scenes import SCALE, Kind, kind_of, write_scenes
from migbench.data.images import DataLocation, locate_data
from migbench.dialects import PromptSet
from migbench.messages import Size
from migbench.models.corrections import Correction
from migbench.models.resolving import Model
from migbench.runs.plan import Plan, make_plan
from migbench.runs.store import Run


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the doctor found; parts that answers were too few for are None."""

    model: Model
    image_sets: int
    questions: int
    answers: AnswerFormat
    conventions: Ranking | None
    bias: Bias | None
    images: ImageOrder | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the declared convention was confirmed and there is no problem."""
        return is_ok(self.findings)


def prepare(model: Model, folder: Path, image_sets: int) -> Plan:
    """Render the scenes into a folder; the plan is carried out like any of the benchmark's."""
    return make_plan(model, locate_data(write_scenes(folder, image_sets)), scale=SCALE)


def diagnose(plan: Plan, run: Run) -> Diagnosis:
    """What the answers to the doctor's scenes show."""
    settings = run.settings
    model = settings.model
    answers, form = parse_answers(settings, plan.questions, run.lines, plan.annotations.cluster_of)
    ranking = _ranking(answers, plan.data, model.dialect.convention)
    bias, images = None, None
    if ranking and not ranking.is_chance:
        declared = ranking.of_declared
        convention = (ranking.best if declared.is_wrong else declared).convention
        bias = _bias(answers, plan.data, convention, plan.settings.model.corrections)
        images = check_image_order(_queries(answers, plan.data), convention)
    return Diagnosis(
        model=model,
        image_sets=len({question.images for question in plan.questions}),
        questions=len(plan.questions),
        answers=form,
        conventions=ranking,
        bias=bias,
        images=images,
        findings=tuple(findings(model, PromptSet(settings.prompts), form, ranking, bias, images)),
    )


def _ranking(
    answers: Sequence[RawAnswer], data: DataLocation, declared: Convention
) -> Ranking | None:
    """Of every convention, from all targets that were answered; None without any box."""
    samples = [
        AnsweredBox(each.numbers, _size(each, data), each.instance.box, each.cluster)
        for each in answers
        if each.is_answered
    ]
    if not any(sample.numbers for sample in samples):
        return None
    return rank(samples, candidates(declared))


def _bias(
    answers: Sequence[RawAnswer],
    data: DataLocation,
    convention: Convention,
    declared: Correction | None,
) -> Bias | None:
    alone = [each for each in answers if kind_of(each.instance) is Kind.ALONE]
    boxes = [
        (convention.to_unit(each.numbers, _size(each, data)), each.instance.box, each.cluster)
        for each in alone
        if each.numbers
    ]
    answered, truths, clusters = zip(*boxes, strict=True) if boxes else ((), (), ())
    return estimate_bias(answered, truths, clusters, declared)


def _queries(answers: Sequence[RawAnswer], data: DataLocation) -> list[MultiImageQuery]:
    """The answered questions about sets of several images, all of whose objects are known."""
    objects = {
        each.instance.images[each.instance.target_image]: (_size(each, data), each.instance.box)
        for each in answers
    }
    return [
        MultiImageQuery(
            kind=kind_of(each.instance),
            objects=tuple(objects[name] for name in each.instance.images),
            asked=each.instance.target_image,
            numbers=each.numbers,
            named=each.prediction.named_image,
            cluster=each.cluster,
        )
        for each in answers
        if kind_of(each.instance) is not Kind.ALONE and each.is_answered
    ]


def _size(each: RawAnswer, data: DataLocation) -> Size:
    return data.image(each.instance.images[each.instance.target_image]).size()
