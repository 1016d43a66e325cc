"""LLaMA-Factory's training with validation: ``python -m migtrain.recipe.worker CONFIG SETTINGS``.

``llamafactory-cli`` takes no callbacks; the function that it calls does. torchrun starts one
process a GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from migbench.util.yaml_files import read_yaml
from migtrain.recipe.validation import ValidationSettings, validation_callback


def main(config: Path, settings: Path) -> None:
    """Train by a configuration, and validate by settings that ``migtrain run`` has written."""
    from llamafactory.train.tuner import run_exp

    wanted = msgspec.json.decode(settings.read_bytes(), type=ValidationSettings)
    arguments = read_yaml(config)
    run_exp(args=arguments, callbacks=[validation_callback(wanted, arguments)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
