"""Milliseconds from a key to the moved row, while the engine works and when it is idle."""

from __future__ import annotations

import statistics
import tempfile
import time

from benchmarks.terminal import Terminal

KEYS = 200
PAUSE = 0.02
WORDS = "The capital of Australia is Canberra and the river runs down to the sea past old towns "
CASE = ("The capital of Australia is", "--subject", "Australia", "--target", "Canberra", "--foil", "Sydney")
AIM = "aims: median 30 ms, 99th percentile 100 ms"

JOBS = {"a causal trace": "t2", "an edit": "e\r2", "a generation": "r\r2"}
"""Keys that begin a job and come back to the lens."""


def main() -> None:
    rows: list[tuple[str, list[float], bool]] = []
    prompt = " ".join((WORDS * 40).split()[:512])
    with tempfile.TemporaryDirectory() as folder:
        with Terminal(prompt, "--session", f"{folder}/s.json", columns=160, rows=48) as terminal:
            terminal.wait_for("unembedding", 120)
            rows.append(("a 512-token lens", measure(terminal), "unembedding" in terminal.text))
            terminal.press("\x1b")
            terminal.wait_for(lambda text: "unembedding" not in text)
            terminal.settle(0.5)
            rows.append(("nothing", measure(terminal), True))
        for name, keys in JOBS.items():
            with Terminal(*CASE, "--session", f"{folder}/{name}.json", columns=160, rows=48) as terminal:
                terminal.wait_for("next: D", 120)
                for key in keys:
                    terminal.press(key)
                    terminal.settle(0.3)
                terminal.wait_for("esc cancels", 60)
                rows.append((name, measure(terminal), "esc cancels" in terminal.text))
    print(f"{'while there runs':28} {'median ms':>10} {'99th %':>8} {'largest':>8}   ({KEYS} keys each; {AIM})")
    for name, times, still in rows:
        nearly_all = sorted(times)[int(len(times) * 0.99) - 1]
        done = "" if still else "   (it ended before the last key)"
        print(f"{name:28} {statistics.median(times):10.1f} {nearly_all:8.1f} {max(times):8.1f}{done}")


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
