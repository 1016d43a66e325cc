"""Starting an engine, with a package in vLLM's place: what is told when that fails."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from migbench.messages import AdapterError
from model_adapters.vllm.adapter import VllmAdapter
from model_adapters.vllm.engine_log import EngineLog
from model_adapters.vllm.guard import Guard


@dataclass
class EngineArguments:
    """Takes what the adapter gives by default."""

    model: str
    revision: str | None = None
    tokenizer_revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    limit_mm_per_prompt: Any = None
    generation_config: str = "auto"
    interleave_mm_strings: bool = False
    enable_prefix_caching: bool = False
    disable_log_stats: bool = False
    use_tqdm_on_load: bool = True
    seed: int = 0
    max_num_seqs: int = 0


class NoEngine:
    """Fails to start, after what its processes have written."""

    error: Exception = RuntimeError("Engine core initialization failed. See root cause above.")
    written: str = ""

    @classmethod
    def from_engine_args(cls, arguments: EngineArguments) -> None:
        assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
        subprocess.run([sys.executable, "-c", f"import os; os.write(2, {cls.written.encode()!r})"])
        raise cls.error


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[NoEngine]:
    """A package named vllm whose engine does not start."""
    failing = type("Failing", (NoEngine,), {})
    package, renderers = ModuleType("vllm"), ModuleType("vllm.renderers")
    vars(package).update(
        __path__=[], __version__="0", AsyncEngineArgs=EngineArguments, AsyncLLMEngine=failing
    )
    vars(renderers).update(ChatParams=object)
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.renderers", renderers)
    monkeypatch.delenv("VLLM_LOGGING_LEVEL", raising=False)
    return failing


def reason(**settings: Any) -> str:
    with pytest.raises(AdapterError) as error:
        VllmAdapter("owner/model", **settings)
    return str(error.value)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    assert "pip install 'migbench[vllm]'" in reason()


def test_another_version_is_named_with_the_range(engine: type[NoEngine]) -> None:
    del sys.modules["vllm"].AsyncLLMEngine
    assert "written for vllm>=" in reason()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Failed to infer device type, please set …", "vLLM sees no GPU"),
        ("Device string must not be empty", "vLLM sees no GPU"),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", "the model does not fit: lower"),
        ("Free memory on device cuda:0 (1/80 GiB) on startup is less than …", "other processes"),
        ("No available memory for the cache blocks. …", "no memory is left for answering: lower"),
        ("Model architectures ['X'] are not supported for now.", "does not know the model's arch"),
        ("contains custom code … set `trust_remote_code=True`", "trust_remote_code=true"),
    ],
)
def test_what_it_means_is_told_before_vllms_words(
    engine: type[NoEngine], message: str, told: str
) -> None:
    engine.error = ValueError(message)
    assert told in reason()
    assert f"({message})" in reason()


TRACEBACK = """\
(Worker pid=7) WARNING 11-24 23:56:10 [cpu_worker.py:114] ValueError: only a warning, mid-line
(Worker pid=7) ERROR 11-24 23:56:10 [core.py:1] Traceback (most recent call last):
(Worker pid=7) ERROR 11-24 23:56:10 [core.py:1]   File "core.py", line 1, in start
(Worker pid=7) ERROR 11-24 23:56:10 [core.py:1] torch.OutOfMemoryError: CUDA out of memory.
Traceback (most recent call last):
  File "core.py", line 1, in start
RuntimeError: Worker failed with error, please check the stack trace above for the root cause
Exception: something later
"""


def test_the_reason_is_found_in_what_the_engines_processes_wrote(
    engine: type[NoEngine], capfd: pytest.CaptureFixture[str]
) -> None:
    engine.written = TRACEBACK
    told = reason()
    assert told.startswith("owner/model does not start in vLLM: the model does not fit: lower")
    assert told.endswith("(CUDA out of memory.)")
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    assert "VLLM_NO_USAGE_STATS" not in os.environ


def test_vllms_log_is_shown_when_its_level_is_set(
    engine: type[NoEngine],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "INFO")
    engine.written = TRACEBACK
    assert "See root cause above" in reason()
    assert capfd.readouterr().err == TRACEBACK


def test_long_words_are_shortened_to_one_line(engine: type[NoEngine]) -> None:
    engine.error = ValueError("no\n" * 10_000)
    told = reason()
    assert "\n" not in told
    assert len(told) < 700


def test_an_argument_that_vllm_does_not_know_is_named(engine: type[NoEngine]) -> None:
    told = reason(engine_args={"max_num_seq": 3})
    assert (
        told == "--engine-args: vLLM has no engine argument max_num_seq; did you mean max_num_seqs?"
    )


def test_a_log_without_exceptions_tells_nothing() -> None:
    log = EngineLog()
    level = logging.getLogger("vllm").level
    try:
        assert log.reason() is None
        with log.kept():
            os.write(1, b"cancelled\nRuntimeError: cancelled\n")
        assert log.reason() is None
        with log.kept():
            os.write(2, b"KeyError: 'the reason'\nValueError: another\n")
        assert log.reason() == "'the reason'"
    finally:
        log.remove()
        logging.getLogger("vllm").setLevel(level)
    assert log.reason() is None


SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

GUARDED = """
import os, sys
from model_adapters.vllm.guard import Guard
Guard([int(sys.argv[1])])
os.kill(os.getpid(), 9)
"""


def test_the_guard_ends_processes_whose_starter_is_killed() -> None:
    with subprocess.Popen(SLEEP) as sleeper:
        starter = subprocess.run([sys.executable, "-c", GUARDED, str(sleeper.pid)])
        assert starter.returncode == -9
        assert sleeper.wait(timeout=30) == -9


def test_the_guard_leaves_processes_alone_once_dismissed() -> None:
    with subprocess.Popen(SLEEP) as sleeper:
        guard = Guard([sleeper.pid])
        guard.dismiss()
        assert sleeper.poll() is None
        sleeper.kill()


def test_importing_the_adapter_imports_no_vllm() -> None:
    script = "import sys, model_adapters.vllm.adapter; assert 'vllm' not in sys.modules"
    folder = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=folder)
