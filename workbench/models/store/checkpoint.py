"""A model folder: what must be in it, checked before anything is loaded, and the fingerprint of its weights.

Only safetensors are read. Their header says where every tensor lies, so a truncated file is seen at once, and the
bytes can be hashed without torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.errors import ModelError
from workbench.protocol import Progress, silent
from workbench.reading import BadJson, Unreadable, is_file, opened, parse, read_text, shortened

_INDEX = "model.safetensors.index.json"
_KERNELS = ("eager", "sdpa")
# The last two are how configurations say it inside; transformers takes them from a file all the same.
_KERNEL_KEYS = {"attn_implementation", "_attn_implementation", "_attn_implementation_internal", "kernel_config"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "*.tiktoken", "tekken.json")
_BLOCK = 1 << 22
_LOOK_EVERY = 0.1  # seconds: how soon a cancelled job is noticed
_SHARD = re.compile(r"[^/\\:\x00-\x1f]+\.safetensors")
_HEADER_LIMIT = 100_000_000  # the format's own limit on a header, in bytes
_MOST_JSON = 64_000_000  # bytes; the index of the largest models has ten million


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file; its bytes are ``start`` to ``end`` of the file."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises `ModelError` where it is not that of a causal model this library knows.

    Custom code is never run, so a model whose architecture is only described by code in its folder is refused.
    """
    from transformers.models.auto import configuration_auto, modeling_auto

    path = folder / "config.json"
    if not is_file(path):
        raise ModelError(f"{folder} is not a model: it has no config.json; name the folder that holds one")
    config = json_object(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise ModelError(f"{path} does not name the architecture (model_type); fetch the model again")
    _refuse_kernels(folder, config)
    if "auto_map" in config and model_type not in configuration_auto.CONFIG_MAPPING_NAMES:
        raise ModelError(
            f"{folder} brings its own code for the architecture {shortened(model_type, 40)}, which is never run; use a "
            "model of an architecture that the transformers library knows"
        )
    if model_type not in configuration_auto.CONFIG_MAPPING_NAMES:
        raise ModelError(
            f"{path} names the architecture {shortened(model_type, 40)}, which the transformers library does not know"
        )
    if config.get("is_encoder_decoder") or model_type not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        kind = "not a causal language model"
    elif model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder"):
        kind = "an encoder"
    else:
        return config
    raise ModelError(
        f"{folder} is {kind} ({model_type}); the workbench needs a decoder that reads left to right, because every "
        "method asks for the next token"
    )


def _refuse_kernels(folder: Path, config: dict[str, Any]) -> None:
    """Raise `ModelError` where a configuration asks for code: transformers would fetch a kernel and run it."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in _KERNEL_KEYS & part.keys():
            asked = part[key] if isinstance(part[key], dict) else {"": part[key]}
            for kernel in asked.values():
                if kernel is not None and kernel not in _KERNELS:
                    raise ModelError(
                        f"{folder} asks for the attention kernel {str(kernel)[:80]!r}, code from elsewhere that is "
                        f"never fetched or run; take {key} out of its config.json"
                    )


def stored_tensors(folder: Path) -> list[StoredTensor]:
    """All tensors of the folder's safetensors files, sorted by name. Reads the headers only.

    Raises `ModelError` for weights that are missing, pickled, truncated, or lack a shard that the index names.
    """
    single = folder / "model.safetensors"
    if is_file(single):  # as transformers does, before the index
        files = [single]
    elif is_file(folder / _INDEX):
        files = _shards(folder)
    else:
        raise _no_safetensors(folder)
    tensors = [tensor for file in files for tensor in read_header(file)]
    return sorted(tensors, key=lambda tensor: tensor.name)


def _shards(folder: Path) -> list[Path]:
    """The files that the index names, all of them in the folder."""
    named = json_object(folder / _INDEX).get("weight_map")
    shards = list(named.values()) if isinstance(named, dict) else []
    if not shards or not all(isinstance(shard, str) and _SHARD.fullmatch(shard) for shard in shards):
        raise ModelError(
            f"{folder / _INDEX} does not say for every tensor which safetensors file beside it holds it; fetch the "
            "model again"
        )
    files = [folder / shard for shard in sorted(set(shards))]
    absent = [file.name for file in files if not is_file(file)]
    if absent:
        raise ModelError(
            f"{folder} lacks {shortened(', '.join(absent), 200)}, which {_INDEX} names; fetch the model again"
        )
    return files


def check_tokenizer_files(folder: Path) -> None:
    """Raise `ModelError` where the folder has no vocabulary."""
    if not any(any(folder.glob(pattern)) for pattern in _VOCABULARIES):
        raise ModelError(f"{folder} has no tokenizer; copy the tokenizer.json of the model into it")


@contextmanager
def hashing(tensors: Iterable[StoredTensor]) -> Iterator[Callable[..., str]]:
    """Compute the fingerprint of the weights beside what is done in the block, which gets a function to wait for it.

    16 hex digits: SHA-256 over names, types, shapes and every byte. All of the bytes, not a sample, so that one
    changed weight shows; the path, the shards and the dtype and device the model is loaded to do not. Each tensor is
    hashed on its own so that all cores take part; leaving the block ends what is left of it.
    """
    stopped = threading.Event()
    ordered = sorted(tensors, key=lambda tensor: tensor.name)
    with ThreadPoolExecutor() as pool:
        parts = [pool.submit(_digest, tensor, stopped) for tensor in ordered]

        def result(progress: Progress = silent, stage: str = "checking the weights") -> str:
            total = sum(tensor.end - tensor.start for tensor in ordered)
            while waiting := [part for part in parts if not part.done()]:
                done = sum(
                    tensor.end - tensor.start for tensor, part in zip(ordered, parts, strict=True) if part.done()
                )
                progress(done, max(total, 1), stage=stage)
                wait(waiting, timeout=_LOOK_EVERY)
            return combine(part.result() for part in parts)

        try:
            yield result
        finally:
            stopped.set()


def fingerprint(tensors: Iterable[StoredTensor], progress: Progress = silent, stage: str = "") -> str:
    """The fingerprint that `hashing` computes. Progress counts bytes."""
    with hashing(tensors) as result:
        return result(progress, stage)


def combine(parts: Iterable[bytes]) -> str:
    """One fingerprint from the digests of the tensors, in order of their names."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def tensor_digest(name: str, dtype: str, shape: tuple[int, ...], data: Any) -> bytes:
    """SHA-256 of one tensor. ``data`` is anything with a buffer."""
    digest = hashlib.sha256(_head(name, dtype, shape))
    digest.update(data)
    return digest.digest()


def _head(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    return json.dumps([name, dtype, shape]).encode()


def _digest(tensor: StoredTensor, stopped: threading.Event) -> bytes:
    digest = hashlib.sha256(_head(tensor.name, tensor.dtype, tensor.shape))
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        left = tensor.end - tensor.start
        while left and not stopped.is_set() and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
    return digest.digest()


def read_header(file: Path) -> list[StoredTensor]:
    """The tensors of one file, after comparing its length with what its header promises."""
    broken = ModelError(f"{file} is truncated or not a safetensors file; fetch the model again")
    try:
        with opened(file) as stream:
            size = file.stat().st_size
            length = int.from_bytes(stream.read(8), "little")
            if not 0 < length <= min(size - 8, _HEADER_LIMIT):
                raise broken
            text = stream.read(length)
        entries = parse(text)
        entries.pop("__metadata__", None)
        tensors = [_stored(file, name, entry, 8 + length, size) for name, entry in entries.items()]
    except Unreadable as error:
        raise ModelError(f"{error}; fetch the model again") from error
    except (BadJson, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken from error
    if max((tensor.end for tensor in tensors), default=8 + length) != size:
        raise broken
    return tensors


def _stored(file: Path, name: str, entry: dict[str, Any], start: int, size: int) -> StoredTensor:
    """One entry of a header, whose data begin at ``start``. Raises `ValueError` where it cannot be true."""
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])
    whole = all(type(number) is int and number >= 0 for number in (*shape, first, last))
    if not (isinstance(entry["dtype"], str) and whole and first <= last <= size - start):
        raise ValueError(name)
    if math.prod(shape) > 8 * (last - first):  # no number takes less than a bit
        raise ValueError(name)
    return StoredTensor(file, name, entry["dtype"], shape, start + first, start + last)


def _no_safetensors(folder: Path) -> ModelError:
    pickled = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
    if pickled:
        return ModelError(
            f"{folder} has its weights in {pickled[0]}, a pickle, which is refused because it can run code when "
            "it is opened; where you trust it, load it with transformers and write it with save_pretrained(folder)"
        )
    return ModelError(f"{folder} has no model.safetensors; fetch the model again")


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model. Raises `ModelError`."""
    try:
        value = parse(read_text(path, _MOST_JSON), constants=True)
    except Unreadable as error:
        raise ModelError(f"{error}; fetch the model again") from error
    except BadJson as error:
        raise ModelError(f"{path} is not valid JSON ({error.why}); fetch the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} does not hold a JSON object; fetch the model again")
    return value
