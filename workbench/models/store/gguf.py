"""From a GGUF file to a folder of safetensors, configuration and tokenizer, which loads many times as fast.

The work is done by ``python -m workbench.models.store.gguf FILE FOLDER`` in a process of its own: it can be stopped at
any moment, leaves no memory behind, and does not hold up the screen. transformers converts (its tables of names and
permutations cover every architecture it can read); what is ours is that the file is read once and not three times.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.errors import ModelError
from workbench.lazy import torch, transformers
from workbench.models.store.child import run_python
from workbench.models.store.space import check_space
from workbench.protocol import Progress

CONVERTER_VERSION = 1
"""Raised when the folders that `convert` writes change, so that older ones are made anew."""

_MODULE = "workbench.models.store.gguf"
_BYTES_PER_PARAMETER = 4  # float32: exactly what the quantised numbers stand for


def convert(gguf: Path, folder: Path, progress: Progress, stage: str) -> None:
    """Write ``gguf`` to the new ``folder`` as float32 safetensors with its configuration and tokenizer.

    Progress counts the bytes of ``gguf`` that were converted; what it raises ends the work. Raises `ModelError`
    where the file cannot be read, its architecture is not known or the disk has no room, `OSError` (ENOSPC) where
    the disk fills up meanwhile.
    """
    with gguf.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{gguf} is not a GGUF file; fetch it again")
    total = gguf.stat().st_size

    def look(lines: list[str]) -> None:
        progress(min(_latest(lines, "done") or 0, total), total, stage=stage)

    ended = run_python(["-m", _MODULE, str(gguf), str(folder)], look)
    if ended.disk_was_full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    if sentence := _latest(ended.lines, "error"):
        raise ModelError(sentence)
    if ended.code != 0:
        raise ModelError(f"{gguf} could not be converted; is it whole, and a language model? ({ended.last()})")
    progress(total, total, stage=stage)


def _latest(lines: list[str], key: str) -> Any:
    """The newest value of ``key`` among the JSON objects that the converting process printed, or None."""
    for line in reversed(lines):
        if line.startswith(f'{{"{key}":'):
            return json.loads(line)[key]
    return None


def _convert(gguf: Path, folder: Path, report: Callable[[int], None]) -> None:
    """What the converting process does. ``report`` is told the bytes dequantised so far."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    _read_once(report)
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    check_space(folder.parent, model.num_parameters() * _BYTES_PER_PARAMETER, f"to convert {gguf.name}")
    _without_quantization_mark(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read_once(report: Callable[[int], None]) -> None:
    """Have transformers parse the file's header and build the table of tensor names once in this process.

    It would parse the header for the configuration, the weights and the tokenizer, each time by a million small
    slices of a memmap, and build the table for every module: 31 s in place of 13 s for the default model.
    """
    import gguf as library
    import numpy as np

    class PlainReader(library.GGUFReader):  # type: ignore[misc]
        """gguf's reader on a plain view of the mapped file, whose slices cost a third."""

        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, mapped: Any) -> None:
            self._plain = np.asarray(mapped)

    done = 0

    def dequantize(data: Any, kind: Any) -> Any:
        nonlocal done
        done += data.nbytes
        report(done)
        return library.quants.dequantize(data, kind)

    library.GGUFReader = functools.cache(PlainReader)
    library.get_tensor_name_map = functools.cache(library.get_tensor_name_map)
    library.dequantize = dequantize


def _without_quantization_mark(model: Any) -> Any:
    """The same weights in a model that does not know where it comes from: the marked one refuses to be saved."""
    config = model.config
    del config.quantization_config
    with torch.device("meta"):
        fresh = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.generation_config = model.generation_config
    return fresh


def _say(**message: int | str) -> None:
    """One line to the waiting process."""
    print(json.dumps(message), flush=True)  # noqa: T201


if __name__ == "__main__":
    try:
        _convert(Path(sys.argv[1]), Path(sys.argv[2]), lambda done: _say(done=done))
    except ModelError as problem:
        _say(error=str(problem))
        sys.exit(2)
