"""Files that are always complete."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.(?P<pid>\d+)\.[0-9a-f]+\.tmp")
"""The names of the files that `write_atomically` writes before it renames them."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file (text is UTF-8) so that a kill at any moment leaves either the old one or the new one, complete.

    A new file has the permissions that the user's umask gives, an old one keeps its own. What programs that were
    killed in the middle of this have left in the folder is removed.
    """
    clean(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def clean(folder: Path) -> None:
    """Remove the temporary files of programs that do not run any more. What cannot be removed stays."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - only names are needed, of folders with thousands of files
            found = TEMPORARY.fullmatch(name)
            if found and not is_running(int(found["pid"])):
                (folder / name).unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether there is a process of this number, as far as can be known."""
    if os.name != "posix":  # elsewhere asking would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
