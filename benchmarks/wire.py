"""Bytes that the app sends to the terminal: for a cursor move, a page, a second of a running job, and while idle.

What somebody waits for over a slow link. A pseudo-terminal of 80 × 24 with 256 colours, and ``SSH_CONNECTION`` set; all
panes hold an answer about the same prompt, and follow the cursor.
"""

from __future__ import annotations

import statistics
import tempfile
import time

from benchmarks.terminal import Terminal

CASE = (
    "The capital of Australia is",
    "--subject",
    "Australia",
    "--target",
    "Canberra",
    "--foil",
    "Sydney",
    "--prepend",
    "separator",
)
LONG = "The capital of Australia is Canberra and the river runs down to the sea past old towns " * 24
SSH = {"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22"}
MOVES = 20
IDLE = 5.0
JOB = 20.0

AIMS = {"a cursor move": 1_000, "a page": 14_000, "a tick of a job": 300, "ticks a second": 4, "idle": 0}


def main() -> None:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for columns, rows in ((80, 24), (160, 48)):
            with Terminal(
                *CASE, "--session", f"{folder}/{columns}.json", columns=columns, rows=rows, env=SSH
            ) as terminal:
                moves(terminal, f"{columns} × {rows}", found)
        with Terminal(LONG.strip(), "--session", f"{folder}/long.json", env=SSH) as terminal:
            job(terminal, found)
    print(f"{'':36} {'median':>8} {'largest':>8} {'aim':>8}")
    for name, values in found.items():
        aim = next((most for of, most in AIMS.items() if of in name), None)
        print(f"{name:36} {statistics.median(values):8.0f} {max(values):8.0f} {'' if aim is None else aim:>8}")


def moves(terminal: Terminal, size: str, found: dict[str, list[float]]) -> None:
    """Cursor moves through layers and tokens, with attributions there, and a page of the grid; then nothing."""
    terminal.wait_for("next: D", 120)
    for key in "ad2":
        terminal.press(key)
        terminal.settle(0.5)
        terminal.wait_for("next: D", 240)
    terminal.settle(0.5)
    found[f"a cursor move, {size}: layers"] = [sent(terminal, "j" if n % 10 < 5 else "k") for n in range(MOVES)]
    terminal.press("v")
    terminal.settle(0.5)
    found[f"a cursor move, {size}: tokens"] = [sent(terminal, "h" if n % 6 < 3 else "l") for n in range(MOVES)]
    found[f"a page, {size}"] = [sent(terminal, key) for key in ("\x1b[6~", "\x1b[5~") * 3]
    found[f"idle, {size}, in a pane"] = [idle(terminal)]
    terminal.press("p")
    terminal.settle(0.5)
    found[f"idle, {size}, in the prompt"] = [idle(terminal)]


def job(terminal: Terminal, found: dict[str, list[float]]) -> None:
    """A lens that reads all positions of a long prompt."""
    terminal.wait_for("unembedding", 120)
    terminal.settle(1.5)
    ticks: list[float] = []
    end = time.perf_counter() + JOB
    while (now := time.perf_counter()) < end:
        if count := burst(terminal, end - now):
            ticks.append(count)
    assert "unembedding" in terminal.text, "the job was too short"
    found["a tick of a job, 80 × 24"] = ticks
    found["ticks a second, 80 × 24"] = [len(ticks) / JOB]


def burst(terminal: Terminal, seconds: float) -> int:
    """Bytes that come without a pause between them."""
    count = terminal.read(max(0.01, seconds))
    while count and (more := terminal.read(0.03)):
        count += more
    return count


def sent(terminal: Terminal, key: str) -> int:
    """Bytes that one key brings."""
    terminal.settle(0.15)
    terminal.press(key)
    count = terminal.read(3.0)
    while more := terminal.read(0.25):
        count += more
    return count


def idle(terminal: Terminal) -> int:
    """Bytes that come while nobody does anything."""
    terminal.settle(0.5)
    count, end = 0, time.perf_counter() + IDLE
    while (left := end - time.perf_counter()) > 0:
        count += terminal.read(left)
    return count


if __name__ == "__main__":
    main()
