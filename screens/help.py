"""All keys that work where the keyboard is, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual.app import App
from textual.binding import ActiveBinding, Binding, BindingType
from textual.content import Content
from textual.screen import Screen

from screens.dialog import FramedText
from screens.keys import Key
from screens.words import DIM


@dataclass(frozen=True)
class Explained:
    """What some keys do, ``here`` or from everywhere."""

    keys: str
    does: str
    here: bool


class HelpScreen(FramedText):
    """The keys of the pane first, then those that work everywhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(f"escape,enter,{Key.HELP}", "close", "Close", id="help.close", tooltip="Back to the pane"),
    ]

    def __init__(self, place: str, explained: Iterable[Explained]) -> None:
        super().__init__()
        self._place, self._explained = place, tuple(explained)

    def text(self, width: int) -> tuple[str, Content]:
        """The title, and a line for each."""
        column = min(14, max((cell_len(each.keys) for each in self._explained), default=0))
        sections = []
        for name, here in ((f"In {self._place}", True), ("Everywhere", False)):
            lines = [line for each in self._explained if each.here is here for line in _lines(each, column, width)]
            if lines:
                sections.append(Content("\n").join([Content.styled(name, DIM), *lines]))
        return "Keys", Content("\n\n").join(sections)


def _lines(each: Explained, column: int, width: int) -> list[Content]:
    first, *others = Content(each.does).wrap(max(8, width - column - 2))
    blank = " " * max(0, column - cell_len(each.keys))
    return [
        Content.assemble((each.keys, "bold"), blank, "  ", first),
        *(Content.assemble(" " * (column + 2), line) for line in others),
    ]


def explained(app: App[None], screen: Screen[object]) -> list[Explained]:
    """The bindings that are active on a screen, those of one action together; what a footer may show comes first."""
    by_action: dict[tuple[object, str], list[ActiveBinding]] = {}
    for active in screen.active_bindings.values():
        if active.binding.description and active.enabled:
            by_action.setdefault((active.node, active.binding.action), []).append(active)
    found = []
    for (node, _), group in sorted(by_action.items(), key=lambda each: not each[1][0].binding.show):
        keys = " ".join(dict.fromkeys(app.get_key_display(active.binding) for active in group))
        first = group[0]
        does = first.binding.description + (f": {first.tooltip}" if first.tooltip else "")
        found.append(Explained(keys, does, node not in (app, screen)))
    return found
