"""The weights and the tokenizer of a model's folder, read by the transformers library and refused where they are amiss.

Everything in the file must have its place in the model, and everything in the model its place in the file.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.errors import ModelError, OutOfMemory
from workbench.lazy import torch, transformers
from workbench.memory import is_out_of_memory
from workbench.models import adapters
from workbench.models.store.checkpoint import stored_tensors
from workbench.reading import shortened

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


def read_weights(folder: Path, dtype: Any, adapter: Path | None = None, divided: bool = False) -> Any:
    """The model of a folder, on the CPU, with an adapter of another or the same folder merged into it.

    ``divided``: this process's part of every matrix, on its own device. Raises `ModelError` where tensors lack, have no
    place in the model or hold NaN, or no plan divides it; `OutOfMemory`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with quiet(), adapters.only_base(folder) as base:
            state, added = _parted(folder) if adapter == folder else (None, {})
            how = {"dtype": dtype, "output_loading_info": True, "trust_remote_code": False, "local_files_only": True}
            if divided:
                how["distributed_config"] = transformers.distributed.DistributedConfig(tp_plan="auto")
            if state is None:
                of = transformers.AutoModelForCausalLM
                hf_model, found = of.from_pretrained(base, use_safetensors=True, **how)
            else:
                config = transformers.AutoConfig.from_pretrained(base, trust_remote_code=False)
                of = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
                hf_model, found = of.from_pretrained(None, config=config, state_dict=state, **how)
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
    _refuse_unexpected(folder, sorted(found["unexpected_keys"]))
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


def _parted(folder: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The weights of a base and those of an adapter in the same file; nothing where they stand apart."""
    from safetensors.torch import load_file

    tensors = stored_tensors(folder)
    if not adapters.is_unmerged(tensor.name for tensor in tensors):
        return None, {}
    return adapters.parted({name: each for file in {t.file for t in tensors} for name, each in load_file(file).items()})


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
