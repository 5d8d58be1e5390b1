"""A model that is elsewhere: NDIF, or another server that speaks nnsight's protocol, runs what is asked of it.

Only its config.json and tokenizer are here. A method's trace is sent as its source, with what that names; the prompt
goes as token ids, the model by its hub id, and no module of ours goes along but those that a method registers. What
comes back is read as plain tensors, so that no server can run anything here.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workbench.errors import InputError, ModelError
from workbench.lazy import torch
from workbench.loading import LoadedModel, described, import_libraries
from workbench.models import weights
from workbench.models.anatomy import find_anatomy
from workbench.models.info import REMOTE
from workbench.models.layouts import LAYOUTS
from workbench.models.store import checkpoint, hub, integrity
from workbench.protocol import Frozen, Progress
from workbench.reading import shortened
from workbench.visible import one_line

if TYPE_CHECKING:
    from pathlib import Path

KEY = "NDIF_API_KEY"
HOST = "NDIF_HOST"

PATIENCE = 20
"""Seconds within which the server must answer that it is there."""

ANSWER = "answer"
"""The name of what the traces of all methods save."""

PLAIN = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("nnsight.schema.response", "Status"),
}
"""All that an answer may be made of, beside what pickle itself knows: tensors, and how far the job is."""


class Parcel(Frozen):
    """What would be sent: ``bytes`` to ``host``, for the ``model`` of this key: source, and what goes with it by name.

    ``inputs`` are those of the forward pass that it is run in.
    """

    host: str
    model: str
    bytes: int
    inputs: str
    code: str
    names: tuple[str, ...]


class NotSent(Exception):
    """Raised in the place of sending, in a dry run."""

    def __init__(self, parcel: Parcel) -> None:
        super().__init__(f"{parcel.bytes} bytes were not sent")
        self.parcel = parcel


@dataclass(frozen=True, eq=False)
class RemoteModel(LoadedModel):
    """A model without weights, of which a `host` has those. ``nn`` is nnsight's wrapper with its own names."""

    host: str
    dry: bool

    def part(self, path: str) -> Any:
        """The part of the model at a path, for a trace that is sent."""
        return self.nn.get(path)

    def sending(self, progress: Progress, *modules: str) -> Any:
        """The backend of a trace that is sent; in a dry run it raises `NotSent`.

        Functions of the ``modules`` (by name) that the trace calls are sent as their source. Raises `ModelError` where
        the server cannot be reached, refuses, fails, or answers what is no result, and what ``progress`` raises.
        """
        from nnsight.ndif import register

        for module in modules:
            register(module)
        return _backend(self, progress)


def reach(spec: str, progress: Progress, *, dry: bool = False) -> RemoteModel:
    """The model of a hub id on the server of ``NDIF_HOST``, or NDIF's own. A dry run fetches nothing either.

    Raises `InputError` without a key or for an address that would show it, `ModelError` for a model whose configuration
    cannot be had or whose parts are not known by its type.
    """
    import_libraries()
    host = _host()
    if not dry and not os.environ.get(KEY):
        raise InputError(f"{host} asks for a key; set {KEY} to yours, or see what would be sent with --dry-run")
    if not hub.is_hub_id(spec):
        raise InputError(f"{spec!r} is no Hugging Face id, by which {host} knows its models; give --model owner/name")
    folder = hub.described(spec, progress, fetch=not dry)
    integrity.check_small_files(folder)
    checkpoint.read_config(folder)
    tokenizer = weights.read_tokenizer(folder)
    with weights.quiet():
        nn = _wrapper(spec, folder, tokenizer)
    hf_model = nn._module
    config = hf_model.config
    if not any(config.model_type in layout.model_types for layout in LAYOUTS):
        known = ", ".join(sorted(name for layout in LAYOUTS for name in layout.model_types))
        raise ModelError(
            f"the parts of a {config.model_type} model are not known by name, and it cannot be run here to "
            f"find them; --remote takes models of the types {known}"
        )
    anatomy = find_anatomy(hf_model)
    key = nn.to_model_key()
    fingerprint = hashlib.sha256(f"{host} {key}".encode()).hexdigest()[:16]
    info = described(hf_model, tokenizer, anatomy, f"{spec} at {host}", fingerprint, REMOTE)
    return RemoteModel(hf_model, tokenizer, anatomy, info, nn, host, dry)


def _host() -> str:
    from nnsight.schema.config import CONFIG

    host = (os.environ.get(HOST) or CONFIG.API.HOST).rstrip("/")
    parts = urlsplit(host)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")):
        return host
    raise InputError(
        f"{HOST} is {one_line(host)}, where key and prompt would travel unencrypted; give an https address"
    )


def _wrapper(spec: str, folder: Path, tokenizer: Any) -> Any:
    """nnsight's wrapper on a model without weights, which says the hub id and not the folder."""
    from nnsight.modeling import huggingface
    from nnsight.modeling.transformers import TransformersModel

    nn = TransformersModel(str(folder), task="text-generation", tokenizer=tokenizer)
    nn.repo_id = spec
    nn.args = (spec,)
    huggingface._ID_CACHE[spec] = spec  # else it asks the hub how the id is written
    return nn


