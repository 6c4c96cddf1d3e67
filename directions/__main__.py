"""``python -m directions``: the same command line as the console script ``directions``."""

from __future__ import annotations

import sys

from directions.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
