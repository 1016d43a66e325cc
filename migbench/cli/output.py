"""What several commands print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from migbench.cli.terminal import echo, echo_json, echo_line, echo_note, terminal_width
from migbench.reporting.tables import (
    interval_note,
    level_table,
    run_label,
    run_notes,
    scores_table,
    text,
)
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
    width = terminal_width()
    echo(scores_table(scores, width))
    echo()
    echo_note("Accuracies in percent; outcomes are numbers of targets.")
    echo_note(f"In brackets: {interval_note(scores.bootstrap)}")
    if scores.macro.counts_for(IMAGE):
        counted = scores.macro.counted[IMAGE]
        echo_note(
            f"Image: answers that name the right image, of the {counted} that name one or were "
            "asked to (docs/protocols.md)."
        )
    if group := scores.tasks.get("group_grounding"):
        right, named = group.named_images.right, group.named_images.named
        if scores.strategy != "direct":
            echo_note(
                f"Group grounding, step 1: {named} of {group.n} answers name an image, {right} the "
                "right one; where none is named, step 2 is about the first."
            )
        elif named:
            echo_note(
                f"Group grounding: {named} of {group.n} answers name an image, {right} the right "
                "one."
            )
    if reasons := unreadable_reasons(scores.tasks.values()):
        echo_note(f"Unreadable answers hold: {reasons}.")
    if repaired := sum(task.repaired_truths for task in scores.tasks.values()):
        echo_note(f"Ground truths repaired (corners sorted, clipped to the image): {repaired}.")
    label = run_label(scores)
    for note in run_notes([(label, scores)]):
        echo_note(note)
    if scores.difficulty:
        echo("\n" + text(level_table([(label, scores)]), width))


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
