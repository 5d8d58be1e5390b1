"""The queue of edits as a list: rows of two lines, of which only those that change are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from screens.widgets.options import Options


class EditList(Options):
    """Shows texts and keeps the highlight; what the keys do to an edit is the pane's."""

    DEFAULT_CSS = """
    EditList {
        height: 1fr; min-height: 2; border: none; padding: 0; background: $surface; scrollbar-size: 1 1;
        &:focus { border: none; background-tint: $foreground 0%; }
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-highlighted { background: $primary 22%; color: $foreground; text-style: none; }
        &:focus > .option-list--option-highlighted {
            background: $primary 45%; color: $foreground; text-style: none;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", tooltip="The next edit", show=False, id="edit_list.down"),
        Binding("k", "cursor_up", "Up", tooltip="The edit before", show=False, id="edit_list.up"),
        Binding("enter", "select", "Detail", tooltip="What it did to every fact", id="edit_list.detail"),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._rows: list[tuple[str | None, Content]] = []

    def show(self, rows: Sequence[tuple[str | None, Content]], place: int) -> None:
        """Draw these rows, each with the id of its edit if it has one, and highlight the one at a place."""
        if [id_ for id_, _ in rows] == [id_ for id_, _ in self._rows]:
            for index, (new, old) in enumerate(zip(rows, self._rows, strict=True)):
                if new != old:
                    self.replace_option_prompt_at_index(index, new[1])
        else:
            self.clear_options()
            self.add_options(Option(text, id=id_) for id_, text in rows)
        self._rows = list(rows)
        if rows and self.highlighted != place:
            self.highlighted = place
