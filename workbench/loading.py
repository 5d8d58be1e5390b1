"""Open a model: find its folder, check it, load it quietly, and give its parts the same names whatever it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.editing.monitors import MonitoredDirection, directions_named
from workbench.editing.patches import load_patch
from workbench.editing.queue import Edit, EditQueue
from workbench.errors import InputError, ModelError, NumericalError
from workbench.lazy import nnsight, torch, transformers
from workbench.models import adapters, devices, weights
from workbench.models import anatomy as anatomy_of_models
from workbench.models.anatomy import Anatomy, find_anatomy
from workbench.models.beside import beside
from workbench.models.heads import Heads, find_heads
from workbench.models.info import ModelInfo
from workbench.models.prepared import named, prepare
from workbench.models.store import checkpoint, integrity, quantised
from workbench.models.tokens import EncodedCase, encode
from workbench.protocol import Progress, silent
from workbench.reading import is_file

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "float16", "bfloat16")

_CONTEXT_OF_ALIBI_MODELS = 2048  # BLOOM and its like state no limit; this is what they were trained on


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model in eval mode, without gradients on its parameters, with what is known about it.

    ``nn`` is the model for nnsight, with the same names for every architecture: ``nn.embedding``,
    ``nn.blocks[l]``, ``nn.blocks[l].attention``, ``nn.blocks[l].mlp``, ``nn.blocks[l].down_projection`` (unless it is
    a mixture of experts that shares none), ``nn.final_norm`` (unless it has none) and ``nn.unembedding``. The
    *outputs* of attention and MLP are what is added to the residual stream; take their tensor, and a block's, with
    `workbench.models.anatomy.tensor_of`, as some are the first of a tuple.
    """

    hf: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    anatomy: Anatomy
    info: ModelInfo
    nn: Any

    def unembed(self, states: torch.Tensor, normed: bool = False) -> torch.Tensor:
        """Read states ``(..., d_model)`` as logits ``(..., vocabulary)``, as the model does after its blocks.

        ``normed``: they have been through the final norm, where there is one.
        """
        return anatomy_of_models.unembed(self.hf, self.anatomy, states, normed)

    def norm(self, states: torch.Tensor) -> torch.Tensor:
        """States ``(..., d_model)`` after the final norm, themselves where the model has none."""
        if self.anatomy.final_norm is None:
            return states
        found: torch.Tensor = self.anatomy.module(self.hf, self.anatomy.final_norm)(states)
        return found

    @cached_property
    def edits(self) -> EditQueue:
        """The edits of this model, none at first."""
        return EditQueue(self)

    @cached_property
    def heads(self) -> Heads:
        """Where its attention heads are. Raises `ModelError` for a model without any, or whose cannot be told apart."""
        return find_heads(self.hf, self.anatomy)

    def directions(self, named: str) -> tuple[MonitoredDirection, ...]:
        """The directions of an edit, by its id in the queue or its patch file. Raises as `directions_named` does."""
        return directions_named(self, named)

    def not_finite(self, what: str, otherwise: str = "") -> NumericalError:
        """The error for numbers that are NaN or infinite, with what may help this model as it is loaded.

        ``what`` is what they are, with its verb; ``otherwise`` is what else may help.
        """
        ways = [otherwise] if otherwise else []
        if self.info.dtype != "float32":
            ways.append("load the model with --dtype float32")
        if self.edits.active:
            ways.append("switch off the edit that does this")
        advice = ", or ".join(ways or ["its weights lead there by themselves, so use another checkpoint"])
        return NumericalError(f"{what} not finite in {self.info.dtype}; {advice}")

    def edits_in(self, patch: Path) -> tuple[Edit, ...]:
        """The edits of a patch file, checked against this model. Raises `InputError` where they do not fit it."""
        return load_patch(patch, self)

    def encode(self, case: Case, room: int = 0) -> EncodedCase:
        """A case as the model with its edits reads it: what edits in context say stands before the prompt.

        ``room`` tokens of the context are left free. Raises as `workbench.models.tokens.encode` does.
        """
        return encode(self.tokenizer, case, self.info.context - room, self.edits.prefix)

    @property
    def divided(self) -> bool:
        """Whether this process has only a part of every matrix, beside others."""
        return bool(devices.parts_of(self.hf))

    @property
    def block_modules(self) -> list[Module]:
        """The blocks, first layer first."""
        return list(self.hf.get_submodule(self.anatomy.blocks).children())

    @property
    def embedding(self) -> Module:
        """The module from token ids to embeddings."""
        return self.anatomy.module(self.hf, self.anatomy.embedding)

    @property
    def unembedding(self) -> Module:
        """The module from normed states to logits."""
        return self.anatomy.module(self.hf, self.anatomy.unembedding)

    @property
    def checkpoints(self) -> list[Module]:
        """The modules before which a job looks whether it was cancelled: the blocks, and the costly last matrix."""
        return [*self.block_modules, self.unembedding]

    def attention(self, layer: int) -> Module:
        """The module whose output is the attention's contribution. Raises `ModelError` where blocks have none."""
        if not self.anatomy.attention:
            raise ModelError(f"{self.info.name} {self.anatomy.not_sum}; leave attention out")
        return self.anatomy.in_block(self.hf, layer, self.anatomy.attention)

    def check_parts(self, kinds: Iterable[str]) -> None:
        """Raise `ModelError` where attention or MLP is among ``kinds`` and the blocks have no such part."""
        for kind in kinds:
            if kind in ("attention", "mlp"):
                getattr(self, kind)(0)

    def check_embeddings(self) -> None:
        """Raise `ModelError` where the model cannot be run on embeddings that are none of its vocabulary's."""
        if not self.anatomy.takes_embeddings:
            raise ModelError(
                f"{self.info.name} looks its tokens up in other tables than its embedding, too, and cannot be run on "
                "embeddings between tokens, which this needs; use another method, such as a trace"
            )

    def output_projection(self, layer: int) -> Module:
        """W_O, which reads what the heads attended to, side by side."""
        return self.anatomy.in_block(self.hf, layer, self.heads.output_projection)

    def mlp(self, layer: int) -> Module:
        """The module whose output is the MLP's contribution. Raises `ModelError` where blocks have none."""
        if not self.anatomy.mlp:
            raise ModelError(f"{self.info.name} {self.anatomy.not_sum}; leave mlp out")
        return self.anatomy.in_block(self.hf, layer, self.anatomy.mlp)

    def down_projection(self, layer: int) -> Module:
        """W_out, the last matrix of the MLP or of a shared expert. Raises `ModelError` where the model has none."""
        if self.anatomy.down_projection is None:
            if not self.anatomy.keeps:
                raise ModelError(
                    f"some layers of {self.info.name} keep no keys and values of their own, and edits of the weights "
                    "of such a model have not been checked; use another editor, such as grace or in-context"
                )
            raise ModelError(
                f"{self.info.name} is a {self.anatomy.down_projection_missing}, so no layer has the one "
                "down-projection that this needs; use a model with dense MLPs or with a shared expert"
            )
        return self.anatomy.in_block(self.hf, layer, self.anatomy.down_projection)

    def down_projection_path(self, layer: int) -> str:
        """The name of W_out's weight among the model's parameters. Raises `ModelError` where the model has none."""
        matrix = self.down_projection(layer)
        return next(f"{path}.weight" for path, module in self.hf.named_modules() if module is matrix)


