"""A reasoning on the screen: its sentences beside the answers, or its tokens while they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import clamp
from textual.widgets import OptionList, Static

from screens.panes.cot import views
from screens.panes.cot.ledger import CotJob, CotRun
from screens.panes.cot.views import OutcomeRow
from screens.panes.edits.list import EditList
from screens.widgets.token_strip import StripToken, TokenStrip

SIDE_BY_SIDE = 48
"""So many cells have room for sentences and the answers beside them."""


class CotList(EditList):
    """Rows of sentences and of what was done to them; what the keys do to one is the pane's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", tooltip="The next sentence", show=False, id="cot_list.down"),
        Binding("k", "cursor_up", "Up", tooltip="The sentence before", show=False, id="cot_list.up"),
        Binding("enter", "select", "Detail", tooltip="What was done, written and answered", id="cot_list.detail"),
    ]


class ReasoningView(Horizontal):
    """Shows a `CotRun` as `OutcomeRow`s, of which one is highlighted, and the answers at that one."""

    DEFAULT_CSS = """
    ReasoningView {
        height: 1fr; min-height: 2;
        & #sentences { width: 1fr; }
        & #writing { display: none; height: auto; max-height: 100%; padding: 0 1; scrollbar-size: 1 1; }
        & #answers { height: 100%; padding: 0 1; border-left: vkey $foreground 20%; display: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[OutcomeRow] = []
        self._run: CotRun | None = None
        self._jobs: Sequence[CotJob] = ()

    def compose(self) -> ComposeResult:
        """Tokens or rows, and the answers."""
        with Vertical(id="sentences"):
            with VerticalScroll(id="writing", can_focus=False):
                yield TokenStrip()
            yield CotList()
        yield Static(id="answers")

    @property
    def row(self) -> OutcomeRow | None:
        """The row that is highlighted."""
        place = self._list.highlighted
        return self.rows[place] if place is not None and place < len(self.rows) else None

    def show(self, run: CotRun | None, jobs: Sequence[CotJob] = (), wanted: str = "") -> None:
        """Draw a reasoning and what is done to it, with the row ``wanted`` highlighted, or the same as before.

        Another reasoning begins at its end, where the answer is the model's own.
        """
        if not wanted and self.row is not None and run is self._run:
            wanted = self.row.id
        self._run, self._jobs = run, jobs
        self._show_tokens()
        self.rows = list(views.rows(run, jobs)) if run is not None and run.result.sentences else []
        answers = self.query_one("#answers", Static)
        beside = self._answers_width
        answers.display, answers.styles.width = bool(self.rows) and beside > 0, beside
        ids = [row.id for row in self.rows]
        if run is not None:
            contents = views.contents(self.rows, run, self.size.width - beside - 3)
            place = ids.index(wanted) if wanted in ids else len(run.result.sentences)
            self._list.show(list(zip(ids, contents, strict=True)), place)
        else:
            self._list.show([], 0)
        self._show_answers()

    def step(self, rows: int) -> None:
        """Highlight another row."""
        if self._list.highlighted is not None:
            self._list.highlighted = clamp(self._list.highlighted + rows, 0, len(self.rows) - 1)

    def focus_list(self) -> None:
        """Put the keyboard into the rows."""
        self._list.focus()

    def on_resize(self) -> None:
        """Sentences are wrapped otherwise, and there is room for more answers or for fewer."""
        self.show(self._run, self._jobs)

    @on(OptionList.OptionHighlighted)
    def _show_answers(self) -> None:
        if self.row is not None and self._answers_width:
            content = views.answers(self.row, self._answers_width - 3, max(3, self.size.height))
            self.query_one("#answers", Static).update(content)

    def _show_tokens(self) -> None:
        writing, run = self.query_one("#writing"), self._run
        writing.display = run is not None and not run.result.sentences
        if run is not None and writing.display:
            tokens = [StripToken(token.text, "generated", token.probability) for token in run.result.tokens]
            self.query_one(TokenStrip).show(tokens)
            self.call_after_refresh(writing.scroll_end, animate=False)

    @property
    def _list(self) -> CotList:
        return self.query_one(CotList)

    @property
    def _answers_width(self) -> int:
        """Cells for them; none where the sentences would be left too few. Enter shows them then."""
        return clamp(self.size.width * 3 // 10, 22, 40) if self.size.width >= SIDE_BY_SIDE else 0
