"""Work in batches that shrink when the device runs out of memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TypeVar

from workbench.errors import OutOfMemory
from workbench.lazy import torch

Item = TypeVar("Item")


class ByDevice(dict[str, int]):
    """How much is done at once by kind of device: what kinds are not named have that of ``elsewhere``."""

    def __missing__(self, kind: str) -> int:
        return self["elsewhere"]


def in_batches(items: Sequence[Item], size: int, work: Callable[[list[Item]], None], bytes_each: int) -> Iterator[int]:
    """Call ``work`` on the items, ``size`` at a time, and yield how many are done after each batch.

    When the device runs out of memory its cache is emptied and the batch halved. Raises `OutOfMemory`, with the
    sizes, when a single item (which needs about ``bytes_each`` bytes) does not fit.
    """
    done = 0
    while done < len(items):
        try:
            work(list(items[done : done + size]))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if size == 1:
                raise OutOfMemory(
                    f"out of memory: one piece of the work needs about {bytes_each / 2**20:,.0f} MiB and does not "
                    "fit; use a shorter prompt, a smaller model, --dtype bfloat16 or --device cpu"
                ) from error
            size = max(1, min(size, len(items) - done) // 2)
            continue
        done = min(done + size, len(items))
        yield done


KEPT = 2**28
"""Bytes that may stay with the process when they are free."""

LARGEST_KEPT = 2**25
"""Bytes above which the C library gives each piece back at once, whatever it is told."""


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep large pieces that are freed for the next that are asked for, where it can be told to.

    glibc gives them back to the system at once, and to have them again costs a fault for every 4 KiB: an eighth of the
    time of a causal trace. It never keeps pieces of more than `LARGEST_KEPT` bytes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
    return bool(mallopt(mmap_threshold, LARGEST_KEPT) and mallopt(trim_threshold, KEPT))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or here."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
