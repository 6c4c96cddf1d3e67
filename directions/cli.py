"""The program ``directions``; see `directions.commands.main`."""

import sys

from directions.commands.main import app, main

__all__ = ["app", "main"]

if __name__ == "__main__":
    sys.exit(main())
