"""``python -m migbench``."""

from migbench.cli import main

if __name__ == "__main__":
    main()
