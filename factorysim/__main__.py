"""The command's way in: `factorysim`, or `python -m factorysim`.

Nothing is imported before the interrupt is looked after: Ctrl-C while the program
still loads says so in a word, not in a traceback.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Load the program and run it; see `factorysim.cli.app.main`."""
    try:
        from factorysim.cli.app import main as program

        program()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
