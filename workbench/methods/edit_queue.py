"""What is done with edits that are made: switched, moved, removed, taken back, saved, and applied from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.edits import QueuedEdit, QueueState
from workbench.errors import InputError
from workbench.methods.base import Progress, Request, Result
from workbench.patches import keep_edit, kept_edit, load_patch, save_model, save_patch

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

Action = Literal["show", "on", "off", "remove", "move", "undo", "redo", "bypass", "compare", "save", "apply", "restore"]


class QueueRequest(Request):
    """Ask for a change of the queue.

    ``edit`` is the id of the one that is switched "on" or "off", "remove"d, or "move"d by ``by`` places. "bypass"
    takes all edits off for a comparison and "compare" ends that. "save" writes the edits that are on to ``path``: as
    a patch where that ends in .safetensors, and else the whole edited model as a folder; "apply" adds the edits of
    a patch. "restore" makes ``entries``, of an earlier session with the same model, the queue.
    """

    kind: Literal["queue"] = "queue"
    action: Action = "show"
    edit: str | None = None
    by: int = 0
    path: str | None = None
    entries: tuple[QueuedEdit, ...] = ()


class QueueResult(Result):
    """The queue as it is now, and a sentence about what was done."""

    kind: Literal["queue"] = "queue"
    queue: QueueState
    done: str


def run(model: LoadedModel, request: QueueRequest, progress: Progress) -> QueueResult:
    """Change the queue. Raises `InputError` for an edit that is not there and a file that cannot be used."""
    progress(0, 1, stage="edit queue")
    return QueueResult(done=_do(model, request), queue=model.edits.state)


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
            return _save(model, _path(request))
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
    if not (request.path or "").strip():
        raise InputError("name a file ending in .safetensors for a patch, or a folder for a whole model")
    return Path(request.path or "").expanduser()


def _save(model: LoadedModel, path: Path) -> str:
    active = [model.edits.get(edit) for edit in model.edits.active]
    if path.suffix == ".safetensors":
        replaced = ", in place of the one there" if path.exists() else ""
        save_patch(path, model.info.fingerprint, active)
        return f"a patch of {_count(len(active))} was saved to {path}{replaced}"
    save_model(path, model)
    return f"the model with {_count(len(active))} was saved to {path}"


def _apply(model: LoadedModel, path: Path) -> str:
    edits = load_patch(path, model)
    for edit in edits:
        model.edits.add(edit)
        keep_edit(model.info.fingerprint, edit)
    return f"{_count(len(edits))} of {path} applied"


def _count(number: int) -> str:
    return f"{number} edit{'s' * (number != 1)}"
