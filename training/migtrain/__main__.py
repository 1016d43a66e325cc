"""``python -m migtrain``."""

from migtrain.cli import main

main()
