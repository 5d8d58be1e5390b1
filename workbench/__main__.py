"""The program: raw mode first where the app is to be opened, then the command line, whose imports take a while."""

from __future__ import annotations

import gc
import sys

from workbench import early_terminal

CANCELLED = 130


def main() -> None:
    """The console script."""
    opens_app = early_terminal.opens_app(sys.argv[1:])
    if opens_app:
        early_terminal.take()
    gc.disable()  # what is imported is there to stay: to look through it again and again takes a tenth of the start
    try:
        if opens_app and sys.argv[1:2] != ["replay"]:
            from workbench.cli.opening import main as run
        else:
            from workbench.cli.main import main as run
    except KeyboardInterrupt:
        raise SystemExit(CANCELLED) from None
    if not opens_app:
        gc.enable()
    run()


if __name__ == "__main__":
    main()
