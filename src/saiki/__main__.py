"""``python -m saiki``: the same program as ``saiki``."""

import sys

from saiki.cli import main

if __name__ == "__main__":
    sys.exit(main())
