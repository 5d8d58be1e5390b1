"""Quantised checkpoints: their weights are unpacked, as they are read, into the numbers that they stand for.

The model then is one of plain weights that every method and every editor takes, on any device, and no library of
kernels is needed; the price is the memory of the unquantised model. What the kernels of some formats round beside the
weights (activations, keys and values) is not rounded, and `Packing.text` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.models.store import unpacking
from workbench.reading import shortened

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scheme:
    """How a packed weight is stored: as tensors with one beginning, and ``mark`` and what else there is as endings.

    The beginning and ``plain`` are the weight's own name. ``beside`` are endings of tensors about activations, or keys
    and values, at any beginning.
    """

    mark: str
    parts: tuple[str, ...]
    plain: str
    unpack: Callable[[unpacking.Parts, unpacking.Stated], Tensor]
    beside: tuple[str, ...] = ()


_GPTQ = Scheme(".qweight", (".qweight", ".qzeros", ".scales", ".g_idx"), ".weight", unpacking.gptq)
_AWQ = Scheme(".qweight", (".qweight", ".qzeros", ".scales"), ".weight", unpacking.awq)
_BITSANDBYTES = (
    Scheme(
        ".weight.absmax",
        (
            ".weight",
            ".weight.absmax",
            ".weight.quant_map",
            ".weight.nested_absmax",
            ".weight.nested_quant_map",
            ".weight.quant_state.bitsandbytes__nf4",
            ".weight.quant_state.bitsandbytes__fp4",
        ),
        ".weight",
        unpacking.bitsandbytes_4bit,
    ),
    Scheme(".SCB", (".weight", ".SCB", ".weight_format"), ".weight", unpacking.bitsandbytes_8bit),
)
_FLOAT8 = Scheme("_scale_inv", ("", "_scale_inv"), "", unpacking.float8, (".activation_scale", ".input_scale"))
_FBGEMM = Scheme("_scale", ("", "_scale"), "", unpacking.float8, (".input_scale", ".input_scale_ub"))
_MXFP4 = Scheme("_blocks", ("_blocks", "_scales"), "", unpacking.mxfp4)
_COMPRESSED = Scheme(
    ".weight_scale",
    (
        ".weight",
        ".weight_packed",
        ".weight_scale",
        ".weight_zero_point",
        ".weight_shape",
        ".weight_g_idx",
        ".weight_global_scale",
    ),
    ".weight",
    unpacking.compressed,
    tuple(
        f".{of}_{what}" for of in ("input", "output", "k", "v", "q") for what in ("scale", "zero_point", "global_scale")
    ),
)
_SCHEMES = {
    "gptq": (_GPTQ,),
    "awq": (_AWQ,),
    "bitsandbytes": _BITSANDBYTES,
    "fp8": (_FLOAT8,),
    "mxfp8": (_FLOAT8,),
    "fbgemm_fp8": (_FBGEMM,),
    "mxfp4": (_MXFP4,),
    "compressed-tensors": (_COMPRESSED,),
}
_COMPRESSED_FORMATS = (
    "dense",
    "naive-quantized",
    "int-quantized",
    "float-quantized",
    "pack-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
)
_TRANSPOSED = ("gpt2", "openai-gpt")
"""Architectures whose matrices are stored as what they read by what they write, unless they are packed."""


@dataclass(frozen=True)
class Packing:
    """How a checkpoint is quantised: its ``quantization_config``, and the architecture that is."""

    settings: Mapping[str, Any]
    architecture: str

    @property
    def method(self) -> str:
        """The name of the method, which one of the table has."""
        return _method(self.settings)

    @property
    def text(self) -> str:
        """For the trust strip: which weights these were, and what else is rounded where the kernels are used."""
        settings, what = self.settings, self.method
        if what in ("gptq", "awq"):
            what = f"{what} {_bits(settings)}-bit"
        elif what == "bitsandbytes":
            kind = "int8" if settings.get("load_in_8bit") else settings.get("bnb_4bit_quant_type")
            what = f"{what} {shortened(str(kind), 20)}"
        elif what == "compressed-tensors":
            what = f"{what} {shortened(str(settings.get('format')), 40)}"
        return f"{what}, activations not rounded" if self._rounds_activations() else what

    def _rounds_activations(self) -> bool:
        if any(group.get("input_activations") for group in unpacking.groups_of(self.settings)):
            return True
        return self.method in ("fp8", "mxfp8", "fbgemm_fp8") or bool(self.settings.get("load_in_8bit"))

    def plain(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of the unquantised model, by name, of what is stored, which is read when it is sliced.

        Raises `ModelError` where nothing is packed.
        """
        found = dict(stored)
        for scheme in _SCHEMES[self.method]:
            found = {name: tensor for name, tensor in found.items() if not name.endswith(scheme.beside)}
            for name in [name for name in found if name.endswith(scheme.mark)]:
                begins = name.removesuffix(scheme.mark)
                parts = {
                    end.removeprefix("."): found.pop(begins + end) for end in scheme.parts if begins + end in found
                }
                found[begins + scheme.plain] = _Packed(begins + scheme.plain, parts, scheme, self)
        if not any(isinstance(tensor, _Packed) for tensor in found.values()):
            raise ModelError(
                f"the config.json of this model says that it is quantised ({self.text}), and none of its weights is; "
                "take the quantization_config out of it"
            )
        return found

    def no_biases(self, stored: Mapping[str, Any], names: Iterable[str]) -> set[str]:
        """Those of ``names`` that are biases of nothing, which GPTQ's packers add to layers that have none."""
        return {
            name
            for name in names
            if name.endswith(".bias")
            and name.removesuffix(".bias") + ".qweight" in stored
            and not stored[name][...].any()
        }


