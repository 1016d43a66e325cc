"""What several commands print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from migbench.cli.terminal import echo, echo_json, echo_line
from migbench.reporting.tables import FORMATS, interval_note, level_table, run_notes, scores_table
from migbench.runs.manifest import Manifest, write_json
from migbench.runs.ownership import is_own
from migbench.scoring import Scores, TaskScores

IMAGE = "image_accuracy"


def write_result(path: Path | None, content: object) -> None:
    """Write JSON where the user asked for it; ``-`` is standard output."""
    if path is None:
        return
    if str(path) == "-":
        echo_json(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())
    else:
        write_json(path, content)


def show_scores(scores: Scores) -> None:
    """Print one run's figures, with what they are."""
    echo(scores_table(scores))
    echo("\nAccuracies in percent; outcomes are numbers of targets.")
    echo(f"±: half the width of Acc@0.5's interval. {interval_note(scores.bootstrap)}")
    if scores.macro.counts_for(IMAGE):
        counted = scores.macro.counted[IMAGE]
        echo(
            f"Image: answers that name the right image, of the {counted} that name one or were "
            "asked to (docs/protocols.md)."
        )
    if group := scores.tasks.get("group_grounding"):
        right, named = group.named_images.right, group.named_images.named
        if scores.strategy != "direct":
            echo(
                f"Group grounding, step 1: {named} of {group.n} answers name an image, {right} the "
                "right one; where none is named, step 2 is about the first."
            )
        elif named:
            echo(
                f"Group grounding: {named} of {group.n} answers name an image, {right} the right "
                "one."
            )
    if reasons := unreadable_reasons(scores.tasks.values()):
        echo_line(f"Unreadable answers hold: {reasons}.")
    if repaired := sum(task.repaired_truths for task in scores.tasks.values()):
        echo(f"Ground truths repaired (corners sorted, clipped to the image): {repaired}.")
    for note in run_notes([(scores.model, scores)]):
        echo_line(note)
    if scores.difficulty:
        echo("\n" + FORMATS["text"](level_table([(scores.model, scores)])))


def tell_withheld_images(runs: Iterable[Manifest], option: str) -> None:
    """Say of received runs that their image folders are not read, and which option names one."""
    for manifest in runs:
        if manifest.images and not is_own(manifest):
            echo_line(
                f"migbench: images below {manifest.images} are not read, since the run that names "
                f"them was not made by you here; name their folder with {option}",
                err=True,
            )


def unreadable_reasons(tasks: Iterable[TaskScores]) -> str:
    """What unreadable answers hold instead of a box, with their numbers, most of them first."""
    counts: Counter[str] = Counter()
    for task in tasks:
        counts.update({reason.value: count for reason, count in task.unreadable.items()})
    return "; ".join(f"{reason} {count}" for reason, count in counts.most_common())


def exit_status(scores: Scores) -> int:
    """0, or 1 where targets have no answer."""
    return 1 if scores.model_errors else 0
