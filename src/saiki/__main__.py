"""The program ``saiki``, which is ``python -m saiki``, too."""

import os
from typing import NoReturn

from saiki import stopping


def main() -> NoReturn:
    """Run the command of this process, and end with its exit code."""
    stopping.listen()
    try:
        from saiki.cli import main as command

        code = command()
    except (Exception, KeyboardInterrupt):
        if not stopping.is_pressed():
            raise
        code = stopping.STOPPED
        if not stopping.is_over():
            stopping.close()
            os.write(2, stopping.SENTENCE)
    stopping.end(code)


if __name__ == "__main__":
    main()
