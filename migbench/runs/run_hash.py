"""The hash of a run: the same for the same content, wherever and however often it was made.

It covers the settings that decide answers, and every question's answers. Outside of it are

- when, where and how fast: times, machine, package versions, commit, tokens, paths (of a
  checkpoint, the folder's name counts; of an adapter's file, the file's), serving settings;
- what is no answer: failures, and answers that a later one has replaced;
- the corrections of boxes, which are applied when scoring and are printed beside the hash;
- the order in which answers arrived, or in which shards were merged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import msgspec

from migbench.runs.answer_lines import AnswerLine
from migbench.runs.manifest import Manifest
from migbench.runs.settings import comparable
from migbench.runs.store import Run


def run_hash(run: Run) -> str:
    """SHA-256 of a stored run's content."""
    return content_hash(run.manifest, run.lines.values())


def content_hash(manifest: Manifest, lines: Iterable[AnswerLine]) -> str:
    """SHA-256 of what was asked under which settings, and of what was answered."""
    content = {"settings": _without_places(manifest), "answers": _hash_answers(lines)}
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _without_places(manifest: Manifest) -> Any:
    """The settings without paths; what is not said is left out, as versions before it had it."""
    settings = comparable(manifest.settings, manifest.serving)
    model = settings["model"]
    checkpoint = model["checkpoint"]
    if checkpoint and PurePath(checkpoint).is_absolute():
        model["checkpoint"] = PurePath(checkpoint).name
    path, colon, name = model["adapter"].rpartition(":")
    model["adapter"] = PurePath(path).name + colon + name
    return _said(settings)


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _said(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_said(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1 and 1.0 say the same.
    return value


def _hash_answers(lines: Iterable[AnswerLine]) -> str:
    """Of every turn of every question the last answer, sorted by the hash of question and turn."""
    encode = msgspec.json.Encoder().encode
    answers: dict[bytes, bytes] = {}
    for line in lines:
        answer = line.answer
        if answer is None or line.text is None:
            continue
        place = [line.question, line.turn]
        said: list[Any] = [*place, line.prompt, answer.text, answer.truncated, line.sizes]
        said += [True] if answer.refused else []  # Older runs have no such answers.
        answers[hashlib.sha256(encode(place)).digest()] = hashlib.sha256(encode(said)).digest()
    return hashlib.sha256(b"".join(answers[place] for place in sorted(answers))).hexdigest()
