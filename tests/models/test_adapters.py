"""Starting an adapter: whatever somebody else's class does wrong is told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migbench.dialects import find_dialect
from migbench.errors import AdapterError, MigbenchError
from migbench.models.adapters import start_adapter
from migbench.models.boundary import max_concurrency_of
from migbench.models.resolving import Overrides, resolve_model


def start(folder: Path, code: str, name: str = "Mine") -> Any:
    path = folder / "mine.py"
    path.write_text(code)
    overrides = Overrides(adapter=f"{path}:{name}", dialect=find_dialect("qwen3-vl"))
    return start_adapter(resolve_model("mine", overrides))


ANSWER = "    def answer(self, request):\n        return ''\n"


@pytest.mark.parametrize("kind", ["SystemExit", "GeneratorExit", "StopIteration", "BaseException"])
@pytest.mark.parametrize("where", ["import", "constructor", "max_concurrency", "needs_images"])
def test_what_a_class_raises_while_it_starts_is_told(tmp_path: Path, kind: str, where: str) -> None:
    raising = f"raise {kind}('no way')"
    code = {
        "import": f"{raising}\n",
        "constructor": f"class Mine:\n    def __init__(self):\n        {raising}\n{ANSWER}",
    }
    hook = f"    @property\n    def {where}(self):\n        {raising}\n"
    with pytest.raises(AdapterError, match=f"{kind}: no way") as found:
        start(tmp_path, code.get(where, f"class Mine:\n{hook}{ANSWER}"))
    assert "mine.py" in str(found.value)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("max_concurrency = 0", "its max_concurrency is 0"),
        ("max_concurrency = '4'", "its max_concurrency is '4'"),
        ("max_concurrency = True", "its max_concurrency is True"),
        ("max_concurrency = float('nan')", "its max_concurrency is nan"),
        ("needs_images = 'no'", "its needs_images is 'no'"),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_a_class_says_of_itself_is_checked(
    tmp_path: Path, field: str, told: str, kind: str
) -> None:
    needed = "    max_concurrency = 1\n    needs_images = False\n" if kind == "async def" else ""
    code = f"class Mine:\n{needed}    {field}\n{ANSWER.replace('def', kind)}"
    with pytest.raises(AdapterError, match=told):
        start(tmp_path, code)


@pytest.mark.parametrize("name", ["max_concurrency", "capacity"])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_how_many_requests_a_class_takes_is_known_by_its_earlier_name_too(
    tmp_path: Path, name: str, kind: str
) -> None:
    code = f"class Mine:\n    {name} = 3\n    needs_images = False\n{ANSWER.replace('def', kind)}"
    assert max_concurrency_of(start(tmp_path, code)) == 3


@pytest.mark.parametrize("code", ["Mine = 5\n", "class Mine:\n    answer = 5\n", "Mine = type\n"])
def test_what_is_no_class_of_an_adapter_is_told(tmp_path: Path, code: str) -> None:
    with pytest.raises(MigbenchError, match=r"mine\.py"):
        start(tmp_path, code)
