"""A run's log: what went wrong, when, in which question, with the whole traceback and no secret."""

from __future__ import annotations

import re
from pathlib import Path

from support.hostile_adapters import raised

from migbench.models.boundary import Failure
from migbench.runs.run_log import RunLog
from migbench.util.redaction import forget_secrets, keep_secret


def fails() -> None:
    raise ValueError("shapes differ \ud83d")


def test_an_entry_has_time_question_words_and_traceback(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.failure("diff-1", 2, Failure(raised(fails)))
        log.slow("diff-2", 301.4)
    with RunLog(tmp_path) as log:
        log.remark("diff-3", 0, "seconds is left out")
    first, *rest = (tmp_path / "run.log").read_text("utf-8").splitlines()
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
    assert re.fullmatch(moment + r" diff-1 turn 2: ValueError: shapes differ \\ud83d", first)
    assert rest[0] == "Traceback (most recent call last):"
    assert any("in fails" in line for line in rest)
    assert re.fullmatch(moment + " diff-2: under way for 301 s", rest[-2])
    assert rest[-1].endswith(" diff-3 turn 0: seconds is left out")


def test_no_secret_reaches_it(tmp_path: Path) -> None:
    keep_secret("sk-0123456789abcdef")
    try:
        with RunLog(tmp_path) as log:
            log.remark("diff-1", 0, "the server echoes sk-0123456789abcdef")
    finally:
        forget_secrets()
    assert "0123456789" not in (tmp_path / "run.log").read_text("utf-8")


def test_a_log_with_nothing_in_it_leaves_no_file(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        pass
    log.slow("diff-1", 3)  # Too late.
    assert not list(tmp_path.iterdir())
