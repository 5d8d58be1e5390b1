"""What this machine has, on one page: the first thing to look at when something is odd."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.table import Table

from workbench import paths
from workbench.cli.console import Console
from workbench.lazy import torch
from workbench.models.store.catalog import list_models
from workbench.session import environment


def print_doctor() -> None:
    """Print what this machine has. Imports torch: it is the one place to ask what it sees."""
    console = Console()
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, version in environment().items():
        table.add_row(name, version)
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] + devices
    elif torch.backends.mps.is_available():
        devices = ["mps", *devices]
    table.add_row("devices", ", ".join(devices))
    table.add_row("threads", str(torch.get_num_threads()))
    table.add_row("cache", str(paths.cache_folder()))
    table.add_row("sessions", str(paths.sessions_folder()))
    free = shutil.disk_usage(_existing(paths.cache_folder())).free
    table.add_row("free disk", f"{free / 2**30:.1f} GiB")
    table.add_row("terminal", f"{os.environ.get('TERM', 'unknown')}, {console.color_system or 'no colour'}")
    for model in list_models():
        table.add_row("model", f"{model.name}: {model.state}")
    console.print(table)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
