"""Choosing a model: those that are here or known, or a directory, a GGUF file or a hub id."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from screens.dialog import Framed
from screens.widgets.options import Options
from workbench.models.store.catalog import list_models


class ModelsScreen(Framed[str | None]):
    """Dismissed with what ``--model`` would take, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="models.back", tooltip="Keep the model that is loaded"),
    ]

    HINT = ""
    SHARE, WIDEST = 90, 100

    DEFAULT_CSS = """
    ModelsScreen > #frame { max-height: 80%; }
    ModelsScreen OptionList { height: auto; max-height: 14; border: none; }
    """

    def __init__(self, loaded: str | None) -> None:
        super().__init__()
        self._loaded = loaded
        self._names: list[str] = []

    def compose_inside(self) -> ComposeResult:
        """The list, and a field for anything else."""
        yield Label("Enter loads, escape goes back.")
        yield Options(*self._options())
        yield Input(placeholder="or a directory, a GGUF file, a Hugging Face id (owner/name)")

    def on_mount(self) -> None:
        """Begin in the list."""
        self.entitle("Load a model")
        self.query_one(OptionList).focus()

    def _options(self) -> list[Option]:
        options = []
        for model in list_models():
            mark = "●" if model.name == self._loaded else " "
            state = f"  {model.state}" + (f": {model.problem}" if model.problem else "")
            text = Text.assemble(f"{mark} ", (model.name, "bold"), (state, "dim"), no_wrap=True)
            options.append(Option(text))
            self._names.append(model.name)
        return options

    @on(OptionList.OptionSelected)
    def chosen(self, message: OptionList.OptionSelected) -> None:
        """One of the list."""
        self.dismiss(self._names[message.option_index])

    @on(Input.Submitted)
    def typed(self, message: Input.Submitted) -> None:
        """Something else."""
        if message.value.strip():
            self.dismiss(message.value.strip())