@dataclass(frozen=True)
class _Packed:
    """A packed weight as transformers reads a tensor of a file: by a slice of all of it."""

    name: str
    parts: Mapping[str, Any]
    scheme: Scheme
    packing: Packing

    def __getitem__(self, everything: object) -> Tensor:
        tensors = {name: part[...] for name, part in self.parts.items()}
        try:
            weight = self.scheme.unpack(tensors, self.packing.settings)
        except (ValueError, LookupError, RuntimeError, TypeError, AttributeError, StopIteration) as error:
            raise ModelError(
                f"the packed weight {shortened(self.name, 100)} cannot be unpacked as {self.packing.text} "
                f"({shortened(str(error) or type(error).__name__, 100)}); fetch the model again, or the unquantised one"
            ) from error
        return weight.T if self.packing.architecture in _TRANSPOSED else weight


def packing_of(folder: Path, config: Mapping[str, Any]) -> Packing | None:
    """How the weights of a folder are quantised by its ``config.json``, None where they are not.

    Raises `ModelError` for a method or a version of one that is not unpacked here.
    """
    settings = config.get("quantization_config")
    if not settings:
        return None
    if not isinstance(settings, dict) or _method(settings) not in _SCHEMES:
        method = _method(settings) if isinstance(settings, dict) else ""
        by = f" by {shortened(method, 40)}" if method else ""
        raise _refused(folder, f"holds weights quantised{by}, which are not unpacked here ({', '.join(_SCHEMES)} are)")
    if why := _other_version(settings):
        raise _refused(folder, f"holds weights quantised by {_method(settings)} {why}, which are not unpacked here")
    return Packing(settings, str(config.get("model_type")))


def _refused(folder: Path, why: str) -> ModelError:
    return ModelError(
        f"{folder} {why}; use the unquantised model, or a GGUF file of it, which is converted to plain weights"
    )


def _method(settings: Mapping[str, Any]) -> str:
    """As configurations name it; older ones of bitsandbytes only say how many bits."""
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return "bitsandbytes"
    return str(settings.get("quant_method") or "")


def _bits(settings: Mapping[str, Any]) -> Any:
    return settings.get("bits", settings.get("w_bit"))


def _other_version(settings: Mapping[str, Any]) -> str:
    """What is different from the versions of a method that are unpacked here, in a clause; nothing where none is."""
    method = _method(settings)
    if method == "gptq":
        if _bits(settings) not in unpacking.BITS:
            return f"with {shortened(str(_bits(settings)), 20)} bits"
        layout = settings.get("checkpoint_format") or "gptq"
        return "" if layout in ("gptq", "gptq_v2") else f"in the layout {shortened(str(layout), 40)}"
    if method == "awq":
        if _bits(settings) != 4:
            return f"with {shortened(str(_bits(settings)), 20)} bits"
        version = str(settings.get("version") or "gemm").lower()
        return "" if version == "gemm" else f"in the version {shortened(version, 40)}"
    if method == "compressed-tensors":
        sparsity = settings.get("sparsity_config") or {}
        if isinstance(sparsity, dict) and sparsity.get("format", "dense") != "dense":
            return "that are sparse as well"
        if settings.get("transform_config"):
            return "with transforms of the activations"
        if settings.get("quantization_status") != "compressed":
            return "and stored unpacked"
        formats = [settings.get("format")]
        if formats == ["mixed-precision"]:
            formats = [group.get("format") for group in unpacking.groups_of(settings)]
        other = [each for each in formats if each not in _COMPRESSED_FORMATS]
        return f"in the layout {shortened(str(other[0]), 40)}" if other else ""
    return ""
