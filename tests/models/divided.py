"""Methods on a model whose matrices are divided over the processes of torchrun; the first one writes what they find."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from workbench.loading import load
from workbench.models.devices import is_first_process
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request

CASE = {"prompt": "The capital of Australia is ", "subject": "Australia", "target": "a", "foil": "b"}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("lens", {"case": CASE}),
    ("patchscope", {"case": CASE}),
    ("continue", {"case": CASE, "tokens": 4}),
    ("attribution", {"case": CASE, "method": "integrated-gradients"}),
    ("attribution", {"case": CASE, "method": "occlusion"}),
    ("trace", {"case": CASE, "samples": 2, "kinds": ("states", "mlp", "attention"), "estimate": False}),
    ("patch", {"case": CASE, "source": "The capital of Hungary is "}),
]


def found(folder: str, device_map: str | None = None) -> list[Any]:
    """What the methods find, as in a file."""
    model = load(folder, "float32", "cpu" if device_map is None else "auto", device_map=device_map)
    assert model.info.device == ("cpu" if device_map is None else f"{os.environ['WORLD_SIZE']} × cpu")
    return [
        json.loads(method(kind).run(model, request(kind, **asked), silent).model_dump_json()) for kind, asked in ASKED
    ]


def main(folder: str) -> None:
    """What torchrun starts in every process."""
    results = found(folder, "tp")
    if is_first_process():
        sys.stdout.write(json.dumps(results))
        sys.stdout.flush()
