"""One edit in full: what it made of the prompt and of every fact of its suite, and which edit broke a fact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from screens.dialog import Framed
from screens.panes.edits.ledger import MadeEdit, Measured
from screens.panes.edits.views import FactRow, fact_content, fact_rows, summary
from screens.widgets.options import Options


@dataclass(frozen=True)
class EditInFull:
    """What the screen shows. ``said`` is what a bisection found, or what else there is to say."""

    title: str
    made: MadeEdit | None
    measured: Measured | None
    said: str = ""


class EditDetail(Framed[None]):
    """Shows an `EditInFull`; ``bisect`` is called with the fact for which the edit that broke it is wanted.

    A modal's messages do not reach the screen beneath, hence a function in place of a message.
    """

    HINT = "j k facts · f finds the edit that broke one · escape closes"

    DEFAULT_CSS = """
    EditDetail {
        & > #frame { height: 95%; }
        & Static { max-height: 8; }
        & #said { color: $text-warning; max-height: 4; }
        & OptionList { height: 1fr; border: none; padding: 0; background: $surface; scrollbar-size: 1 1; }
        & OptionList:focus { border: none; background-tint: $foreground 0%; }
        & OptionList:focus > .option-list--option-highlighted {
            background: $primary 35%; color: $foreground; text-style: none;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", priority=True, tooltip="Back", id="edit_detail.close"),
        Binding("j", "move(1)", "Down", show=False, tooltip="The next fact", id="edit_detail.down"),
        Binding("k", "move(-1)", "Up", show=False, tooltip="The fact before", id="edit_detail.up"),
        Binding("f", "bisect", "Find", tooltip="Find the edit that broke this fact", id="edit_detail.bisect"),
    ]

    def __init__(self, detail: EditInFull, bisect: Callable[[FactRow], None]) -> None:
        super().__init__()
        self._detail = detail
        self._bisect = bisect
        self._rows: list[FactRow] = []

    def compose_inside(self) -> ComposeResult:
        """Summary, what was said last, the facts."""
        yield Static(id="summary")
        yield Static(id="said")
        yield Options()

    def on_mount(self) -> None:
        """Show what it was opened with."""
        self.show(self._detail)
        self.query_one(OptionList).focus()

    def on_resize(self) -> None:
        """More scores may fit."""
        self._show_summary()

    def show(self, detail: EditInFull) -> None:
        """Show another state of the same edit."""
        self._detail = detail
        self._show_summary()
        rows = fact_rows(detail.measured.suite) if detail.measured else []
        if rows != self._rows:
            facts = self.query_one(OptionList)
            place = facts.highlighted
            facts.clear_options()
            facts.add_options(Option(fact_content(row)) for row in rows)
            self._rows = rows
            facts.highlighted = min(place or 0, len(rows) - 1) if rows else None

    def action_move(self, by: int) -> None:
        """To another fact."""
        facts = self.query_one(OptionList)
        if by > 0:
            facts.action_cursor_down()
        else:
            facts.action_cursor_up()

    def action_bisect(self) -> None:
        """Ask which edit broke the fact."""
        place = self.query_one(OptionList).highlighted
        if place is not None:
            self._bisect(self._rows[place])

    @on(OptionList.OptionSelected)
    def selected(self) -> None:
        """Enter closes here too."""
        self.dismiss()

    def _show_summary(self) -> None:
        detail = self._detail
        self.entitle(detail.title)
        lines = summary(detail.made, detail.measured, self.text_width)
        if detail.measured is None:
            lines.append(Content("No suite was run with it yet; c runs one."))
        self.query_one("#summary", Static).update(Content("\n").join(lines))
        self.query_one("#said", Static).update(Content(detail.said))
        self.query_one("#said").display = bool(detail.said)
