"""Whether a run's questions would be asked today as they were: same images, words and settings."""

from __future__ import annotations

from collections.abc import Iterator

from migbench.data.images import ImageFolder
from migbench.dialects import PromptSet, ask
from migbench.runs.answer_lines import AnswerLine
from migbench.runs.findings import Finding, changed, remark
from migbench.runs.plan import strategy_of
from migbench.runs.replay import replay
from migbench.runs.runner import request_key
from migbench.runs.selection import questions_of
from migbench.scoring.scored_run import ScoredRun

_SHOWN = 5
"""How many questions are named, of those that would be asked differently."""


def request_findings(scored: ScoredRun, images: ImageFolder) -> Iterator[Finding]:
    """Make every answered request again, and hold its key against the stored one.

    Reads all image files. Answers without a key, such as imported ones, are counted. Raises
    `DataError` where an image lies outside of its folder.
    """
    without = 0
    differing: list[str] = []
    for line, key in _keys(scored, images):
        if not line.key:
            without += 1
        elif line.key != key:
            differing.append(line.question)
    for question in differing[:_SHOWN]:
        yield changed(
            "requests",
            f"{question}: was asked with other images, in other words or under other generation "
            f"settings than it would be now (images in {images.root})",
        )
    if len(differing) > _SHOWN:
        yield changed("requests", f"{len(differing) - _SHOWN} requests more would be others now")
    if without:
        yield remark("requests", f"{without} answers do not say what they were given to")


def _keys(scored: ScoredRun, images: ImageFolder) -> Iterator[tuple[AnswerLine, str]]:
    """Every answer, and the key that its request has now."""
    run = scored.run
    model, prompts = run.settings.model, PromptSet(run.settings.prompts)
    strategy = strategy_of(run.settings)
    for question in questions_of(run.settings, scored.annotations):
        shown = [images.file(name) for name in question.images]
        for turn, line in replay(strategy(question), question.id, run.lines):
            if line is None or line.text is None:
                continue
            request = ask(model.dialect, turn, shown, prompts=prompts, generation=model.generation)
            yield line, request_key(model, request)
