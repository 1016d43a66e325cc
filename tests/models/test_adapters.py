"""Starting an adapter: whatever somebody else's class does wrong is told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migbench.dialects import find_dialect
from migbench.errors import AdapterError, MigbenchError
from migbench.models.adapters import start_adapter
from migbench.models.resolving import Overrides, resolve_model


def start(folder: Path, code: str, name: str = "Mine") -> Any:
    path = folder / "mine.py"
    path.write_text(code)
    overrides = Overrides(adapter=f"{path}:{name}", dialect=find_dialect("qwen3-vl"))
    return start_adapter(resolve_model("mine", overrides))


ANSWER = "    def answer(self, request):\n        return ''\n"


@pytest.mark.parametrize("kind", ["SystemExit", "GeneratorExit", "StopIteration", "BaseException"])
@pytest.mark.parametrize("where", ["import", "constructor", "capacity", "needs_images"])
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
        ("capacity = 0", "its capacity is 0"),
        ("capacity = '4'", "its capacity is '4'"),
        ("capacity = True", "its capacity is True"),
        ("capacity = float('nan')", "its capacity is nan"),
        ("needs_images = 'no'", "its needs_images is 'no'"),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_a_class_says_of_itself_is_checked(
    tmp_path: Path, field: str, told: str, kind: str
) -> None:
    needed = "    capacity = 1\n    needs_images = False\n" if kind == "async def" else ""
    code = f"class Mine:\n{needed}    {field}\n{ANSWER.replace('def', kind)}"
    with pytest.raises(AdapterError, match=told):
        start(tmp_path, code)


@pytest.mark.parametrize("code", ["Mine = 5\n", "class Mine:\n    answer = 5\n", "Mine = type\n"])
def test_what_is_no_class_of_an_adapter_is_told(tmp_path: Path, code: str) -> None:
    with pytest.raises(MigbenchError, match=r"mine\.py"):
        start(tmp_path, code)
