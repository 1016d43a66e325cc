"""The metrics: what a target is worth by each of them, and how they stand in scores.

A metric is a function from one target's result to a number, or to None where the target does not
count for it; a group's figure is the mean over its targets that count. The fields of `Metrics` are
the registry: a further accuracy is one more line there, and scores, intervals, tables, comparisons
and their options have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, get_type_hints

import msgspec

from migbench.scoring.outcomes import Outcome
from migbench.scoring.scorer import HIT_AT, SampleScore
from migbench.tasks import find_task


@dataclass(frozen=True, slots=True)
class Metric:
    """What one target is worth, or None where it does not count; ``title`` heads columns.

    A ``share`` has values of 0 and 1 alone; its figures are in percent, with intervals, and two
    runs can be compared by it. Every target counts, but for metrics that are ``partial``; of these
    a task may have none, and is left out of their macro average then. ``threshold`` is the IoU that
    an accuracy needs.
    """

    title: str
    value: Callable[[SampleScore], float | None]
    share: bool = True
    partial: bool = False
    threshold: float | None = None


def accuracy_at(threshold: float) -> Metric:
    """The share of targets whose box reaches this IoU."""
    return Metric(f"Acc@{threshold}", lambda each: each.iou >= threshold, threshold=threshold)


def names_right_image(sample: SampleScore) -> bool | None:
    """Whether the answer puts the target in the image that holds it; None where that is no matter.

    It matters where the form asks for the image, in every answer; and where the question leaves
    the image open, in answers that name one. Targets without an answer do not count.
    """
    prediction, instance = sample.prediction, sample.instance
    if sample.outcome is Outcome.MODEL_ERROR:
        return None
    if not prediction.image_wanted:
        if prediction.named_image is None or instance.asked_image is not None:
            return None
        if not find_task(instance.task).target_image.is_left_open:
            return None
    return prediction.named_image == instance.target_image


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """A group's figure by every metric, under the metric's name; None where there is none."""

    at_30: Annotated[float | None, accuracy_at(0.3)] = msgspec.field(name="acc@0.3", default=None)
    at_50: Annotated[float | None, accuracy_at(HIT_AT)] = msgspec.field(
        name="acc@0.5", default=None
    )
    at_70: Annotated[float | None, accuracy_at(0.7)] = msgspec.field(name="acc@0.7", default=None)
    mean_iou: Annotated[float | None, Metric("mIoU", lambda each: each.iou, share=False)] = None
    """A fraction."""
    image_accuracy: Annotated[float | None, Metric("Image", names_right_image, partial=True)] = None


def _registered() -> dict[str, tuple[str, Metric]]:
    hints = get_type_hints(Metrics, include_extras=True)
    return {
        field.encode_name: (field.name, hints[field.name].__metadata__[0])
        for field in msgspec.structs.fields(Metrics)
    }


METRICS = {name: metric for name, (_, metric) in _registered().items()}
"""By name, as in JSON and in options."""
FIELDS = {name: field for name, (field, _) in _registered().items()}
"""The attribute of `Metrics` that holds each metric."""
THRESHOLDS = tuple(each.threshold for each in METRICS.values() if each.threshold is not None)
"""The IoUs at which a target counts as hit, for one accuracy each."""
SHARES = {name: metric for name, metric in METRICS.items() if metric.share}
HIT = f"acc@{HIT_AT}"
"""The benchmark's own metric."""
