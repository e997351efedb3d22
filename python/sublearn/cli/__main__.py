"""`python -m sublearn.cli` is the command line `sublearn`."""

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main())
