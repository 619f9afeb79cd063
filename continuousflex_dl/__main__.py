"""``python -m continuousflex_dl`` is the same as ``cflex``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
