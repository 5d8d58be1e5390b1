"""Whether a model is still what was prepared or fetched: every byte when that is asked, the weights at each load.

Loading computes the fingerprint of the weights anyway, from every byte of every tensor, so that comparing it costs
nothing; the other files are small. What does not agree is marked, so that the next pull makes it anew.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from workbench.errors import ModelError
from workbench.models.store import catalog, checkpoint, fetch, hub
from workbench.models.store import folders as store
from workbench.paths import models_folder
from workbench.protocol import Frozen, Progress, silent
from workbench.reading import read_bytes

_BLOCK = 1 << 20


class Verdict(Frozen):
    """What `verify` found of a model, with a sentence for the person.

    "unknown": its files can be read, and there is nothing that says what they should be.
    """

    name: str
    state: Literal["whole", "damaged", "unknown", "not here"]
    text: str


def check_small_files(folder: Path) -> None:
    """Compare the files beside the weights with their hashes, where they were kept. Raises `ModelError`."""
    marker = _marker(folder)
    if marker is not None:
        small = {name: digest for name, digest in marker.sha256.items() if not name.endswith(".safetensors")}
        _compare(folder, small, silent)


def check_weights(folder: Path, fingerprint: str) -> None:
    """Compare the fingerprint of the weights with what it should be, where that is known. Raises `ModelError`."""
    marker = _marker(folder)
    wanted = None if marker is None else catalog.pinned_fingerprint(marker.gguf_sha256) or marker.fingerprint
    if wanted not in (None, fingerprint):
        raise _damaged(folder, f"the fingerprint of its weights is {fingerprint} and should be {wanted}")


def verify(spec: str, progress: Progress = silent) -> Verdict:
    """Read every byte of a model that is here. Raises `ModelError` where no model has that name."""
    if spec in store.names():
        store.mark(models_folder() / spec, damaged=False)  # it is looked at anew
    try:
        known = catalog.describe(spec)
        if known.state in ("not fetched", "missing", "damaged") or known.path is None:
            return _not_ready(spec, known.state)
        return _verified(spec, known.path, progress)
    except ModelError as error:
        if spec not in (*catalog.CATALOGUE, *store.names()) and not Path(spec).expanduser().is_dir():
            raise
        return Verdict(name=spec, state="damaged", text=str(error))


def verify_all(progress: Progress = silent) -> Iterator[Verdict]:
    """`verify` every model in the list, one after the other."""
    for model in catalog.list_models():
        yield verify(model.name, progress)


def restored(spec: str, progress: Progress = silent, *, agreed: bool = False) -> Path:
    """The folder of a model as `catalog.resolve` gives it, made anew where it is here and damaged.

    ``agreed``: to the terms of use that it comes with. Raises `ModelError` where it cannot be had.
    """
    if spec in catalog.CATALOGUE and catalog.describe(spec).state == "ready":
        verify(spec, progress)  # marks it when it is damaged
    return catalog.pull(spec, progress, agreed=agreed) if spec in catalog.CATALOGUE else catalog.resolve(spec, progress)


def _not_ready(spec: str, state: str) -> Verdict:
    marker = store.read_marker(spec)
    if state == "missing" and marker is not None:
        return Verdict(name=spec, state="not here", text=f"its folder {marker.reference} is no longer there")
    if (models_folder() / spec).is_dir():
        text = f"its converted files are damaged, or of an older version; {_remedy(spec)}"
        return Verdict(name=spec, state="damaged", text=text)
    return Verdict(name=spec, state="not here", text=_remedy(spec))


def _verified(spec: str, folder: Path, progress: Progress) -> Verdict:
    check_small_files(folder)
    checkpoint.read_config(folder)
    checkpoint.check_tokenizer_files(folder)
    tensors = checkpoint.stored_tensors(folder)
    fingerprint = checkpoint.fingerprint(tensors, progress, f"verifying {spec}")
    check_weights(folder, fingerprint)
    marker = _marker(folder)
    if marker is not None and marker.sha256:
        _compare(folder, marker.sha256, progress)
        return Verdict(name=spec, state="whole", text=f"every file as it was prepared, fingerprint {fingerprint}")
    if marker is not None and catalog.pinned_fingerprint(marker.gguf_sha256):
        text = f"weights as they should be, fingerprint {fingerprint}; hashes of its other files were not kept then"
        return Verdict(name=spec, state="whole", text=text)
    if _is_from_hub(spec, folder):
        _compare_with_hub(spec, folder, progress)
        return Verdict(name=spec, state="whole", text=f"every file as the hub has it, fingerprint {fingerprint}")
    text = f"it can be read, and nothing says what it should be; fingerprint {fingerprint}"
    return Verdict(name=spec, state="unknown", text=text)


def _marker(folder: Path) -> store.Marker | None:
    """The marker of a folder below ours, however it was named."""
    marker = store.marker_in(folder)
    return None if marker is None or marker.reference is not None else marker


def _compare(folder: Path, wanted: dict[str, str], progress: Progress) -> None:
    for name, digest in wanted.items():
        found = (folder / name).is_file() and fetch.sha256(folder / name, progress, f"verifying {folder.name}")
        if found != digest:
            raise _damaged(folder, f"{name} is not what was written when it was prepared")


def _damaged(folder: Path, what: str) -> ModelError:
    if folder.parent == models_folder():
        with contextlib.suppress(OSError):  # a cache that cannot be written: the sentence is true all the same
            store.mark(folder, damaged=True)
    return ModelError(f"{folder.name} is damaged: {what}; {_remedy(folder.name)}")


def _remedy(name: str) -> str:
    if name in catalog.CATALOGUE:
        return f"fetch it with: workbench models pull {name}"
    return f"add its GGUF file again: workbench models add FILE --name {name}"


def _is_from_hub(spec: str, folder: Path) -> bool:
    return hub.is_hub_id(spec) and folder.parent.name == "snapshots"


def _compare_with_hub(spec: str, folder: Path, progress: Progress) -> None:
    """The hub's cache keeps every file under its hash: SHA-256 for large ones, git's SHA-1 of a blob for others."""
    for link in sorted(folder.iterdir()):
        blob = link.resolve()
        if len(blob.name) == 64:
            found = fetch.sha256(blob, progress, f"verifying {spec}")
        elif len(blob.name) == 40:
            data = read_bytes(blob)
            found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        else:
            continue
        if found != blob.name:
            raise ModelError(
                f"{spec} is damaged: {link.name} is not what the hub sent; remove {blob} and fetch it again"
            )
