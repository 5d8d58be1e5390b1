"""From the packed weights of quantised checkpoints to the numbers that they stand for: one function for each format.

Each takes the tensors that belong to one weight, by the endings of their names, and the checkpoint's
``quantization_config``, and gives the weight as float32, ``(written, read)`` as a linear layer has it (``(experts,
read, written)`` for MXFP4's experts). All raise `ValueError`, `LookupError`, `TypeError` or `RuntimeError` for tensors
that do not fit one another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch
from workbench.reading import parse

if TYPE_CHECKING:
    from torch import Tensor

Parts = Mapping[str, "Tensor"]
Stated = Mapping[str, Any]

BITS = (2, 4, 8)
"""Widths of which a whole number fits into a byte."""

_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # where in a word of eight the numbers lie, by their columns
_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)  # E2M1


def unpacked(packed: Tensor, bits: int) -> Tensor:
    """Unsigned numbers of 2, 4 or 8 bits, uint8, that lie along the last axis of ``packed``, lowest bits first."""
    if bits not in BITS:
        raise ValueError(f"numbers of {bits} bits")
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
    octets = packed.clone(memory_format=torch.contiguous_format).view(torch.uint8)  # one column has any stride
    numbers: Tensor = (octets.unsqueeze(-1) >> shifts) & (2**bits - 1)
    return numbers.flatten(-2)


def gptq(parts: Parts, stated: Stated) -> Tensor:
    """GPTQ: packed along what is read; a scale and a zero for each group of inputs (``g_idx``) and each output.

    The first version of the format stores zeros less one, "gptq_v2" as they are.
    """
    scales = parts["scales"]
    bits = 32 * parts["qzeros"].shape[1] // scales.shape[1]
    numbers = unpacked(parts["qweight"].T, bits)
    zeros = unpacked(parts["qzeros"], bits)
    if stated.get("checkpoint_format") != "gptq_v2":
        zeros = (zeros + 1) & (2**bits - 1)
    group = parts["g_idx"].int() if "g_idx" in parts else _groups(numbers.shape[1], len(scales))
    return (numbers.float() - zeros.float().T[:, group]) * scales.float().T[:, group]


def awq(parts: Parts, _stated: Stated) -> Tensor:
    """AWQ in its GEMM version: 4 bits, packed along what is written, the numbers of a word in an order of their own."""
    scales = parts["scales"]
    numbers, zeros = (
        unpacked(part, 4).reshape(len(part), -1, 8)[..., _AWQ_ORDER].flatten(1)
        for part in (parts["qweight"], parts["qzeros"])
    )
    group = _groups(len(numbers), len(scales))
    weight: Tensor = (numbers.float() - zeros.float()[group]) * scales.float()[group]
    return weight.T


def bitsandbytes_4bit(parts: Parts, _stated: Stated) -> Tensor:
    """NF4 and FP4 of bitsandbytes: places in a table of 16 numbers, high half of a byte first, scaled in blocks.

    The scales may be quantised themselves: places in a table of 256, scaled in blocks, about an offset.
    """
    state = parse(bytes(next(parts[name] for name in parts if name.startswith("weight.quant_state")).tolist()))
    scales = parts["weight.absmax"]
    if "weight.nested_absmax" in parts:
        places = parts["weight.nested_quant_map"].float()[scales.int()]
        scales = _in_blocks(places, parts["weight.nested_absmax"], state["nested_blocksize"]) + state["nested_offset"]
    octets = parts["weight"].contiguous().view(torch.uint8).flatten()
    places = torch.stack([octets >> 4, octets & 15], dim=-1).flatten()[: math.prod(state["shape"])]
    numbers = parts["weight.quant_map"].float()[places.int()]
    return _in_blocks(numbers, scales, state["blocksize"]).reshape(state["shape"])


def bitsandbytes_8bit(parts: Parts, _stated: Stated) -> Tensor:
    """LLM.int8(): signed bytes, of which 127 is the largest number of the row."""
    return parts["weight"].float() * (parts["SCB"].float() / 127)[:, None]


def float8(parts: Parts, stated: Stated) -> Tensor:
    """Numbers of 8 bits with a scale for the whole, for each row, or for each block of ``weight_block_size``."""
    scale = next(parts[name] for name in parts if name)
    return _scaled(parts[""].float(), _exponent(scale), stated.get("weight_block_size"))


def mxfp4(parts: Parts, _stated: Stated) -> Tensor:
    """Experts in MXFP4: numbers of 4 bits, low half of a byte first, 32 of them with a power of two."""
    numbers = _fp4(parts["_blocks"]) * _exponent(parts["_scales"]).unsqueeze(-1)
    return numbers.flatten(-2).transpose(-2, -1)


def compressed(parts: Parts, stated: Stated) -> Tensor:
    """compressed-tensors: whole numbers, FP8, NVFP4, MXFP4, with a scale for each group, block or row, or for all."""
    scale, zero = parts["weight_scale"], parts.get("weight_zero_point")
    if "weight_packed" not in parts:
        numbers = parts["weight"].float()
    elif parts["weight_packed"].dtype == torch.uint8:
        numbers = _fp4(parts["weight_packed"])
        scale = scale.float() / parts["weight_global_scale"].float() if "weight_global_scale" in parts else scale
    else:
        written, read = parts["weight_shape"].tolist()
        bits = 32 * parts["weight_packed"].shape[1] // read
        middle = 2 ** (bits - 1)
        numbers = unpacked(parts["weight_packed"], bits)[:written, :read].float() - middle
        if zero is not None and zero.dtype == torch.int32:
            zero = unpacked(zero.T, bits).T[:written].float() - middle
    blocks = [(group.get("weights") or {}).get("block_structure") for group in groups_of(stated)]
    block = next(filter(None, blocks), None)
    if "weight_g_idx" in parts and bool((parts["weight_g_idx"] >= 0).all()):
        group = parts["weight_g_idx"].int()
        scale = scale[:, group]
        zero = None if zero is None else zero[:, group]
    if zero is not None:
        numbers = numbers - _spread(zero.float(), numbers.shape, block)
    return _scaled(numbers, _exponent(scale), block)


def groups_of(stated: Stated) -> list[dict[str, Any]]:
    """The groups of layers that a configuration of compressed-tensors tells apart."""
    groups = stated.get("config_groups")
    return [each for each in groups.values() if isinstance(each, dict)] if isinstance(groups, dict) else []


def _fp4(packed: Tensor) -> Tensor:
    return torch.tensor(_FP4)[unpacked(packed, 4).int()]


def _exponent(scale: Tensor) -> Tensor:
    """Scales as numbers: those of one byte are powers of two, about 127."""
    return (scale.float() - 127).exp2() if scale.dtype == torch.uint8 else scale.float()


def _groups(inputs: int, groups: int) -> Tensor:
    """The group of each input, where groups have one size."""
    return torch.arange(inputs) // -(-inputs // groups)


def _in_blocks(numbers: Tensor, scales: Tensor, size: int) -> Tensor:
    """Numbers ``(n,)`` times the scale of their block."""
    return numbers * scales.float()[torch.arange(len(numbers)) // size]


def _scaled(numbers: Tensor, scale: Tensor, block: Any) -> Tensor:
    return numbers * _spread(scale, numbers.shape, block)


def _spread(scale: Tensor, shape: tuple[int, ...], block: Any) -> Tensor:
    """One scale for each number of a matrix, or what broadcasts to that; one axis of scales is of rows."""
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.ndim == 1:
        scale = scale[:, None]
    for axis in (-2, -1):
        parts = scale.shape[axis]
        if parts not in (1, shape[axis]):
            size = block[axis] if block else -(-shape[axis] // parts)
            scale = scale.index_select(axis, torch.arange(shape[axis]) // size)
    return scale
