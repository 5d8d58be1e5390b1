"""What a step of 8 kB costs to record after 0 and after 2,000 others: appended, and as a file written anew."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from workbench.case import Case
from workbench.files import write_atomically
from workbench.methods.generation.continuation import ContinueRequest
from workbench.session import SessionFile, Step

SIZE, BEFORE, REPEATS = 8_000, 2_000, 20


def step() -> Step:
    """A step whose line in the file has about `SIZE` bytes."""
    request = ContinueRequest(case=Case(prompt="x" * SIZE))
    return Step(started=datetime.now(UTC), seconds=0.1, status="failed", request=request)


def milliseconds(record: Callable[[Step], object]) -> float:
    """The median time to record a step."""
    times = []
    for _ in range(REPEATS):
        each = step()
        began = time.perf_counter()
        record(each)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


class Anew:
    """How it was done before: every line is kept, and all of them are written for each step."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path = path
        self.lines = [step().model_dump_json()] * steps
        self.steps = tuple(step() for _ in range(steps))

    def append(self, new: Step) -> None:
        """Write the whole file."""
        self.lines.append(new.model_dump_json())
        self.steps = (*self.steps, new)
        write_atomically(self.path, '{"steps": [\n' + ",\n".join(self.lines) + "\n]}\n")


def main() -> None:
    """Print the table."""
    table = Table(title=f"A step of {SIZE // 1000} kB, ms (median of {REPEATS})")
    for name in ("steps before it", "written anew", "appended", "ratio"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for before in (0, BEFORE):
            anew = Anew(Path(folder) / f"anew-{before}.json", before)
            appended = SessionFile(Path(folder) / f"appended-{before}.json")
            appended._steps = list(anew.steps)  # written with the first of those that follow, which is not timed
            appended.append(step())
            old, new = milliseconds(anew.append), milliseconds(appended.append)
            table.add_row(f"{before:,}", f"{old:.2f}", f"{new:.2f}", f"{old / new:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
