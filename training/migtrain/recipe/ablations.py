"""The data settings of the paper's Tables 6 and 9, as mixtures and the commands that train them.

Table 6 leaves data out of both stages: MGrounding-630k (*w/o grounding*), or the multi-image
understanding data (*w/o general*), as section 7.2 says. What is left keeps its number of examples.
Table 9 trains on the six tasks of MGrounding-630k, with stage 1's values: all together (multi-task
learning), each alone (separate learning), and the mean of the six (model merging).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from migbench.errors import UsageError
from migtrain.recipe.mixtures import DataMixture, SourceSpec, find_mixture

GROUNDING = ("m-grounding-1", "m-grounding-2")
"""MGrounding-630k's sources in Table 12."""
GENERAL = ("m-understanding",)
"""What Table 6 calls general data: M4-Instruct's multi-image understanding."""
SEPARATE = "separate-{}"
COMMANDS = "commands.sh"

_HEAD = """\
#!/bin/sh
# The settings of Tables 6 and 9 with the authors' values: eight GPUs, and days.
set -eu
cd "$(dirname "$0")"
: "${DATA:?the folder of the records}" "${MIG:?the folder of MIG-Bench}"
: "${BASE:=Qwen/Qwen2-VL-7B-Instruct}"
"""


@dataclass(frozen=True, slots=True)
class DataSetting:
    """A row of a table: the mixtures of its stages, in order; the first starts from the base."""

    name: str
    row: str
    mixtures: tuple[DataMixture, ...]

    def mixture_file(self, stage: int) -> str:
        """The file of a stage's mixture, from 1."""
        return f"{self.name}.stage{stage}.yaml"

    def model(self, stage: int) -> str:
        """The checkpoint that a stage leaves."""
        return f"{self.name}/stage{stage}/model"


def data_settings() -> list[DataSetting]:
    """Table 6's settings, then Table 9's trainings."""
    first, second = find_mixture("stage1"), find_mixture("stage2")
    grounding = first.sources[GROUNDING[0]]
    alone = [
        DataSetting(SEPARATE.format(kind), f"Table 9, Separate Learning: {kind}", (_of(kind),))
        for kind in grounding.kinds
    ]
    return [
        DataSetting("full-data", "Table 6, Full data", (first, second)),
        DataSetting(
            "without-grounding",
            "Table 6, w/o grounding",
            (_without(first, GROUNDING), _without(second, GROUNDING)),
        ),
        DataSetting(
            "without-general",
            "Table 6, w/o general",
            (_without(first, GENERAL), _without(second, GENERAL)),
        ),
        DataSetting("multi-task", "Table 9, Multi-Task Learning", (_of(*grounding.kinds),)),
        *alone,
    ]


def _without(mixture: DataMixture, left_out: Sequence[str]) -> DataMixture:
    """The same examples less those of some sources."""
    assert mixture.examples is not None
    sources = {name: each for name, each in mixture.sources.items() if name not in left_out}
    shares = [sum(each.share for each in kept.values()) for kept in (sources, mixture.sources)]
    return DataMixture(sources, mixture.examples * shares[0] // shares[1])


def _of(*kinds: str) -> DataMixture:
    """Some tasks of MGrounding-630k: all their records, once."""
    grounding = find_mixture("stage1").sources[GROUNDING[0]]
    return DataMixture({"m-grounding": SourceSpec(1, grounding.files, kinds)})


def write_settings(out: Path) -> list[DataSetting]:
    """Write all settings' mixtures and the script ``commands.sh`` into a folder.

    Raises `UsageError` where the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out}: is not empty; name a folder that is, or none")
    out.mkdir(parents=True, exist_ok=True)
    settings = data_settings()
    for setting in settings:
        for stage, mixture in enumerate(setting.mixtures, start=1):
            content = yaml.safe_dump(msgspec.to_builtins(mixture), sort_keys=False)
            (out / setting.mixture_file(stage)).write_text(f"# {setting.row}\n{content}", "utf-8")
    script = out / COMMANDS
    script.write_text(_HEAD + "".join(f"{line}\n" for line in _commands(settings)), "utf-8")
    script.chmod(0o755)
    return settings


def _commands(settings: Sequence[DataSetting]) -> Iterator[str]:
    for setting in settings:
        yield f"\n# {setting.row}"
        start = '"$BASE"'
        for stage in range(1, len(setting.mixtures) + 1):
            data = f"{setting.name}/stage{stage}-data"
            mixture = shlex.quote(setting.mixture_file(stage))
            yield f'migtrain prepare "$DATA" --stage {stage} --mixture {mixture} --out {data}'
            out = setting.model(stage).removesuffix("/model")
            evaluated = ' --evaluate "$MIG"' if stage == len(setting.mixtures) else ""
            yield f"migtrain run {stage} --data {data} --model {start} --out {out}{evaluated}"
            start = setting.model(stage)
    merged = [each.model(1) for each in settings if each.name.startswith(SEPARATE.format(""))]
    yield "\n# Table 9, Model Merging"
    yield f"migtrain merge {' '.join(merged)} --out merged"
    yield 'migbench run --model merged --data "$MIG" --out merged-evaluation'
