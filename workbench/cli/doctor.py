"""What this machine and this terminal have, on one page, and what to set: the first thing to look at."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.table import Table

from workbench import paths
from workbench.cli.console import Console, Text
from workbench.cli.output import results
from workbench.cli.terminal import terminal_facts
from workbench.lazy import torch
from workbench.models.store.catalog import list_models
from workbench.session import environment


def print_doctor() -> None:
    """Print what there is. Imports torch: it is the one place to ask what it sees."""
    console = Console()
    facts = terminal_facts(os.environ, console.color_system, getattr(results().stream, "encoding", None) or "ascii")
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, version in environment().items():
        table.add_row(name, version)
    size = shutil.get_terminal_size()
    rows = {
        "terminal": f"{facts.terminal}, {size.columns} × {size.lines}",
        "colours": facts.colours,
        "multiplexer": facts.multiplexer,
        "ssh": facts.ssh,
        "clipboard": facts.clipboard,
        "devices": ", ".join(_devices()),
        "memory": _memory(),
        "threads": str(torch.get_num_threads()),
        "kernels": _kernels(),
        "cache": f"{paths.cache_folder()}, {_gigabytes(_size(paths.cache_folder()))}",
        "sessions": str(paths.sessions_folder()),
        "free disk": _gigabytes(shutil.disk_usage(_existing(paths.cache_folder())).free),
    }
    for name, said in rows.items():
        table.add_row(name, Text(said))
    for model in list_models():
        table.add_row("model", Text(f"{model.name}: {model.state}"))
    for line in facts.advice:
        table.add_row("to set", Text(line))
    console.print(table)


def _devices() -> list[str]:
    if torch.cuda.is_available():
        found = []
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            found.append(f"{torch.cuda.get_device_name(number)} ({_gigabytes(free)} of {_gigabytes(total)} free)")
        return [*found, "cpu"]
    return ["mps", "cpu"] if torch.backends.mps.is_available() else ["cpu"]


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{_gigabytes(memory.available)} of {_gigabytes(memory.total)} available"


def _kernels() -> str:
    """What attention can be computed by; a model is loaded with sdpa where it can be."""
    names = ["eager", "sdpa"]
    if torch.cuda.is_available():
        flash = torch.backends.cuda.is_flash_attention_available()  # type: ignore[no-untyped-call, unused-ignore]
        names += ["sdpa flash"] * flash
    return f"{', '.join(names)}; {torch.backends.cpu.get_cpu_capability()}"


def _size(folder: Path) -> int:
    """The bytes of all files in a folder, those that can be seen."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:  # it has just gone
                continue
    return total


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