def load(
    spec: str,
    dtype: str = "auto",
    device: str = "auto",
    progress: Progress = silent,
    device_map: str | None = None,
) -> LoadedModel:
    """Load a model by catalogue name, local directory, GGUF file or Hugging Face id.

    The folder of a LoRA or another adapter is merged into the base that it names, or that is named before it:
    ``BASE+FOLDER``.

    ``device`` "auto" is CUDA, then MPS, then CPU; ``dtype`` "auto" is float32 on a CPU and the checkpoint's own
    elsewhere. ``device_map`` deals the weights out over several devices instead: "auto", "balanced" or a file (see
    `workbench.models.devices`). Raises `InputError` for a dtype, device or map that is none, `ModelError` for a model
    that cannot be found, read or understood, `OutOfMemory` where it does not fit on the device.
    """
    from workbench.models.store.catalog import resolve

    beside(import_libraries, lambda: progress(0, 1, stage="importing torch"))
    place = devices.placement(device, device_map)
    precision = _dtype(dtype, place.device)
    base, own = adapters.split(spec)
    folder = resolve(own, progress)
    path = Path(own).expanduser()  # by its full path, so that it is found again from anywhere
    from_disk = path.is_file() or (path.is_dir() and path.samefile(folder))
    name = str(path.resolve()) if from_disk else own
    if not adapters.is_adapter(folder):
        return _load_folder(folder, None, name, precision, place, progress)
    adapters.check_library()
    if base is None and not is_file(folder / "config.json"):
        base = adapters.base_named_in(folder)
    at = folder if base is None else resolve(base, progress)
    return _load_folder(at, folder, f"{base}+{name}" if base else name, precision, place, progress)


