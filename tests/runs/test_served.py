"""What a run keeps of its servers' accounts of themselves, and what it says of changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest
from test_run_store import manifest
from test_runner import DIRECT, Scripted, instance, questions

from migbench.errors import AdapterError
from migbench.messages import ImageFile
from migbench.runs.manifest import read_manifest
from migbench.runs.opening import open_run
from migbench.runs.runner import Runner

Account = Mapping[str, Mapping[str, str]]

HERE = "http://here/v1"
THERE = "http://there/v1"


class Served(Scripted):
    """An adapter whose servers give these accounts, one after another."""

    def __init__(self, *accounts: Account | Exception) -> None:
        super().__init__(lambda request: "said")
        self.accounts = list(accounts)

    async def about(self) -> Account:
        account = self.accounts.pop(0)
        if isinstance(account, Exception):
            raise account
        return account


def run(folder: Path, adapter: Scripted, count: int = 1) -> None:
    with open_run(folder, manifest()) as store:
        runner = Runner(store, adapter, DIRECT, ImageFile)
        asyncio.run(runner.run(questions(*map(instance, range(count)))))


def account(**facts: str) -> Account:
    return {HERE: facts}


def test_the_account_at_the_end_is_kept_and_one_that_is_unchanged_is_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at_start = account(server="vllm", model="m")
    run(tmp_path, Served(at_start, account(server="vllm", model="m", system_fingerprint="fp_1")))
    run(tmp_path, Served(at_start, account(server="vllm", model="m", system_fingerprint="fp_1")))
    kept = read_manifest(tmp_path)
    assert kept.environment.servers == {
        HERE: {"server": "vllm", "model": "m", "system_fingerprint": "fp_1"}
    }
    assert kept.others == [], "it is where it was before"
    assert not caplog.records


def test_a_change_during_a_run_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, Served(account(root="/a/one", version="1"), account(root="/a/two", version="1")))
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == f"{HERE} has changed during the run: root was /a/one, and is /a/two"


def test_a_change_on_resume_is_named_and_both_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, Served(*[account(root="one")] * 2))
    run(tmp_path, Served(*[account(root="two")] * 2), count=2)
    assert [record.getMessage() for record in caplog.records] == [
        f"{HERE} has changed since the run's earlier answers: root was one, and is two"
    ]
    kept = read_manifest(tmp_path)
    assert kept.environment.servers[HERE]["root"] == "two"
    assert [other.servers[HERE]["root"] for other in kept.others] == ["one"]


def test_another_fingerprint_on_resume_is_named_when_replies_have_told_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for fingerprint in ("fp_1", "fp_2"):
        run(tmp_path, Served(account(), account(system_fingerprint=fingerprint)))
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.endswith("system_fingerprint was fp_1, and is fp_2")


def test_a_server_at_a_new_address_is_known_by_its_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, Served(*[account(root="one", version="1")] * 2))
    run(tmp_path, Served(*[{THERE: {"root": "one", "version": "2"}}] * 2), count=2)
    assert not caplog.records
    run(tmp_path, Served(*[{HERE: {"root": "two"}}] * 2), count=3)
    assert "root was one, and is two" in caplog.text


def test_what_is_wrong_at_the_end_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    run(tmp_path, Served(account(root="one"), AdapterError("they serve different models")))
    assert "they serve different models" in caplog.text
    with pytest.raises(AdapterError, match="different"):
        run(tmp_path, Served(AdapterError("different")))
