"""`python -m sublearn` is the command line `sublearn`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
