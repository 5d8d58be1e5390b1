"""Options that several commands share, declared once. Imports no more than it takes to read them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.prepend import Prepend

Subject = Annotated[str | None, typer.Option("--subject", "-s", help="What the prompt is about: words of it.")]
Target = Annotated[str | None, typer.Option("--target", "-t", help="The continuation that is wanted.")]
Foil = Annotated[str | None, typer.Option("--foil", "-f", help="The continuation it is compared with.")]
Prepended = Annotated[
    Prepend, typer.Option("--prepend", help="What is prepended: nothing (as-is), BOS or the separator, a newline.")
]
Chat = Annotated[bool, typer.Option("--chat/--no-chat", help="Put the prompt through the chat template.")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="Catalogue name, directory, GGUF file or hub id.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        "--device-map",
        help="Deal the weights out over several devices: auto, balanced, a file of JSON; tp under torchrun.",
        show_default=False,
    ),
]
Remote = Annotated[
    bool, typer.Option("--remote", help="Ask a model at NDIF, by its hub id, with the key in NDIF_API_KEY.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what --remote would send, and send nothing.")]
Apply = Annotated[
    Path | None,
    typer.Option(
        "--apply", help="Apply the edits of this patch, or a LoRA adapter's folder, first.", show_default=False
    ),
]
SessionPath = Annotated[
    Path | None, typer.Option("--session", help="Append the step to this session file.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the step as JSON, and nothing else.")]
NoMouse = Annotated[
    bool, typer.Option("--mouse/--no-mouse", help="Leave the mouse to the terminal, to select and paste.")
]
