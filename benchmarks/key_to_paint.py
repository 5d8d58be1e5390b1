"""Milliseconds from a key to the moved row, while the engine computes a 512-token lens and when it is idle."""

from __future__ import annotations

import statistics
import tempfile
import time

from benchmarks.terminal import Terminal

KEYS = 200
PAUSE = 0.02
WORDS = "The capital of Australia is Canberra and the river runs down to the sea past old towns "


def main() -> None:
    prompt = (WORDS * 40).strip()
    prompt = " ".join(prompt.split()[:512])
    with tempfile.TemporaryDirectory() as folder:
        with Terminal(prompt, "--session", f"{folder}/s.json", columns=160, rows=48) as terminal:
            terminal.wait_for("unembedding", 90)
            busy = measure(terminal)
            still = "unembedding" in terminal.text
            terminal.press("\x1b")
            terminal.wait_for(lambda text: "unembedding" not in text)
            terminal.settle(0.5)
            idle = measure(terminal)
    print(f"{'':28} {'median ms':>10} {'99th %':>8} {'largest':>8}   ({KEYS} keys each)")
    for name, times in (("busy with a 512-token lens", busy), ("idle", idle)):
        nearly_all = sorted(times)[int(len(times) * 0.99) - 1]
        print(f"{name:28} {statistics.median(times):10.1f} {nearly_all:8.1f} {max(times):8.1f}")
    print(f"the engine was {'still busy' if still else 'NOT busy any more'} after the last key")
    print(f"busy / idle: {statistics.median(busy) / statistics.median(idle):.2f}")


def measure(terminal: Terminal) -> list[float]:
    """Press up and down through the layers; wait for the row marker to move, so that progress is not counted."""
    times = []
    for number in range(KEYS):
        terminal.settle(PAUSE)
        before = [line for line in terminal.screen.display if "▸" in line]
        began = time.perf_counter()
        terminal.press("j" if number % 20 < 10 else "k")
        while [line for line in terminal.screen.display if "▸" in line] == before:
            terminal.read(1.0)
            if time.perf_counter() - began > 5:
                raise AssertionError(f"no answer to a key in 5 s:\n{terminal.text}")
        times.append((time.perf_counter() - began) * 1e3)
    return times


if __name__ == "__main__":
    main()
