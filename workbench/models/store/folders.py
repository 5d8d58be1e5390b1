"""The folders below `workbench.paths.models_folder`: written by one process at a time, and whole or not at all.

A model is made in a hidden folder beside its place, gets a marker that says what it was made of, and then its name
by one rename. So what was left half done has no name, and what is stale or damaged differs from its marker.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from workbench.models.store import fetch
from workbench.models.store.gguf import CONVERTER_VERSION
from workbench.models.store.space import check_space, explained
from workbench.paths import models_folder
from workbench.protocol import Frozen, Progress
from workbench.reading import MB, Unreadable, read_text

_MARKER = "workbench.json"
_WAIT = 0.1  # seconds between two looks at a lock that another process holds


class Marker(Frozen):
    """What a model of ours was made of.

    A converted one has the SHA-256 of its GGUF file, the version of the converter, the bytes and the SHA-256 of each
    file and the fingerprint of the weights (the last two since they are kept); one that was added by reference has
    the folder where it stands. ``damaged``: its bytes were found to be others (see `workbench.models.store.integrity`).
    """

    format: Literal["lm-workbench-model"] = "lm-workbench-model"
    reference: Path | None = None
    gguf_sha256: str | None = None
    converter: int | None = None
    files: dict[str, int] = {}
    sha256: dict[str, str] = {}
    fingerprint: str | None = None
    damaged: bool = False


def read_marker(name: str) -> Marker | None:
    """The marker of the model called ``name``; None where there is none that can be understood."""
    return marker_in(models_folder() / name)


def marker_in(folder: Path) -> Marker | None:
    """The marker in a folder; None where there is none that can be understood."""
    path = folder / _MARKER
    try:
        return Marker.model_validate_json(read_text(path, MB))
    except (Unreadable, ValidationError):
        return None


def names() -> list[str]:
    """The names of all models here, ready or damaged, sorted."""
    if not models_folder().is_dir():
        return []
    folders = (folder.name for folder in models_folder().iterdir() if not folder.name.startswith("."))
    return sorted(folders)


def ready(name: str, gguf_sha256: str | None = None) -> Path | None:
    """The folder of a converted model, when this converter made it (of that GGUF file) and all of it is there."""
    marker = read_marker(name)
    if marker is None or marker.damaged or marker.converter != CONVERTER_VERSION:
        return None
    if gguf_sha256 not in (None, marker.gguf_sha256):
        return None
    folder = models_folder() / name
    try:
        return folder if marker.files and _sizes(folder) == marker.files else None
    except OSError:  # a file that is listed but not there, such as a dangling link
        return None


@contextlib.contextmanager
def workplace(name: str, room: int, purpose: str) -> Iterator[Path]:
    """A new hidden folder to make ``name`` in, gone afterwards. To be used by its `sole_writer`.

    What a killed process left is removed first. Raises `ModelError` where ``room`` bytes are not free, the disk
    fills up or it cannot be written.
    """
    models = models_folder()
    with explained(models, room, purpose):
        for remains in models.glob(f".{name}.*.partial"):
            shutil.rmtree(remains)
        check_space(models, room, purpose)
        # The number of the process is in the name, so that a child which outlived the last one cannot write here.
        work = models / f".{name}.{os.getpid()}.partial"
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def sole_writer(name: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of ``name``, after waiting for the process that holds it. The lock ends with the process."""
    import filelock

    models = models_folder()
    with explained(models, 0, "to keep models"):
        models.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(models / f".{name}.lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_WAIT)
            except filelock.Timeout:
                progress(0, 1, stage=f"waiting for another process that is preparing {name}")
    try:
        yield
    finally:
        lock.release()


def install(made: Path, name: str, gguf_sha256: str, fingerprint: str, progress: Progress) -> Path:
    """Give the converted model in ``made`` its name, in place of what had it, and keep the hashes of its files."""
    marker = Marker(
        gguf_sha256=gguf_sha256,
        converter=CONVERTER_VERSION,
        files=_sizes(made),
        sha256={file: fetch.sha256(made / file, progress, f"hashing {name}") for file in _sizes(made)},
        fingerprint=fingerprint,
    )
    return _put(made, name, marker)


def install_reference(made: Path, name: str, reference: Path) -> Path:
    """Make ``name`` mean the folder ``reference``. ``made`` is an empty folder in a workplace."""
    return _put(made, name, Marker(reference=reference))


def mark(folder: Path, *, damaged: bool) -> None:
    """Note whether the converted model in a folder of ours is damaged: one that is does not count as `ready`."""
    marker = marker_in(folder)
    if marker is not None and marker.damaged != damaged:
        written = folder / f"{_MARKER}.new"
        written.write_text(marker.model_copy(update={"damaged": damaged}).model_dump_json(indent=1), encoding="utf-8")
        written.replace(folder / _MARKER)


def _put(made: Path, name: str, marker: Marker) -> Path:
    (made / _MARKER).write_text(marker.model_dump_json(indent=1), encoding="utf-8")
    folder = models_folder() / name
    if folder.exists():
        shutil.rmtree(folder)
    made.rename(folder)
    return folder


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of each file in a folder, without its marker."""
    return {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.name != _MARKER}
