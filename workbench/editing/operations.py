"""What is done with edits that are made: switched, moved, removed, taken back, saved, and applied from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.editing.advice import advice
from workbench.editing.control_vectors import save_control_vector
from workbench.editing.patches import check_free, check_place, keep_edit, kept_edit, load_patch, save_model, save_patch
from workbench.editing.queue import QueuedEdit, QueueState
from workbench.errors import InputError
from workbench.paths import patch_path, vector_path, written_path
from workbench.protocol import Progress, Request, Result

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

Action = Literal[
    "show",
    "on",
    "off",
    "remove",
    "move",
    "undo",
    "redo",
    "bypass",
    "compare",
    "save",
    "save-model",
    "save-control-vector",
    "apply",
    "restore",
]


class QueueRequest(Request):
    """Ask for a change of the queue.

    ``edit`` is the id of the one that is switched "on" or "off", "remove"d, or "move"d by ``by`` places. "bypass"
    takes all edits off for a comparison and "compare" ends that. "save" writes the edits that are on to ``path`` as
    a patch, with the ending .safetensors put on where it was left out, and replaces the one there only when
    ``confirmed``; "save-control-vector" does the same with what they add to the residual stream, as a GGUF file for
    llama.cpp (.gguf); "save-model" writes the whole edited model into the folder ``path``; "apply" adds the edits of a
    patch. "restore" makes ``entries``, of an earlier session with the same model, the queue.
    """

    kind: Literal["queue"] = "queue"
    action: Action = "show"
    edit: str | None = None
    by: int = 0
    path: str | None = None
    confirmed: bool = False
    entries: tuple[QueuedEdit, ...] = ()


class QueueResult(Result):
    """The queue as it is now, and a sentence about what was done."""

    kind: Literal["queue"] = "queue"
    queue: QueueState
    done: str


def run(model: LoadedModel, request: QueueRequest, progress: Progress) -> QueueResult:
    """Change the queue. Raises `InputError` for an edit that is not there and a file that cannot be used.

    `NotConfirmed` for a patch that would take another's place.
    """
    progress(0, 1, stage="edit queue")
    done = _do(model, request)
    told = advice(model.info.fingerprint, len(model.edits.active))
    return QueueResult(done=done, queue=model.edits.state, checks=(told,) if told else ())


def _do(model: LoadedModel, request: QueueRequest) -> str:
    queue = model.edits
    match request.action:
        case "on" | "off":
            queue.switch(_edit(request), request.action == "on")
            return f"{_titled(model, request)} is {request.action}"
        case "move":
            queue.move(_edit(request), request.by)
            return f"{_titled(model, request)} was moved"
        case "remove":
            said = f"{_titled(model, request)} was removed; undo brings it back"
            queue.remove(_edit(request))
            return said
        case "undo":
            queue.undo()
            return "the last change of the queue is undone"
        case "redo":
            queue.redo()
            return "the change of the queue is made again"
        case "bypass":
            queue.bypass(True)
            return "all edits are off for a comparison"
        case "compare":
            queue.bypass(False)
            return "the edits are as their switches say"
        case "save":
            return _save(model, patch_path(_text(request)), request.confirmed)
        case "save-model":
            return _save_model(model, _path(request))
        case "save-control-vector":
            return _save_control_vector(model, vector_path(_text(request)), request.confirmed)
        case "apply":
            return _apply(model, _path(request))
        case "restore":
            kept = [(kept_edit(model, entry.info.id), entry.on) for entry in request.entries]
            queue.restore(kept)
            return f"restored: {_count(len(kept))}"
        case "show":
            return ""


def _edit(request: QueueRequest) -> str:
    if request.edit is None:
        raise InputError("name the edit that is meant by its id")
    return request.edit


def _titled(model: LoadedModel, request: QueueRequest) -> str:
    return model.edits.get(_edit(request)).info.title


def _path(request: QueueRequest) -> Path:
    return written_path(_text(request))


def _text(request: QueueRequest) -> str:
    if not (request.path or "").strip():
        raise InputError("name a file, or for a whole model a folder")
    return request.path or ""


def _save(model: LoadedModel, path: Path, confirmed: bool) -> str:
    active = [model.edits.get(edit) for edit in model.edits.active]
    check_place(path)
    replaced = ", in place of the one there" if path.exists() else _made(path.parent)
    if active and not confirmed:
        check_free(path)
    save_patch(path, model.info.fingerprint, active)
    return f"a patch of {_count(len(active))} was saved to {path}{replaced}"


def _save_control_vector(model: LoadedModel, path: Path, confirmed: bool) -> str:
    active = [model.edits.get(edit) for edit in model.edits.active]
    replaced = ", in place of the one there" if path.exists() else _made(path.parent)
    save_control_vector(path, model, active, confirmed)
    return f"a control vector of {_count(len(active))} was saved to {path}{replaced}"


def _save_model(model: LoadedModel, folder: Path) -> str:
    made = _made(folder.parent)
    save_model(folder, model)
    return f"the whole model with {_count(len(model.edits.active))} was saved into {folder}{made}"


def _made(parent: Path) -> str:
    """What is said of a folder that saving will make."""
    return "" if parent.exists() else f"; the folder {parent} was made for it"


def _apply(model: LoadedModel, path: Path) -> str:
    edits = load_patch(path, model)
    for edit in edits:
        model.edits.add(edit)
        keep_edit(model.info.fingerprint, edit)
    return f"{_count(len(edits))} of {path} applied"


def _count(number: int) -> str:
    return f"{number} edit{'s' * (number != 1)}"
