"""The weights and the tokenizer of a model's folder, read by the transformers library and refused where they are amiss.

Everything in the file must have its place in the model, and everything in the model its place in the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from workbench.errors import ModelError, OutOfMemory
from workbench.lazy import torch, transformers
from workbench.memory import is_out_of_memory
from workbench.models import adapters
from workbench.models.store.checkpoint import stored_tensors
from workbench.models.store.quantised import Packing
from workbench.reading import is_file, shortened, tensors_of

_RECOMPUTED = re.compile(r"(^|[._])(inv_freq|masked_bias|attn\.bias|attention\.bias|position_ids|embed_positions)$")
"""Tensors of older checkpoints that the library computes by itself: rotary frequencies, causal masks, positions."""


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder. Raises `ModelError` for one that cannot be read or knows no places."""
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"the tokenizer in {folder} cannot be read ({_first_line(error)})") from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"the tokenizer in {folder} ({type(tokenizer).__name__}) does not say where in the text its tokens "
            "lie; use a model that comes with a tokenizer.json"
        )
    return tokenizer


def read_weights(
    folder: Path, dtype: Any, adapter: Path | None = None, packing: Packing | None = None, divided: bool = False
) -> Any:
    """The model of a folder, on the CPU, with an adapter of another or the same folder merged into it.

    What is quantised as ``packing`` says is unpacked. ``divided``: this process's part of every matrix, on its own
    device. Raises `ModelError` where tensors lack, have no place in the model, cannot be unpacked or hold NaN, or no
    plan divides it; `OutOfMemory`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if divided and packing is not None:
        raise ModelError(f"quantised weights ({packing.text}) are not divided; use --device-map auto in one process")
    stored: dict[str, Any] = {}
    try:
        with quiet(), adapters.only_base(folder) as base, ExitStack() as files:
            tensors = stored_tensors(folder)
            unmerged = adapter == folder and adapters.is_unmerged(tensor.name for tensor in tensors)
            added: dict[str, Any] = {}
            how = _how(divided)
            if packing is None and not unmerged:
                hf_model, found = transformers.AutoModelForCausalLM.from_pretrained(
                    base, dtype=dtype, use_safetensors=True, **how
                )
            else:
                for file in {tensor.file for tensor in tensors}:
                    kept = files.enter_context(tensors_of(file))
                    stored |= {name: kept.get_slice(name) for name in kept.keys()}  # noqa: SIM118 - no mapping
                state = stored if packing is None else packing.plain(stored)
                if unmerged:
                    state, added = adapters.parted(state)
                    added = {name: tensor[...] for name, tensor in added.items()}
                hf_model, found = _made_of(state, base, dtype, how)
            unexpected = set(found["unexpected_keys"])
            if packing is not None:
                unexpected -= packing.no_biases(stored, unexpected)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, MemoryError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"there is not enough memory to load {folder}; use a smaller model") from error
        raise ModelError(f"the model in {folder} cannot be loaded ({_first_line(error)})") from error
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise ModelError(
            f"the weights in {folder} lack {len(missing)} tensors that the model needs, {missing[0]} first; fetch "
            "the model again"
        )
    _refuse_unexpected(folder, sorted(unexpected))
    if divided and not hf_model.tp_plan:
        raise ModelError(
            f"the transformers library has no plan for dividing a {hf_model.config.model_type} model; use --device-map "
            "auto in one process"
        )
    if adapter is not None:
        with quiet():
            hf_model = adapters.merge(hf_model, adapter, added or load_file(adapter / adapters.WEIGHTS))
    _refuse_not_finite(folder, hf_model)
    return hf_model


def _how(divided: bool) -> dict[str, Any]:
    plan = {"distributed_config": transformers.distributed.DistributedConfig(tp_plan="auto")} if divided else {}
    return {"output_loading_info": True, "trust_remote_code": False, "local_files_only": True, **plan}


def _made_of(state: dict[str, Any], folder: Path, dtype: Any, how: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model that a folder's configuration describes, of other tensors than its files hold; and what was found."""
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    of = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if of.config_class is config.sub_configs.get("text_config"):
        config = config.get_text_config()
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    if dtype == "auto":
        dtype = config.dtype or torch.float32
    says_when_to_end = is_file(folder / "generation_config.json")
    generation = transformers.GenerationConfig.from_pretrained(folder) if says_when_to_end else None
    made: tuple[Any, dict[str, Any]] = of.from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, generation_config=generation, **how
    )
    return made


def _refuse_unexpected(folder: Path, names: Sequence[str]) -> None:
    """Raise `ModelError` for tensors that have no place in the model: without them it computes something else."""
    names = [name for name in names if not _RECOMPUTED.search(name)]
    if names:
        few = f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        raise ModelError(
            f"{len(names)} {'tensors' if len(names) > 1 else 'tensor'} of the weights in {folder} have no place in "
            f"the model that its config.json describes ({shortened(few, 200)}), so it would compute something else; "
            "bring the config.json that belongs to these weights, or the weights that belong to it"
        )


def _refuse_not_finite(folder: Path, hf_model: Any) -> None:
    """Raise `ModelError` for weights with NaN or infinity in them, which make every number NaN."""
    for name, weight in hf_model.state_dict().items():
        # The sum first, as it needs no second copy of the weight: infinite too where it only overflows.
        if not weight.is_floating_point() or bool(weight.float().sum().isfinite()) or bool(weight.isfinite().all()):
            continue
        wrong = int((~weight.isfinite()).sum())
        numbers = f"{wrong} number{'s' * (wrong != 1)} of {name} in {folder}"
        if weight.dtype == torch.float16 and not bool(weight.isnan().any()):
            raise ModelError(f"{numbers} may be too large for float16; load the model with --dtype bfloat16 or float32")
        raise ModelError(f"{numbers} are NaN or infinite, so the file is damaged; fetch the model again")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers off the terminal, which the app owns; its settings are put back afterwards."""
    log = transformers.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
