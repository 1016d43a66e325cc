"""Stand-ins for a data set whose images are not here: a small drawn one under every image's path.

    python benchmarks/stand_ins.py MIG_data.json FOLDER --edge 112

Each is another picture, so that no cache takes one for the other; all have the same size, so that
each is the same number of tokens. They are PNG files, whatever their names end in.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from migbench.data.annotations import read_annotations

EDGE = 112
"""Width and height in pixels: 16 tokens of Qwen2-VL, one block of vLLM's cache."""


def write(annotations: Path, folder: Path, edge: int, seed: int) -> int:
    """Write them all; how many there are. The same arguments give the same bytes."""
    instances = read_annotations(annotations).instances
    names = dict.fromkeys(name for instance in instances for name in instance.images)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Four by four fields of colour.
        fields = np.random.default_rng([seed, number]).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(fields).resize((edge, edge), Image.Resampling.NEAREST)
        image.save(path, format="PNG")
    return len(names)


def main() -> None:
    """Read the options and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edge", type=int, default=EDGE)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(write(options.annotations, options.folder, options.edge, options.seed))


if __name__ == "__main__":
    main()
