"""`python -m sublearn` is the command line `sublearn`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
