"""Room on the disk for models: asked for beforehand, and a sentence where it ends or the folder is closed to us."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import ModelError
from workbench.paths import HOME_VARIABLE

_MAKE_ROOM = f"make room, or set {HOME_VARIABLE} to a folder on another disk"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def check_space(folder: Path, needed: int, purpose: str) -> None:
    """Raise `ModelError` where fewer than ``needed`` bytes are free for ``folder``, which exists."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"the disk of {folder} is too full {purpose}: at least {megabytes(needed)} are needed and "
            f"{megabytes(free)} are free; {_MAKE_ROOM}"
        )


@contextlib.contextmanager
def explained(folder: Path, needed: int, purpose: str) -> Iterator[None]:
    """Turn the errors of a full disk, and of a ``folder`` that cannot be written, into `ModelError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ModelError(
                f"the disk of {folder} ran full {purpose}, which takes at least {megabytes(needed)}; {_MAKE_ROOM}"
            ) from error
        if error.errno in _CLOSED:
            raise ModelError(
                f"{folder} cannot be written ({error.strerror}); set {HOME_VARIABLE} to a folder that can"
            ) from error
        raise


def megabytes(size: int) -> str:
    """Bytes for people, in the decimal units that disks and downloads are sold in."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
