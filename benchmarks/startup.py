"""Seconds from the start to the first paint and to a ready default model, in a real pseudo-terminal, warm cache.

The other side of the comparison is a bare interpreter that imports torch, transformers and nnsight and does
nothing: what a program would cost that imports first and paints later.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.terminal import Terminal

RUNS = 5
IMPORTS = "import torch, transformers, nnsight; from transformers import AutoModelForCausalLM"


def main() -> None:
    paints, readies, imports = [], [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder, Terminal("--session", f"{folder}/s.json") as terminal:
            paints.append(terminal.wait_for("Prompt"))
            readies.append(terminal.wait_for(lambda text: "float32" in text))
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        imports.append(time.perf_counter() - began)
    print(f"{'':38} {'median s':>9} {'least s':>8}")
    for name, values in (
        ("start to first paint", paints),
        ("start to a ready default model", readies),
        ("importing the libraries, nothing else", imports),
    ):
        print(f"{name:38} {statistics.median(values):9.2f} {min(values):8.2f}")
    print(f"ready / imports alone: {statistics.median(readies) / statistics.median(imports):.2f}")


if __name__ == "__main__":
    main()
