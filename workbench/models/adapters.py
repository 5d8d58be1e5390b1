"""LoRA and other adapters of the peft library: alone, beside their base, or unmerged in the file of its weights.

They are merged into the weights when the model is loaded, so that every method and every edit works on what the model
computes. Without them the base is loaded by its own name. A LoRA adapter that only adds to matrices can be put on the
loaded base as an edit as well (`workbench.editing.adapter`).
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.errors import ModelError
from workbench.lazy import torch
from workbench.models.store.checkpoint import StoredTensor, combine, json_object, read_header
from workbench.models.store.checkpoint import fingerprint as of_tensors
from workbench.reading import is_file, read_bytes, shortened, tensors_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_NAMED = re.compile(r"\.(lora_\w+|modules_to_save)\.(\w+)(?=\.|$)")
_UNMERGED = re.compile(r"\.(lora_\w+|modules_to_save)\.")
_PREFIX = "base_model.model."
_DORA = "lora_magnitude_vector"  # a module in the model, a tensor in a file
_MORE_THAN_PRODUCTS = (
    "use_dora",
    "bias",
    "modules_to_save",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
)
"""What an adapter's configuration may ask for beside products of low rank that are added to matrices."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter's configuration."""
    return is_file(folder / CONFIG)


def split(spec: str) -> tuple[str | None, str]:
    """A base and an adapter's folder from ``BASE+FOLDER``; no base where the spec is something else."""
    places = [] if Path(spec).expanduser().exists() else [at for at, sign in enumerate(spec) if sign == "+" and at]
    found = (at for at in places if is_adapter(Path(spec[at + 1 :]).expanduser()))
    at = next(found, None)
    return (None, spec) if at is None else (spec[:at], spec[at + 1 :])


def base_named_in(folder: Path) -> str:
    """The model that an adapter says it belongs on. Raises `ModelError` where it names none."""
    named = json_object(folder / CONFIG).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ModelError(f"the adapter in {folder} does not say which model it belongs on; name it: BASE+{folder}")
    return named


def adapter_tensors(folder: Path) -> list[StoredTensor]:
    """The tensors of an adapter's file; none where they stand in the file of the weights.

    Raises `ModelError` for one that is pickled or not whole.
    """
    if is_file(folder / WEIGHTS):
        return read_header(folder / WEIGHTS)
    if (folder / "adapter_model.bin").exists():
        raise ModelError(
            f"the adapter in {folder} is a pickle, which is refused because it can run code when it is opened; where "
            "you trust it, load it with peft and write it with save_pretrained(folder)"
        )
    return []


def is_unmerged(names: Iterable[str]) -> bool:
    """Whether a file of weights, by the names of its tensors, holds an adapter beside them."""
    return any(_UNMERGED.search(name) for name in names)


def check_library() -> None:
    """Raise `ModelError` where the library that reads adapters is not installed."""
    if find_spec("peft") is None:
        raise ModelError(
            "this model is an adapter, which the peft library reads; install it: pip install 'lm-workbench[peft]'"
        )


def check(folder: Path, adapter: Path | None, tensors: Iterable[StoredTensor]) -> None:
    """Raise `ModelError` for an adapter without its file or its configuration, or one that would import a library."""
    unmerged = is_unmerged(tensor.name for tensor in tensors)
    if adapter is None:
        if unmerged:
            raise ModelError(
                f"{folder} holds an unmerged adapter beside its weights, and only its {CONFIG} says at which scale; "
                "put that into the folder, or merge it with peft"
            )
        return
    if not adapter_tensors(adapter) and not (unmerged and adapter == folder):
        raise ModelError(f"{adapter} has a {CONFIG} and no {WEIGHTS}; fetch the adapter again")
    if json_object(adapter / CONFIG).get("megatron_config"):
        raise ModelError(f"{adapter / CONFIG} names a library of its own to import (megatron), which is refused")


def fingerprint(base: str, folder: Path) -> str:
    """What identifies the weights of a base with an adapter merged into them."""
    config = hashlib.sha256(read_bytes(folder / CONFIG)).digest()
    return combine([base.encode(), config, of_tensors(adapter_tensors(folder)).encode()])


