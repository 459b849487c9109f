"""``python -m acsrecipe``."""

import sys

from acsrecipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
