"""What goes on from what a pane shows: a list of the methods that follow it, of which one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import getdoc
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from screens.dialog import Framed
from screens.widgets.options import Options
from workbench.protocol import Method, Request
from workbench.registry import methods


def following(request: type[Request]) -> tuple[Method, ...]:
    """The methods that follow a kind of request, in the order of the registry."""
    return tuple(method for method in methods() if method.follows is request)


class MoreScreen(Framed[Method | None]):
    """The methods by their titles and what they print. Dismissed with the one that was chosen, or None."""

    HINT = "enter opens its form  esc back"
    SHARE, WIDEST = 90, 90

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="more.back", tooltip="Ask nothing"),
    ]

    DEFAULT_CSS = """
    MoreScreen Options { height: auto; max-height: 16; padding: 0; &, &:focus { border: none; } }
    """

    def __init__(self, title: str, offered: Sequence[Method]) -> None:
        super().__init__()
        self._title, self._offered = title, offered

    def compose_inside(self) -> ComposeResult:
        """The list."""
        yield Options(*(Option(in_words(method)) for method in self._offered))

    def on_mount(self) -> None:
        """Begin with the first."""
        self.entitle(self._title)
        self.query_one(Options).focus()
        self.query_one(Options).highlighted = 0

    @on(OptionList.OptionSelected)
    def chosen(self, message: OptionList.OptionSelected) -> None:
        """This one."""
        message.stop()
        self.dismiss(self._offered[message.option_index])


def in_words(method: Method) -> Text:
    """Its title, and in a line what it prints, or what its request asks."""
    about = method.help.removeprefix("Print ") or " ".join((getdoc(method.request) or "").partition("\n\n")[0].split())
    return Text.assemble((method.title, "bold"), (f"\n{about.rstrip('.')}", "not bold dim"))
