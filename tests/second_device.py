"""A second device for tests on a machine that has none: its tensors hold those of the CPU, and meet none of the CPU.

torch lets a backend be written in Python. What is computed on this one is computed by the same kernels, so that a
divided model must give the same numbers bit for bit; and an operation on tensors of both devices is an error, as with a
GPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.utils._pytree import tree_map, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "second:0"

_BETWEEN = ("aten::_to_copy", "aten::copy_", "aten::_copy_from", "aten::set_")


class TensorThere(torch.Tensor):
    """A tensor of the second device, with the one of the CPU that it stands for."""

    raw: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw):
        how = {"strides": raw.stride(), "storage_offset": raw.storage_offset(), "dtype": raw.dtype, "device": NAME}
        self = torch.Tensor._make_wrapper_subclass(cls, raw.shape, **how)
        self.raw = raw
        return self

    @classmethod
    def __torch_dispatch__(cls, operation, _types, args=(), kwargs=None):
        return _run(operation, *args, **(kwargs or {}))


@cache
def second_device() -> str:
    """The name of the device, which is there from now on."""
    _setup_privateuseone_for_python_backend(NAME.partition(":")[0])
    library = torch.library.Library("_", "IMPL", "PrivateUse1")
    library.fallback(_run, "PrivateUse1")
    _kept.append(library)
    return NAME


_kept: list[Any] = []


def _run(operation, *args, **kwargs):
    name = operation._schema.name
    tensors: list[torch.Tensor] = []
    tree_map_only(torch.Tensor, tensors.append, (args, kwargs))
    there = [each for each in tensors if isinstance(each, TensorThere)]
    if name == "aten::_copy_from":
        _raw(args[1]).copy_(_raw(args[0]))
        return args[1]
    strangers = [each for each in tensors if not isinstance(each, TensorThere) and each.ndim]
    if "index" in name:  # indices may lie on the CPU
        strangers = [each for each in strangers if each.is_floating_point()]
    if there and strangers and name not in _BETWEEN:
        raise RuntimeError(f"{operation}: expected all tensors to be on the same device")
    plain, named = tree_map(_raw, args), tree_map(_raw, kwargs)
    if name == "aten::histc":  # which has no whole numbers on a CPU, and has them on a GPU
        plain = (plain[0].float(), *plain[1:])
    found = operation(*plain, **named)
    asked = kwargs.get("device")
    stays = bool(there) if name != "aten::copy_" else isinstance(args[0], TensorThere)
    goes = stays if asked is None else torch.device(asked).type == torch.device(NAME).type
    same = {id(each.raw): each for each in there}  # what an operation in place returns is what it was given

    def placed(each):
        return same[id(each)] if id(each) in same else TensorThere(each) if goes else each

    return tree_map_only(torch.Tensor, placed, found)


def _raw(value):
    if isinstance(value, TensorThere):
        return value.raw
    return torch.device("cpu") if isinstance(value, torch.device) else value
