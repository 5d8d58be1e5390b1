"""How long it takes until something is painted, until the default model is ready, and what one command takes.

Each beside what cannot be saved: an interpreter that imports ``textual.app``; one that imports torch and transformers;
one that imports these and runs the model once. In processor seconds, which other programs on the machine do not change
much, and in seconds; ratios are those of the processor seconds. In a real pseudo-terminal, with a warm cache.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.terminal import WORKBENCH, Terminal
from workbench import paths

RUNS = 5
PROMPT = "The capital of Australia is"
SCREEN = "import textual.app"
LIBRARIES = "import torch; from transformers import AutoModelForCausalLM, AutoTokenizer"
FORWARD = f"""
{LIBRARIES}
model = AutoModelForCausalLM.from_pretrained({{path!r}})
tokenizer = AutoTokenizer.from_pretrained({{path!r}})
with torch.no_grad():
    model(**tokenizer({PROMPT!r}, return_tensors="pt"))
"""
Took = tuple[float, float]
"""Processor seconds, seconds."""


def main() -> None:
    path = str(paths.models_folder() / "smollm2-135m")
    rows: dict[str, list[Took]] = {}
    for _ in range(RUNS):
        for name, code in (("textual.app", SCREEN), ("torch, transformers", LIBRARIES), ("… and one forward", FORWARD)):
            command = [sys.executable, "-c", code.format(path=path)]
            rows.setdefault(name, []).append(timed(lambda command=command: run(command)))
        rows.setdefault("lens --json", []).append(timed(lambda: run([*WORKBENCH, "lens", PROMPT, "--json"])))
        with tempfile.TemporaryDirectory() as folder, Terminal("--session", f"{folder}/s.json") as terminal:
            for name, shown in (
                ("first line", "starting"),
                ("first frame", "Type a prompt"),
                ("main screen", "Type one, or press"),
                ("model ready", "then enter · smollm2-135m"),
            ):
                wall = terminal.wait_for(shown)
                rows.setdefault(name, []).append((processor_seconds(terminal.child.pid), wall))
    print(f"{'median of ' + str(RUNS):24} {'processor s':>12} {'seconds':>8}")
    for name, took in rows.items():
        print(f"{name:24} {median(took, 0):12.2f} {median(took, 1):8.2f}")
    for name, other, aim in (
        ("first line", "textual.app", 2.0),
        ("first frame", "textual.app", 2.0),
        ("model ready", "torch, transformers", 2.0),
        ("lens --json", "… and one forward", 1.6),
    ):
        ratio = median(rows[name], 0) / median(rows[other], 0)
        print(f"{name} / {other}: {ratio:.2f} (aim: {aim:.1f})")


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> Took:
    """What a child process takes."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - began


def processor_seconds(pid: int) -> float:
    """What a process has taken until now (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(took: list[Took], which: int) -> float:
    return statistics.median(each[which] for each in took)


if __name__ == "__main__":
    main()
