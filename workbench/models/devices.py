"""Where a model's weights lie: all on one device, or dealt out over several.

What is dealt out are the weights. A module that has some on another device takes what it is given there and hands back
what it made of it, so that whatever a method reads, changes or keeps lies on the device of the model's first weights,
as if it were the only one. States are small beside weights: 16 kB for a token of a model of 70B, against 140 GB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, OutOfMemory
from workbench.lazy import torch
from workbench.memory import is_out_of_memory
from workbench.reading import BadJson, Unreadable, is_file, parse, quoted, read_text, shortened

if TYPE_CHECKING:
    from torch.nn import Module

AUTOMATIC = ("auto", "balanced")
"""Device maps that are made here, which come to the same: as much on each GPU as on the others, then the CPU."""

TENSOR_PARALLEL = "tp"
"""The device map that divides every matrix over the processes that torchrun has started, by transformers' own plan."""

_MOST_BYTES = 10_000_000


@dataclass(frozen=True)
class Placement:
    """One device, or what ``device_map`` says: devices by the paths of modules, empty where they are still to be made.

    ``named`` is the map as it was asked for. With ``divided`` the weights are read where they stay: by each process its
    part of every matrix.
    """

    device: torch.device
    device_map: Mapping[str, str] | None = None
    named: str = ""
    divided: bool = False

    def put(self, hf_model: Any) -> Any:
        """A model that lies on the CPU, put there. Raises `InputError` where a map does not fit it, `OutOfMemory`."""
        if self.divided:
            if hf_model.device.type == "cuda":  # each process has its own, which threads forget
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            return hf_model
        if self.device_map is None:
            return _moved(hf_model, self.device)
        return _spread(hf_model, self.device_map or _balanced(hf_model), self.named)


def placement(device: str, device_map: str | None) -> Placement:
    """Where a model is to be put. ``device`` "auto" is CUDA, then MPS, then CPU; a map is "auto", "balanced", "tp" or a
    file.

    A file is JSON: the paths of modules with their devices, of which a longer path stands before a shorter one, and an
    empty one is the whole model. A number is that of a GPU, as in the maps of the accelerate library. Raises
    `InputError` for a device that is not here, for what is no map, and where both are given.
    """
    if device_map is None:
        return Placement(_device(device))
    if device != "auto":
        raise InputError(f"--device {device} is one device, and --device-map deals out several: leave one of them out")
    if device_map in AUTOMATIC:
        return Placement(_device("auto"), {}, device_map)
    if device_map == TENSOR_PARALLEL:
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            raise InputError(
                "--device-map tp divides every matrix over several processes; start them with: torchrun --standalone "
                "--nproc-per-node N -m workbench …"
            )
        return Placement(_device("auto"), named=device_map, divided=True)
    places = _read(device_map)
    return Placement(
        next((each for each in places.values() if each.type != "cpu"), torch.device("cpu")),
        {path: str(each) for path, each in places.items()},
        device_map,
    )


def devices_of(hf_model: Any) -> str:
    """The devices that hold weights, that of the first weights first: ``cuda:0+cuda:1``; ``2 × cuda`` of processes."""
    if parts := parts_of(hf_model):
        return f"{parts} × {hf_model.device.type}"
    return "+".join(dict.fromkeys(str(parameter.device) for parameter in hf_model.parameters()))


def parts_of(hf_model: Any) -> int:
    """Over how many processes every matrix is divided, 0 where none is."""
    size = getattr(hf_model, "_tp_size", None)
    return int(size) if isinstance(size, int) and size > 1 else 0


