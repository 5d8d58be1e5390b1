"""Models by their Hugging Face id, through the hub's own client and cache: configuration, tokenizer, safetensors.

HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean everywhere.
"""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

from workbench.errors import Cancelled, ModelError
from workbench.protocol import Progress

_DESCRIBING = ("*.json", "*.jinja", "tokenizer.model", "*.tiktoken", "merges.txt", "vocab.txt")
_WANTED = (*_DESCRIBING, "*.safetensors")
_HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}")
_LOOK_EVERY = 0.1  # seconds: how soon a cancelled job is noticed


def is_hub_id(spec: str) -> bool:
    """Whether ``spec`` looks like owner/name."""
    return _HUB_ID.fullmatch(spec) is not None


def cached(spec: str, *, weights: bool = True) -> Path | None:
    """The folder of a model that the hub's cache holds already, with its ``weights`` or without; or None."""
    from huggingface_hub import errors, snapshot_download

    try:
        wanted = list(_WANTED if weights else _DESCRIBING)
        folder = Path(snapshot_download(spec, allow_patterns=wanted, local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    whole = (folder / "config.json").is_file() and (not weights or any(folder.glob("*.safetensors")))
    return folder if whole else None


def described(spec: str, progress: Progress, *, fetch: bool) -> Path:
    """The folder of a model's configuration and tokenizer, without weights. Raises `ModelError` as `download` does.

    Where they are not to be fetched, they must be in the hub's cache.
    """
    if (here := cached(spec, weights=False)) is not None:
        return here
    if not fetch:
        raise ModelError(
            f"config.json and tokenizer of {spec} are not in the hub's cache, and a dry run fetches nothing; fetch "
            f"them with: hf download {spec} --include '*.json'"
        )
    return _fetched(spec, _DESCRIBING, progress)


def download(spec: str, progress: Progress) -> Path:
    """The folder of a model, downloaded where the hub's cache does not hold it. Progress counts bytes.

    Raises `ModelError` where there is no such model, access is not granted, the hub cannot be reached, or the model
    has no safetensors. What ``progress`` raises stops the download.
    """
    folder = _fetched(spec, _WANTED, progress)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{spec} has no safetensors weights; use a model that has, or convert it to safetensors")
    return folder


def _fetched(spec: str, wanted: Sequence[str], progress: Progress) -> Path:
    bars = _Bars()
    pool = ThreadPoolExecutor(max_workers=1)  # progress is told on the caller's thread, which may own a model
    future = pool.submit(_snapshot, spec, wanted, bars)
    try:
        while not _is_done(future):
            done, total = bars.bytes()
            progress(done, total, stage=f"downloading {spec}")
    finally:
        bars.stopped.set()
        pool.shutdown(wait=False)  # a connection that hangs must not hold up the cancelled one
    return future.result()


def _snapshot(spec: str, wanted: Sequence[str], bars: _Bars) -> Path:
    # Each by name: the package fills itself on demand, and its submodules are no attributes before they are imported.
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its advice would be written across the screen
    try:
        folder = snapshot_download(spec, allow_patterns=list(wanted), tqdm_class=bars.make, library_name="lm-workbench")
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{spec} is gated: ask for access on its page, then set HF_TOKEN (or run: hf auth login) and try again"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {spec}, or it is private; check the spelling, or set HF_TOKEN to reach it"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(_no_route(spec, whole=wanted is _WANTED)) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{spec} cannot be a Hugging Face id: {error}") from error
    # What the client's ways of fetching raise: files, HTTP, and its own protocol.
    except (OSError, errors.HTTPError, RuntimeError) as error:  # type: ignore[attr-defined]
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                f"the disk is too full to fetch {spec}; make room, or set HF_HOME to a folder on another disk"
            ) from error
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            raise ModelError(
                f"the hub does not let you have {spec}; check that HF_TOKEN is a valid token that may read it"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{spec} could not be fetched from the hub ({reason}); try again") from error
    return Path(folder)


def _no_route(spec: str, *, whole: bool) -> str:
    """Nobody brings files of a model here that is elsewhere, and is reached by a network too."""
    from huggingface_hub import constants

    if not whole:
        why = "HF_HUB_OFFLINE is set; unset it" if constants.HF_HUB_OFFLINE else "the hub cannot be reached; connect"
        return (
            f"--remote needs a network: config.json and tokenizer of {spec} are not in the hub's cache and {why}, or "
            "leave out --remote to ask a model that is here"
        )
    if constants.HF_HUB_OFFLINE:
        return f"{spec} is not in the hub's cache and HF_HUB_OFFLINE is set; unset it, or name a model that is here"
    return (
        f"{spec} is not in the hub's cache and the hub cannot be reached; bring the model's folder here and run: "
        "workbench models add FOLDER"
    )


class _Bars:
    """The progress bars that the hub's client asks for: they draw nothing, count bytes, and can stop it."""

    def __init__(self) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self.stopped = threading.Event()
        self._counts: list[Any] = []
        bars = self

        class DownloadBar(tqdm):  # type: ignore[misc]
            """One bar. The client keeps several for the same bytes, on the way and on the disk."""

            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **{**options, "disable": True})
                if options.get("unit") == "B":
                    bars._counts.append(self)

            def update(self, n: float | None = 1) -> None:
                if bars.stopped.is_set():
                    raise Cancelled
                self.n += n or 0

        self.make = DownloadBar

    def bytes(self) -> tuple[int, int]:
        """Bytes that are here, and bytes of all files as far as they are known (at least 1)."""
        done = max((int(bar.n) for bar in self._counts), default=0)
        return done, max([int(bar.total or 0) for bar in self._counts] + [done, 1])


def _is_done(future: Future[Path]) -> bool:
    try:
        future.exception(_LOOK_EVERY)
    except NotYet:
        return False
    return True
