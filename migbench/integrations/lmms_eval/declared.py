"""What the user declares to lmms-eval's tasks: where the data is, and how the model writes boxes.

lmms-eval's scoring hook is not told which model answered, and its tasks take no options. So this is
the one place where environment variables decide something.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from migbench.data.images import DataLocation, locate_data
from migbench.dialects import Dialect, find_dialect, load_dialects
from migbench.errors import UsageError
from migbench.models.corrections import Correction
from migbench.models.resolving import load_profiles, resolve_model

DATA = "MIGBENCH_DATA"
DIALECT = "MIGBENCH_DIALECT"


@dataclass(frozen=True, slots=True)
class Declared:
    """How answers are asked for and read."""

    dialect: Dialect
    correction: Correction | None = None


def declared_dialect(environment: Mapping[str, str] = os.environ) -> Declared:
    """The dialect of this name, or a profile's with its pixel bounds and its correction of boxes.

    A name that ends in ``.yaml`` or ``.json`` is a file that describes a dialect. Raises
    `UsageError` where nothing is declared, or nothing of that name is known, else `DataError`.
    """
    name = environment.get(DIALECT, "").strip()
    if name.endswith((".yaml", ".json")):
        return Declared(find_dialect(name))
    if name in load_dialects():
        return Declared(find_dialect(name))
    if name in load_profiles():
        model = resolve_model(name)
        return Declared(model.dialect, model.corrections)
    found = f"={name}: no dialect or profile is called so" if name else " is unset"
    raise UsageError(
        f"{DIALECT}{found}; how a model writes boxes is declared, never guessed. Set it to a "
        f"dialect ({', '.join(load_dialects())}) or to a profile that `migbench models` lists"
    )


def declared_data(environment: Mapping[str, str] = os.environ) -> DataLocation:
    """The data set's folder or annotation file; without one, the published data set from its hub.

    It is fetched once, into the hub's own cache folder. Raises `UsageError` or `DataError`.
    """
    named = environment.get(DATA, "").strip()
    return locate_data(Path(named).expanduser() if named else _published())


@cache
def _published() -> Path:
    # Slow to import, and needed where no folder is named.
    from huggingface_hub.constants import HF_HOME

    from migbench.data.download import ANNOTATIONS, download

    folder = Path(HF_HOME) / "migbench"
    download(folder)
    return folder / ANNOTATIONS
