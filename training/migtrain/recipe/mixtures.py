"""Mixtures: which records a stage is trained on, and in which shares."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
from msgspec import Meta

from migbench.errors import UsageError
from migbench.util.yaml_files import as_record, read_yaml

FOLDER = Path(__file__).parent / "mixtures"


class SourceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Records of one source: a whole-number ``share``, and file patterns below the data folder.

    ``kinds`` leaves other records out. ``kind`` is that of records which name none.
    """

    share: Annotated[int, Meta(ge=1)]
    files: Annotated[tuple[str, ...], Meta(min_length=1)]
    kinds: tuple[str, ...] = ()
    kind: str | None = None

    def find(self, data: Path) -> list[Path]:
        """The files below ``data``. Raises `UsageError` for a pattern that finds none."""
        found: list[Path] = []
        for pattern in self.files:
            if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
                raise UsageError(f"files {pattern!r}: a pattern below the data folder is expected")
            matching = sorted(path for path in data.glob(pattern) if path.is_file())
            if not matching:
                raise UsageError(f"no file {pattern} in {data}")
            found += matching
        return found


class DataMixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sources by name. Without ``examples``, as many as there are without repeating any."""

    sources: Annotated[dict[str, SourceSpec], Meta(min_length=1)]
    examples: Annotated[int, Meta(ge=1)] | None = None

    def samples(self, records: dict[str, int], examples: int | None = None) -> dict[str, int]:
        """How many examples of each source, whose ``records`` are counted, are trained on.

        They add up to ``examples`` (else the mixture's own number), by largest remainders.
        """
        total = sum(each.share for each in self.sources.values())
        wanted = examples or self.examples
        if wanted is None:
            # The largest number of which no source's share exceeds its records.
            wanted = min(records[name] * total // each.share for name, each in self.sources.items())
            return {
                name: min(each.share * wanted // total, records[name])
                for name, each in self.sources.items()
            }
        found = {name: each.share * wanted // total for name, each in self.sources.items()}
        by_remainder = sorted(
            self.sources, key=lambda name: -(self.sources[name].share * wanted % total)
        )
        for name in by_remainder[: wanted - sum(found.values())]:
            found[name] += 1
        return found


def mixture_names() -> list[str]:
    """The packaged mixtures."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_mixture(name: str) -> DataMixture:
    """A packaged mixture by its name, or the one in a YAML file.

    Raises `UsageError` naming the choices, `DataError` naming file and field.
    """
    path = FOLDER / f"{name}.yaml" if name in mixture_names() else Path(name)
    if not path.is_file():
        raise UsageError(
            f"mixture {name}: no such file, and none of that name ({', '.join(mixture_names())})"
        )
    return as_record(read_yaml(path), DataMixture, path)
