"""The program: raw mode first where the app is to be opened, then the command line, whose imports take a while."""

from __future__ import annotations

import sys

from workbench import early_terminal

CANCELLED = 130


def main() -> None:
    """The console script."""
    if early_terminal.opens_app(sys.argv[1:]):
        early_terminal.take()
    try:
        from workbench.cli import main as cli
    except KeyboardInterrupt:
        raise SystemExit(CANCELLED) from None
    cli.main()


if __name__ == "__main__":
    main()
