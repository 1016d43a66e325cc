"""The benchmarks run and write their records; how long anything took is not looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migbench.mini import FILE_NAME, render

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not in the package")


def record(tmp_path: Path, script: str, *options: str, status: int = 0) -> dict[str, Any]:
    path = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *options, f"--json={path}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_client_cost_compares_equal_work(tmp_path: Path) -> None:
    found = record(tmp_path, "client_cost.py", "--requests=6", "--rounds=1")
    clients = {client["client"]: client for client in found["clients"]}
    assert {"migbench run", "aiohttp, bare"} <= clients.keys()
    assert not found["failed"]
    # Whoever was not measured is named, with the reason.
    assert {"lmms-eval, as it comes", "lmms-eval, tuned, PNG"} <= found["absent"].keys()
    assert set(found["absent"].values()) == {"no --lmms-python"}
    # Two questions of the first task, one of each other: the sets have 4, 6, 3, 3 and 4 images.
    assert {client["images"] for client in clients.values()} == {4 + 4 + 6 + 3 + 3 + 4}
    assert {client["cache_misses"] for client in clients.values()} == {5}
    assert {client["image_sets"] for client in clients.values()} == {5}
    assert clients["aiohttp, bare"]["to_floor"] == 1
    heaviest = max(client["mb_per_request"] for client in clients.values())
    assert heaviest == pytest.approx(clients["aiohttp, bare"]["mb_per_request"], rel=0.001)


@pytest.mark.parametrize(
    ("does", "reason"), [("true", "stored 0 of 1 answers"), ("echo no >&2; false", "no")]
)
def test_a_client_that_fails_is_named(tmp_path: Path, does: str, reason: str) -> None:
    lmms = tmp_path / "python"
    lmms.write_text(f"#!/bin/sh\n{does}\n")
    lmms.chmod(0o755)
    options = "--requests=1", "--rounds=1", f"--lmms-python={lmms}"
    found = record(tmp_path, "client_cost.py", *options, status=1)
    assert {client["client"] for client in found["clients"]} >= {"migbench run", "aiohttp, bare"}
    assert len(found["failed"]) == 4
    for name, message in found["failed"].items():
        assert name.startswith("lmms-eval")
        assert reason in message


def test_scale_scores_what_it_wrote(tmp_path: Path) -> None:
    (size,) = record(tmp_path, "scale.py", "--sizes=4000")["sizes"]
    assert size["answers"] == 4000
    assert 50 < size["accuracy"] < 95
    assert size["peak_mb"] > 0
    assert size["seconds"] == size["read_seconds"] + size["score_seconds"]


def test_engines_say_the_same(tmp_path: Path) -> None:
    found = record(tmp_path, "engine.py", "--per-task=1", "--max-new-tokens=4", "--dtype=float32")
    engines = {engine["engine"]: engine for engine in found["engines"]}
    assert len(found["absent"]) + len(engines) == 4
    assert {"generate, one by one", "migbench, transformers"} <= engines.keys()
    for engine in engines.values():
        assert engine["requests"] == engine["same_as_floor"] == 10
        assert 0 < engine["tokens_out"] <= 40
    assert engines["generate, one by one"]["to_floor"] == 1


def test_prefill_counts_what_the_cache_did_not_serve(tmp_path: Path) -> None:
    data = tmp_path / "mini"
    render(data, per_task=3)
    forms = ("--forms", "polling", "all-at-once")
    polling, at_once = record(tmp_path, "prefill.py", str(data / FILE_NAME), *forms)["counts"]
    assert polling["requests"] == 30
    assert polling["shown"] > polling["prefilled"] == polling["once"] == at_once["once"]
    assert at_once["requests"] < 30
    assert at_once["prefilled"] == at_once["once"] <= at_once["shown"] < polling["shown"]
    assert polling["cached_tokens"] > at_once["cached_tokens"]
