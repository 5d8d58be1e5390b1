"""Peak memory of ``workbench replay`` on the sample sessions, against a bare Textual app on the same terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pexpect
import psutil

from benchmarks.terminal import ROOT, Terminal

BARE = "from textual.app import App; App().run()"


def main() -> None:
    print(f"{'':44} {'peak MB':>8}")
    sessions = sorted((ROOT / "sessions").glob("*.json"))
    for session in sessions:
        with Terminal("replay", str(session), columns=160, rows=48) as terminal:
            terminal.wait_for("step ")
            for key in ["[", "]", "v", "v", *"jjjkkkhhlll"]:
                terminal.press(key)
                terminal.settle(0.1)
            print(f"{'replay ' + session.name:44} {peak_mb(terminal.child.pid):8.1f}")

    child = pexpect.spawn(sys.executable, ["-c", BARE], dimensions=(48, 160))
    time.sleep(2)
    print(f"{'a bare Textual app':44} {peak_mb(child.pid):8.1f}")
    child.close(force=True)


def peak_mb(pid: int) -> float:
    """The largest resident size so far, in 10⁶ bytes, where the system keeps it; else the size now."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return float(psutil.Process(pid).memory_info().rss / 1e6)


if __name__ == "__main__":
    main()
