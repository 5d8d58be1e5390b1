"""The status line: which model, what is being done, how far it is, and where the session is kept."""

from __future__ import annotations

from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.geometry import Region
from textual.reactive import reactive
from textual.widget import Widget

from workbench.events import Progressed
from workbench.models.info import ModelInfo

BAR = 12

LEAST = 12
"""Cells of a model's name, or of a job's stage, that stay however little room there is."""


class StatusLine(Widget):
    """One row. Without a job it says what is loaded; with one, the stage, a bar and the time left.

    ``beside`` says how far a sweep is that workers answer meanwhile.
    """

    DEFAULT_CSS = """
    StatusLine { height: 1; background: $panel; color: $text-muted; padding: 0 1; }
    """

    model: reactive[ModelInfo | None] = reactive[ModelInfo | None](None)
    progress: reactive[Progressed | None] = reactive[Progressed | None](None, repaint=False)
    message: reactive[str] = reactive("")
    session: reactive[Path | None] = reactive[Path | None](None)
    waiting: reactive[int] = reactive(0)
    beside: reactive[str] = reactive("")
    zoomed: reactive[bool] = reactive(False)
    way_on: reactive[str] = reactive("")

    def watch_progress(self) -> None:
        """Draw the line up to where it looks different: it is drawn four times a second over whatever link."""
        before, after = self._drawn, self._text().plain
        changed = [place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other]
        is_moved = len(before) != len(after)
        end = self.size.width if is_moved else cell_len(after[: changed[-1] + 1]) if changed else 0
        self.refresh(Region(0, 0, min(self.size.width, end + 1), 1))

    _drawn = ""

    def render(self) -> Text:
        """The line."""
        text = self._text()
        self._drawn = text.plain
        return text

    def _text(self) -> Text:
        """The job first, as it is what changes, and without one what to do next; then the model; the session file.

        Where that is too long, device and type, which trust strips say too, give way to the next step; then the
        model's name does before anything else.
        """
        room = self.content_size.width
        line = self._line(name := self.model.name if self.model else "")
        brief = self._next.cell_len > 0 and line.cell_len > room
        if brief:
            line = self._line(name, brief)
        if self.model is not None and (over := line.cell_len - room) > 0:
            line = self._line(short_name(name, cell_len(name) - over), brief)
        line.truncate(max(1, room), overflow="ellipsis")
        return line

    @property
    def _next(self) -> Text:
        """The next step, where nothing more urgent is said."""
        if not self.way_on or self.zoomed or self.progress:
            return Text()
        return Text.assemble(("next: ", "bold"), self.way_on)

    def _line(self, model: str, brief: bool = False) -> Text:
        parts = [Text(part) for part in self._model_parts(model)[: 1 if brief else None]]
        if self.session is not None:
            parts.append(Text(f"session {self.session.name}"))
        if self._next:
            parts.insert(0, self._next)
        room = self.content_size.width
        head = describe_job(self.progress, self.waiting, room) if self.progress else Text(self.message)
        if head.plain:
            parts.insert(0, head)
        if self.beside:
            parts.insert(1 if head.plain else 0, Text(self.beside))
        if self.zoomed:
            parts.insert(0, Text("this pane alone; esc shows all"))
        return Text(" · ", no_wrap=True, overflow="ellipsis").join(parts)

    def _model_parts(self, name: str) -> list[str]:
        if self.model is None:
            return ["no model yet"]
        return [name, self.model.device, self.model.dtype]


def short_name(name: str, room: int) -> str:
    """A model's name in ``room`` cells, not fewer than `LEAST`: a path's last part, or that cut in its middle."""
    room = max(room, LEAST)
    if cell_len(name) <= room:
        return name
    last = Path(name).name
    if cell_len(last) + 2 <= room:
        return f"…/{last}"
    if cell_len(last) <= room:
        return last
    head = set_cell_size(last, room // 2 - 1).rstrip()
    tail = last[::-1]
    return f"{head}…{set_cell_size(tail, room - cell_len(head) - 1).rstrip()[::-1]}"


def describe_job(progress: Progressed, waiting: int, room: int) -> Text:
    """A running job in words and as a bar that reads without colour.

    Where that and the sign that more follows are longer than ``room``, the stage gives way: what is left to do and how
    it is stopped are worth more.
    """
    said = ""  # in one piece, as each costs a dozen bytes
    if progress.total > 1:
        filled = round(BAR * min(progress.done / progress.total, 1.0))
        amount = f"{progress.done}/{progress.total}"
        if progress.total > 1_000_000:  # bytes
            amount = f"{progress.done / 1e6:.0f}/{progress.total / 1e6:.0f} MB"
        said += f" {'█' * filled}{'░' * (BAR - filled)} {amount}"
    if progress.remaining is not None and progress.remaining >= 1:
        said += f" · {time_left(progress.remaining)} left"
    if waiting:
        said += f" · {waiting} waiting"
    stop = " · esc cancels"
    text = Text(progress.stage or progress.request.kind, style="bold")
    text.truncate(max(LEAST, room - 1 - cell_len(said + stop)), overflow="ellipsis")
    return text.append(said, style="not bold").append(stop, style="not bold dim")


def time_left(seconds: float) -> str:
    """Seconds in the units that a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
