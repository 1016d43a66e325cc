"""A recipe's data: sources opened, mixture made, and each example encoded when asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from migbench.data.images import ImageFolder
from migbench.errors import DataError, ModelError, UsageError
from migtrain.miniature.encoding import Encoded
from migtrain.miniature.mixture import Draw, Mixture
from migtrain.miniature.recipe import Recipe, Records
from migtrain.miniature.sources import Example, RecordSource, SceneSource, Source
from migtrain.records.files import BadRecord, Census, RecordIndex

ATTEMPTS = 20
"""So many unusable examples of one source in a row mean that its data is not there."""


@dataclass(frozen=True)
class SourceReport:
    """What looking for a source's data has found. ``problem`` says why it cannot be used.

    ``examples`` are how many there are (None: they do not run out), ``needed`` how many the recipe
    draws from it in all.
    """

    name: str
    files: tuple[Path, ...]
    examples: int | None
    needed: int
    census: Census
    problem: str | None

    @property
    def epochs(self) -> float | None:
        """How many times the training goes through the source; None where it does not run out."""
        return self.needed / self.examples if self.examples else None


@dataclass(frozen=True)
class TrainingData:
    """All sources of a recipe, and which of them each example comes from."""

    sources: Mapping[str, Source]
    mixture: Mixture
    reports: tuple[SourceReport, ...]

    def size(self, place: int) -> tuple[int, str]:
        """About how many images the example at a place shows, and of which source."""
        name, number = self.mixture.draw(place)
        return self.sources[name].images(number), name

    def require_all(self) -> None:
        """Raise `UsageError` naming the sources without data."""
        if problems := [f"{each.name}: {each.problem}" for each in self.reports if each.problem]:
            raise UsageError("\n  ".join(["the recipe's data is not complete:", *problems]))


def open_data(
    recipe: Recipe,
    folder: Path | None,
    *,
    check_images: bool = True,
    on_bad: Callable[[BadRecord], None] = lambda bad: None,
) -> TrainingData:
    """Find and index what a recipe trains on; ``folder`` is where its files and images are.

    What is missing is reported, not raised; `DataError` where a file is damaged as a whole.
    """
    mixture = Mixture(recipe.mixture_phases, recipe.seed)
    sources: dict[str, Source] = {}
    reports = []
    for name, needed in mixture.totals().items():
        spec = recipe.sources[name]
        census = Census(on_bad=on_bad)
        source: Source | None
        if isinstance(spec, Records):
            files, source, problem = _open_records(
                spec, folder, recipe.seed, census, check_images=check_images
            )
        else:
            files, problem = (), None
            source = SceneSource(
                spec.task,
                seed=recipe.seed,
                turns=spec.turns,
                at_once=spec.at_once,
                things=spec.things,
                grain=spec.grain,
            )
        if source is not None:
            sources[name] = source
        size = source.size if source is not None else 0
        reports.append(SourceReport(name, files, size, needed, census, problem))
    return TrainingData(sources, mixture, tuple(reports))


def _open_records(
    spec: Records, folder: Path | None, seed: int, census: Census, *, check_images: bool
) -> tuple[tuple[Path, ...], RecordSource | None, str | None]:
    """The files found, the source, and why there is none."""
    if folder is None:
        return (), None, f"{', '.join(spec.files)}: --data DIR says where these files are"
    files: list[Path] = []
    for pattern in spec.files:
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise UsageError(f"files {pattern!r}: a pattern below the data folder is expected")
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not found:
            return tuple(files), None, f"no file {pattern} in {folder}"
        files += found
    images = ImageFolder(folder)
    index = RecordIndex(images, spec.kind)
    kinds = frozenset(spec.kinds) or None
    for file in files:
        index.add(file, census, kinds=kinds, check_images=check_images)
    if not len(index):
        bad = sum(census.flaws.values())
        wanted = f" of {', '.join(spec.kinds)}" if spec.kinds else ""
        return tuple(files), None, f"no sound record{wanted} in {len(files)} files ({bad} bad ones)"
    return tuple(files), RecordSource(index, images, seed), None


class TrainingExamples:
    """The examples of a training by their place, encoded: a data set as torch takes one.

    An example that cannot be made (an image that does not decode, a text too long) is replaced by
    another of its source, always the same one, and named in the file ``skipped``.
    """

    def __init__(
        self,
        data: TrainingData,
        encode: Callable[[Example], Encoded],
        skipped: Path,
        seed: int,
    ) -> None:
        self._data = data
        self._encode = encode
        self._skipped = skipped
        self._seed = seed

    def __len__(self) -> int:
        return len(self._data.mixture)

    def __getitem__(self, place: int) -> Encoded:
        """The example at a place. Raises `DataError` where none of a source's can be used."""
        name, number = draw = self._data.mixture.draw(place)
        source = self._data.sources[name]
        for attempt in range(ATTEMPTS):
            try:
                return self._encode(source.example(number))
            except (ModelError, ValueError) as error:
                self._note(place, Draw(name, number), error)
                reason = error
            rng = np.random.default_rng([self._seed, place, attempt])
            number = int(rng.integers(source.size or 1 << 31))
        raise DataError(
            f"source {draw.source}: {ATTEMPTS} examples in a row cannot be used, the last because: "
            f"{reason} (all are named in {self._skipped})"
        )

    def _note(self, place: int, draw: Draw, error: Exception) -> None:
        line = {"place": place, "source": draw.source, "number": draw.number, "reason": str(error)}
        # One short write at the end of the file: worker processes do not mix their lines.
        with self._skipped.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
