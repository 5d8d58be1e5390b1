"""The line for a file of edits: where a patch or the whole model is saved, or which patch is applied."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from screens.widgets.closing_input import ClosingInput
from screens.widgets.form import Form
from workbench.case import Case
from workbench.errors import InputError
from workbench.models.info import ModelInfo
from workbench.paths import patch_path, written_path

PathPurpose = Literal["save", "save-model", "apply"]
PLACEHOLDERS: dict[PathPurpose, str] = {
    "save": "the name of a patch",
    "save-model": "the name of a folder",
    "apply": "the path of a patch, or of a LoRA adapter's folder",
}
LONGEST = 40
"""Letters of a subject or target in a name."""


class PathLine(Form):
    """A path, and under it what enter would do with it. Each purpose keeps what was typed for it."""

    DEFAULT_CSS = """
    PathLine #place { height: auto; max-height: 3; color: $foreground 60%; }
    """

    @dataclass
    class Submitted(Message):
        """This path is to be used so."""

        purpose: PathPurpose
        path: str

    def __init__(self) -> None:
        super().__init__()
        self._purpose: PathPurpose = "save"
        self._default = ""
        self._typed: dict[PathPurpose, str] = {}
        self._model: ModelInfo | None = None

    def fields(self) -> ComposeResult:
        """The line, and what becomes of it."""
        yield ClosingInput(id="path")
        yield Static(id="place")

    def open(self, purpose: PathPurpose, default: str, model: ModelInfo | None) -> None:
        """Show it and put the keyboard into it; ``default`` stands there where nothing else was typed."""
        self.close()
        self._purpose, self._default, self._model = purpose, default, model
        self.unfold(self._begin)

    def _begin(self) -> None:
        self._field.value = self._typed.get(self._purpose, self._default)
        self._field.placeholder = PLACEHOLDERS[self._purpose]
        self._field.focus()
        self._say_place()

    def keep(self) -> None:
        """Each purpose keeps its path; but the next edit has another default."""
        self._typed[self._purpose] = self._field.value
        if self._field.value == self._default:
            del self._typed[self._purpose]

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Use it."""
        message.stop()
        self.post_message(self.Submitted(self._purpose, message.value))

    @on(Input.Changed)
    def _say_place(self) -> None:
        self.query_one("#place", Static).update(Content(in_words(self._purpose, self._field.value, self._model)))

    @property
    def _field(self) -> ClosingInput:
        return self.query_one(ClosingInput)


def in_words(purpose: PathPurpose, typed: str, model: ModelInfo | None) -> str:
    """What enter will do with what is typed, with the whole path."""
    if not typed.strip():
        return f"{PLACEHOLDERS[purpose]}; escape closes"
    try:
        path = patch_path(typed) if purpose == "save" else written_path(typed)
    except InputError as error:
        return f"✗ {error}"
    if purpose == "apply":
        return f"enter applies {path}"
    if purpose == "save-model":
        size = f", about {_megabytes(model)} MB," if model else ""
        return f"enter writes the whole model{size} into {path}"
    there = " exists: enter asks before it is replaced" if path.exists() else ""
    return f"{path}{there}" if there else f"enter saves a patch as {path}"


def default_name(purpose: PathPurpose, case: Case | None) -> str:
    """<subject>-<target>.safetensors, of signs that are safe in any file's name; of a model, a folder."""
    if purpose == "apply":
        return ""
    words = [_safe(text) for text in (case.subject, case.target) if text] if case else []
    stem = "-".join(filter(None, words)) or "edits"
    return f"{stem}-model" if purpose == "save-model" else f"{stem}.safetensors"


def _safe(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain)[:LONGEST].strip("-")


def _megabytes(model: ModelInfo) -> int:
    return max(1, round(model.bytes / 1e6))
