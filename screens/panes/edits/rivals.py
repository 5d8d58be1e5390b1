"""Editors compared on one case: a line for each, of which one can be put into the queue."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from screens.widgets.options import Options
from workbench.case import Prepend
from workbench.editing.compare import CompareResult, Rival
from workbench.editing.standings import BEST, WORST, StandingColumn, compared
from workbench.figures import Meaning

NAME = 12
"""Cells of an editor's name, which is what it is called on the command line."""

STYLES: dict[Meaning, str] = {"good": "bold $text-success", "bad": "$text-error", "muted": "$foreground 60%"}


class Rivals(Options):
    """One line for each editor; enter is the pane's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", tooltip="The next editor", show=False, id="rivals.down"),
        Binding("k", "cursor_up", "Up", tooltip="The editor before", show=False, id="rivals.up"),
        Binding("enter", "select", "Into the queue", tooltip="Put this editor's edit into the queue", id="rivals.take"),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False)


class RivalTable(Vertical):
    """Headings, the unedited model, and the editors under them. Shown while a comparison is looked at."""

    DEFAULT_CSS = """
    RivalTable {
        height: 1fr; display: none;
        &.-open { display: block; }
        & Static { height: auto; padding: 0 1; }
        & Rivals {
            height: 1fr; min-height: 2; border: none; padding: 0; background: $surface; scrollbar-size: 1 1;
            &:focus { border: none; background-tint: $foreground 0%; }
            & > .option-list--option { padding: 0 1; }
            & > .option-list--option-highlighted { background: $primary 22%; color: $foreground; text-style: none; }
            &:focus > .option-list--option-highlighted {
                background: $primary 45%; color: $foreground; text-style: none;
            }
        }
    }
    """

    def compose(self) -> ComposeResult:
        """The head, which is not chosen from, and the rows."""
        yield Static(id="rivals-head", markup=False)
        yield Rivals()

    def show(self, result: CompareResult, prepend: Prepend, width: int) -> None:
        """Draw a comparison, of the scores with one thing prepended."""
        head, *rows = lines(result, prepend, width)
        self.query_one(Static).update(head)
        rivals = self.query_one(Rivals)
        place = rivals.highlighted or 0
        rivals.clear_options()
        rivals.add_options(map(Option, rows))
        rivals.highlighted = min(place, len(rows) - 1) if rows else None


def lines(result: CompareResult, prepend: Prepend, width: int) -> list[Content]:
    """The headings over the unedited model as one text of two lines; a line for each editor."""
    prepends = dict.fromkeys(each for rival in result.rivals for each in rival.prepends)
    there = prepend if prepend in prepends else next(iter(prepends), prepend)
    columns = list(compared(result.rivals, there, intervals=False))
    while columns and NAME + sum(_wide(column) + 1 for column in columns) > width:
        least = max(columns, key=lambda column: column.spare)
        if not least.spare:
            break
        columns.remove(least)
    head = " " * NAME + "".join(f" {_right(column.short, _wide(column))}" for column in columns)
    unedited = set_cell_size("unedited", NAME)
    for column in columns:
        unedited += " " + _right(column.unedited.text, _wide(column))
    found = [Content.assemble((head + "\n", "bold"), (unedited, "$foreground 60%"))]
    return found + [_row(rival, place, columns, width) for place, rival in enumerate(result.rivals)]


def _row(rival: Rival, place: int, columns: list[StandingColumn], width: int) -> Content:
    name = set_cell_size(rival.editor, NAME)
    if rival.edit is None:
        why = f" could not: {rival.why}"
        return Content.assemble(name, (why[: max(0, width - NAME)], "$text-error"))
    parts: list[str | tuple[str, str]] = [(name, "bold" if rival.sound else "$text-warning")]
    for column in columns:
        cell = column.cells[place]
        parts += [" ", (_right(cell.text, _wide(column)), STYLES.get(cell.meaning, ""))]
    return Content.assemble(*parts, ("" if rival.sound else " !", "$text-warning"))


def _wide(column: StandingColumn) -> int:
    """Cells of a column. Numbers stand under each other, as what has no sign has a blank in its place."""
    texts = (_aligned(cell.text) for cell in (column.unedited, *column.cells))
    return max(cell_len(text) for text in (column.short + " ", *texts))


def _right(text: str, wide: int) -> str:
    return " " * (wide - cell_len(_aligned(text))) + _aligned(text)


def _aligned(text: str) -> str:
    return text if text[-1:] in (BEST, WORST) else text + " "