def wrap(hf_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> LoadedModel:
    """Make a `LoadedModel` of a live model, which is put in eval mode and loses its gradients.

    The fingerprint is computed from the live weights. Raises `ModelError` for an architecture that is not known.
    """
    parts = [
        checkpoint.tensor_digest(key, str(weight.dtype), tuple(weight.shape), _bytes(weight))
        for key, weight in sorted(hf_model.state_dict().items())
    ]
    return _assemble(hf_model, tokenizer, name, checkpoint.combine(parts))


def _load_folder(
    folder: Path, adapter: Path | None, name: str, dtype: Any, place: devices.Placement, progress: Progress
) -> LoadedModel:
    progress(0, 3, stage="checking the model's files")
    integrity.check_small_files(folder)
    packing = quantised.packing_of(folder, checkpoint.read_config(folder))
    tensors = checkpoint.stored_tensors(folder)
    adapters.check(folder, adapter, tensors)
    checkpoint.check_tokenizer_files(folder)
    with checkpoint.hashing(tensors) as hashed:  # it takes half as long as loading, so beside it
        tokenizer = beside(
            lambda: weights.read_tokenizer(folder), lambda: progress(1, 3, stage="reading the tokenizer")
        )
        hf_model = beside(
            lambda: weights.read_weights(folder, dtype, adapter, packing, place.divided),
            lambda: progress(2, 3, stage="loading the weights"),
        )
        fingerprint = hashed(progress)
    integrity.check_weights(folder, fingerprint)
    if adapter is not None:
        fingerprint = adapters.fingerprint(fingerprint, adapter)
    with weights.quiet():
        return _assemble(place.put(hf_model), tokenizer, name, fingerprint, adapter, packing)


def import_libraries() -> None:
    """Import what a model needs, by looking up what is used of it."""
    _ = (torch.nn, transformers.AutoTokenizer, transformers.AutoModelForCausalLM, nnsight.NNsight)


def _assemble(
    hf_model: Any,
    tokenizer: Any,
    name: str,
    fingerprint: str,
    adapter: Path | None = None,
    packing: quantised.Packing | None = None,
) -> LoadedModel:
    hf_model.eval().requires_grad_(False)
    anatomy = find_anatomy(hf_model)
    prepare(hf_model, anatomy, tokenizer)
    info = described(hf_model, tokenizer, anatomy, name, fingerprint, devices.devices_of(hf_model)).model_copy(
        update={
            "adapter": None if adapter is None else adapter.name,
            "quantised": None if packing is None else packing.text,
        }
    )
    return LoadedModel(hf_model, tokenizer, anatomy, info, named(hf_model, anatomy))


def described(hf_model: Any, tokenizer: Any, anatomy: Anatomy, name: str, fingerprint: str, device: str) -> ModelInfo:
    """What is known of a model, from its configuration and its modules; it needs no weights."""
    config = hf_model.config.get_text_config(decoder=True)
    return ModelInfo(
        name=name,
        architecture=anatomy.architecture,
        fingerprint=fingerprint,
        parameters=hf_model.num_parameters(),
        layers=anatomy.n_layers,
        d_model=anatomy.d_model,
        vocabulary=config.vocab_size,
        context=_context_of(config),
        dtype=str(hf_model.dtype).removeprefix("torch."),
        device=device,
        attention_kernel=config._attn_implementation,
        chat_template=bool(tokenizer.chat_template),
    )


def _context_of(config: Any) -> int:
    """The longest prompt that a model reads, in tokens, as far as its configuration says."""
    stated = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    return next((number for number in stated if isinstance(number, int)), _CONTEXT_OF_ALIBI_MODELS)


def _dtype(name: str, device: torch.device) -> Any:
    """What `from_pretrained` takes: a torch dtype, or "auto" for the checkpoint's own."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    if name not in DTYPES:
        raise InputError(f"{name!r} is not a dtype for a model; use auto, {', '.join(DTYPES)}")
    return getattr(torch, name)


def _bytes(weight: torch.Tensor) -> Any:
    return weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