@contextmanager
def only_base(folder: Path) -> Iterator[Path]:
    """The folder without its adapter, which transformers would put on by itself and leave unmerged."""
    if not is_adapter(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        for file in folder.iterdir():
            if not file.name.startswith("adapter_"):
                (Path(name) / file.name).symlink_to(file.resolve())
        yield Path(name)


def parted(tensors: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights of the base, and those of the adapter, of a file that holds both, by the names each is saved with."""
    base, adapter = {}, {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(_PREFIX)
        if _UNMERGED.search(name):
            named = _NAMED.sub(_without_name, plain)
            adapter[_PREFIX + named.replace(f"{_DORA}.weight", _DORA)] = tensor
        else:
            base[plain.replace(".base_layer.", ".").replace(".original_module.", ".")] = tensor
    return base, adapter


def _without_name(match: re.Match[str]) -> str:
    """``lora_A.default`` is ``lora_A`` in an adapter's own file."""
    kind, name = match[1], match[2]
    if kind == "modules_to_save":
        return ""
    return f".{kind}" if name not in ("weight", "bias") else f".{kind}.{name}"


def merge(hf_model: Any, folder: Path, tensors: dict[str, Any]) -> Any:
    """The model with an adapter's ``tensors`` merged into its weights, as ``folder``'s configuration says.

    Raises `ModelError` where it does not fit the model, or is of a kind that is no change of weights.
    """
    adapted = _put_on(hf_model, folder, tensors)
    if not hasattr(adapted.base_model, "merge_and_unload"):
        kind = json_object(folder / CONFIG).get("peft_type")
        raise ModelError(
            f"the adapter in {folder} ({shortened(str(kind), 40)}) is no change of weights, so it cannot be merged; "
            "load its base, and give what it prepends as text"
        )
    return adapted.merge_and_unload(safe_merge=True)


def low_rank(hf_model: Any, folder: Path) -> list[tuple[str, Any, Any]]:
    """What a LoRA adapter adds to a model's matrices: the path of each, with left and right of left rightᵀ.

    Left is ``(written, rank)``, scaled, and right ``(read, rank)``, float32 on the CPU. The model stays as it is.
    Raises `ModelError` where the adapter does not fit it, or does more than add such products.
    """
    check_library()
    stated = json_object(folder / CONFIG)
    more = [name for name in _MORE_THAN_PRODUCTS if stated.get(name) not in (None, False, "none", [], {})]
    if stated.get("peft_type") != "LORA" or more or not adapter_tensors(folder):
        what = more[0] if more else shortened(str(stated.get("peft_type")), 40)
        raise ModelError(
            f"the adapter in {folder} does more than add products of low rank ({what}), so it cannot be switched on "
            f"and off; load it merged: --model BASE+{folder}"
        )
    with torch.device("meta"):
        skeleton = type(hf_model)(hf_model.config)
    with tensors_of(folder / WEIGHTS) as kept:
        tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - no mapping
    adapted = _put_on(skeleton, folder, tensors, low_cpu_mem_usage=True)
    found = []
    for path, module in adapted.base_model.model.named_modules():
        if getattr(module, "lora_A", None):
            read, written = (tensors.pop(f"{_PREFIX}{path}.{name}.weight").float() for name in ("lora_A", "lora_B"))
            found.append((path, written * module.scaling["default"], read.T.contiguous()))
    if tensors:
        raise ModelError(
            f"the adapter in {folder} holds {shortened(min(tensors), 80)}, which is of no product of low rank, so it "
            f"cannot be switched on and off; load it merged: --model BASE+{folder}"
        )
    return found


def _put_on(hf_model: Any, folder: Path, tensors: dict[str, Any], **how: Any) -> Any:
    """The model with an adapter of the peft library on it. Raises `ModelError` where it does not fit."""
    import peft
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is missing or too much is compared below
        (Path(name) / CONFIG).write_bytes(read_bytes(folder / CONFIG))
        save_file(tensors, Path(name) / WEIGHTS)
        try:
            adapted = peft.PeftModel.from_pretrained(hf_model, name, **how)
            wanted = peft.get_peft_model_state_dict(adapted)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError) as error:
            why = shortened(next(iter(str(error).splitlines()), type(error).__name__), 200)
            raise ModelError(
                f"the adapter in {folder} does not fit the model ({why}); name its base: BASE+{folder}"
            ) from error
    if odd := sorted(wanted.keys() ^ tensors.keys()):
        raise ModelError(
            f"{len(odd)} tensors of the adapter in {folder} and of what its {CONFIG} asks for do not match "
            f"({shortened(', '.join(odd[:3]), 200)}); bring the configuration that belongs to it"
        )
    return adapted