def _backend(model: RemoteModel, progress: Progress) -> Any:
    import httpx
    import websocket
    from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
    from nnsight.intervention.serialization import reduce_block
    from nnsight.schema.request import RequestModel
    from nnsight.schema.response import ResponseModel

    class Sending(RemoteBackend):  # type: ignore[misc]
        """Sends what is asked for and nothing else, tells where the job is, and unpickles nothing but tensors."""

        def __call__(self, tracer: Any = None) -> Any:
            if model.dry:
                blob = self._serialize(tracer)
                source, *scopes = reduce_block(
                    tracer.node, tracer.info.frame.f_globals, dict(tracer.info.frame.f_locals)
                )
                names = tuple(_said(name, value) for scope in scopes for name, value in sorted(scope.items()))
                raise NotSent(
                    Parcel(
                        host=self.host,
                        model=self.model_key,
                        bytes=len(blob),
                        inputs=_said("inputs", {**tracer.kwargs}),
                        code=source.strip(),
                        names=names,
                    )
                )
            websocket.setdefaulttimeout(PATIENCE)
            try:
                if ANSWER not in (found := super().__call__(tracer) or {}):
                    raise pickle.UnpicklingError("it has no answer")
                return found
            except RemoteError as error:
                raise ModelError(f"{self.host} answers: {_last_line(error)}") from None
            except websocket.WebSocketBadStatusException as error:
                if error.status_code in (401, 403):
                    raise ModelError(f"{self.host} does not accept the key in {KEY}; set it to yours") from None
                raise ModelError(f"{self.host} answers with status {error.status_code}; try again later") from None
            except (websocket.WebSocketException, httpx.HTTPError, OSError) as error:
                raise ModelError(f"{self.host} cannot be reached ({_last_line(error)}); try again later") from None
            except (pickle.UnpicklingError, ValueError, KeyError) as error:
                raise ModelError(f"{self.host} sent what is no result ({_last_line(error)})") from None

        def _serialize(self, tracer: Any) -> bytes:
            """Without looking for modules of ours to send along."""
            blob: bytes = RequestModel.serialize(tracer, self.compress)
            return blob

        @staticmethod
        def parse(message: str | bytes) -> Any:
            if isinstance(message, str):
                return ResponseModel.model_validate_json(message)
            return ResponseModel(**_plain(bytes(message)))

        def finalize(self, content: bytes) -> Any:
            if self.compress:
                import zstandard

                try:
                    content = zstandard.ZstdDecompressor().decompress(content)
                except zstandard.ZstdError as error:
                    raise pickle.UnpicklingError(_last_line(error)) from None
            return _plain(content)

        def download_result(self, url: Any) -> Any:
            progress(0, 1, stage="reading the answer")
            return super().download_result(url)

    sending = Sending(
        model.nn.to_model_key(), host=model.host, api_key=os.environ.get(KEY), env=model.nn._remoteable_get_env()
    )
    sending.display = _Told(model.host, progress)
    return sending


class _Told:
    """In the place of nnsight's own display: where the job is, as the stage of our progress, which may cancel it."""

    enabled = True

    def __init__(self, host: str, progress: Progress) -> None:
        self._host, self._progress, self._stage = host, progress, f"sending to {host}"

    def update(self, response: Any) -> None:
        """A status has come: queued with its place, running …"""
        said = one_line(response.description or "")
        self._stage = shortened(f"{response.status.value.lower()} at {self._host}" + (f": {said}" if said else ""), 200)
        self.refresh()

    def refresh(self) -> None:
        """Nothing has come for a tenth of a second."""
        self._progress(0, 1, stage=self._stage)


def _plain(content: bytes) -> Any:
    """What was saved by torch, read without running anything. Raises `pickle.UnpicklingError`."""

    class Plain(pickle.Unpickler):
        """Knows tensors, and nothing else."""

        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in PLAIN:
                raise pickle.UnpicklingError(f"it names {module}.{name}")
            return super().find_class(module, name)

    only = SimpleNamespace(__name__="plain", Unpickler=Plain, load=lambda file, **given: Plain(file, **given).load())
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False, pickle_module=only)
    except (RuntimeError, EOFError) as error:
        raise pickle.UnpicklingError(_last_line(error)) from None
    if not isinstance(found, dict):
        raise pickle.UnpicklingError("it has no names")
    return found


def _said(name: str, value: Any) -> str:
    """A name that goes with the source, with what it stands for."""
    import inspect

    if inspect.isfunction(value):
        return f"{name}: a function\n{inspect.getsource(value)}"
    return f"{name}: {shortened(one_line(repr(value)), 200)}"


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return shortened(one_line(lines[-1].strip()), 300) if lines else type(error).__name__