def is_first_process() -> bool:
    """Whether this is the process of those started by torchrun that speaks for all, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def _device(name: str) -> torch.device:
    if name == "auto":
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        return torch.device(next((kind for kind, there in available.items() if there), "cpu"))
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
    ) as error:  # torch raises each of them for a missing one
        raise InputError(f"there is no device {name!r} here; use auto, cpu, cuda, cuda:N or mps") from error
    return device


def _moved(hf_model: Any, device: torch.device) -> Any:
    try:
        return hf_model.to(device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        free = ""
        if device.type == "cuda":
            hf_model.to("cpu")
            torch.cuda.empty_cache()
            free = f" and {torch.cuda.mem_get_info(device)[0] / 2**30:.1f} GiB are free"
        raise OutOfMemory(
            f"the model needs {_gib(hf_model)} on {device}{free}; use --dtype bfloat16, --device cpu, "
            "--device-map auto with several GPUs, or a smaller model"
        ) from error


def _read(device_map: str) -> dict[str, torch.device]:
    path = Path(device_map).expanduser()
    if not is_file(path):
        raise InputError(
            f"there is no file {shortened(device_map, 100)}; --device-map takes auto, balanced, tp or a file of JSON "
            'such as {"": "cuda:0", "model.layers.9": "cuda:1"}'
        )
    try:
        found = parse(read_text(path, _MOST_BYTES))
    except Unreadable as error:
        raise InputError(f"the device map {path} cannot be read: {error.why}; name another file") from error
    except BadJson as error:
        raise InputError(f"the device map {path} is not JSON: {error.why}; mend it") from error
    if not isinstance(found, dict) or not found:
        raise InputError(f"the device map {path} is not an object of devices by the paths of modules; mend it")
    return {
        module: _place_of(device, f"the device map {path} puts {quoted(module)} on") for module, device in found.items()
    }


def _place_of(device: object, put: str) -> torch.device:
    name = f"cuda:{device}" if isinstance(device, int) and not isinstance(device, bool) else device
    if name in ("disk", "meta"):
        raise InputError(f"{put} the {name}, and weights are read and changed in memory; name cpu there, or a GPU")
    try:
        if isinstance(name, str) and name != "auto":
            return _device(name)
    except InputError:
        pass
    raise InputError(f"{put} {quoted(device)}, which is no device here; use cpu, cuda:N or mps") from None


def _spread(hf_model: Any, places: Mapping[str, str], named: str) -> Any:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    modules = dict(hf_model.named_modules())
    units = list(_units(hf_model))
    if strangers := sorted(path for path in places if path not in modules):
        raise InputError(
            f"the device map {named} names {quoted(strangers[0])}, and this {hf_model.config.model_type} model has no "
            f"such module; its modules are named like {shortened(units[len(units) // 2], 80)}"
        )
    where = {path: torch.device(_place(path, places, named)) for path in units}
    _check_shared(modules, where, named)
    first = where[units[0]]
    try:
        for path, device in where.items():
            modules[path].to(device)
        for path, module in modules.items():
            if not any(path == unit or path.startswith(f"{unit}.") for unit in units):
                for name, buffer in module.named_buffers(recurse=False):
                    setattr(module, name, buffer.to(first))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"the model needs {_gib(hf_model)}, and a device is too small for its share by the device map {named}; use "
            "--dtype bfloat16, another map or a smaller model"
        ) from error
    for path, device in where.items():
        if device != first:
            add_hook_to_module(modules[path], AlignDevicesHook(device, io_same_device=True, place_submodules=True))
    return hf_model


def _units(root: Module, path: str = "") -> Iterator[str]:
    """The paths of the outermost modules that have weights of their own: each lies on one device with all in it."""
    if any(True for _ in root.parameters(recurse=False)):
        yield path
        return
    for name, child in root.named_children():
        yield from _units(child, f"{path}.{name}" if path else name)


def _place(path: str, places: Mapping[str, str], named: str) -> str:
    """The device of a module: that of the longest path in the map that leads to it."""
    parts = path.split(".")
    leading = (".".join(parts[:length]) for length in range(len(parts), -1, -1))
    found = next((places[each] for each in leading if each in places), None)
    if found is None:
        raise InputError(
            f'the device map {named} says nothing of {path}; name its device, or one for all the rest: {{"": "cpu"}}'
        )
    return found


def _check_shared(modules: dict[str, Module], units: dict[str, torch.device], named: str) -> None:
    """Raise `InputError` where modules that share a weight would lie on two devices."""
    owners: dict[int, str] = {}
    for path, device in units.items():
        for weight in modules[path].parameters():
            other = owners.setdefault(id(weight), path)
            if units[other] != device:
                raise InputError(
                    f"{other} and {path} have one weight together, and the device map {named} puts them on two "
                    "devices; give both the same"
                )


def _balanced(hf_model: Any) -> dict[str, str]:
    """Devices by the paths of modules, whole blocks each, as the accelerate library deals them out."""
    from accelerate.utils import get_balanced_memory, infer_auto_device_map

    whole = list(getattr(hf_model, "_no_split_modules", None) or ())
    room = get_balanced_memory(hf_model, no_split_module_classes=whole)
    found = infer_auto_device_map(hf_model, max_memory=room, no_split_module_classes=whole)
    if "disk" in found.values():
        raise OutOfMemory(
            f"the model needs {_gib(hf_model)}, more than all devices here have free; "
            "use --dtype bfloat16 or a smaller model"
        )
    return {path: f"cuda:{device}" if isinstance(device, int) else str(device) for path, device in found.items()}


def _gib(hf_model: Any) -> str:
    return f"{hf_model.get_memory_footprint() / 2**30:.1f} GiB"
