"""The prompt pane in a line or two, while the keyboard is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

from screens.widgets.trust_strip import SEPARATOR, arranged
from workbench.case import Case, Prepend

PREPENDED: dict[Prepend, str] = {
    "as-is": "nothing",
    "separator": "BOS or separator",
    "newline": "newline",
}


class FoldedCase(Widget, can_focus=True):
    """A case in one line, and its prompt in another where that is not drawn as tokens. Focus unfolds the pane."""

    DEFAULT_CSS = """
    FoldedCase { height: auto; padding: 0 1; color: $foreground; }
    """

    class Wanted(Message):
        """The pane is to be unfolded."""

    def __init__(self) -> None:
        super().__init__()
        self._case = Case(prompt="")
        self._notes: tuple[str, ...] = ()
        self._as_tokens = False

    def show(self, case: Case, as_tokens: bool, notes: Sequence[str] = ()) -> None:
        """Show another case; ``as_tokens`` where its prompt stands above already, as tokens."""
        if (case, as_tokens, tuple(notes)) == (self._case, self._as_tokens, self._notes):
            return
        before = self.get_content_height(self.size, self.size, self.size.width)
        self._case, self._as_tokens, self._notes = case, as_tokens, tuple(notes)
        self.refresh(layout=self.get_content_height(self.size, self.size, self.size.width) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many lines as there are."""
        return len(self._lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self._lines(self.size.width))

    def _lines(self, width: int) -> list[Content]:
        prompt = [] if self._as_tokens else [prompt_line(self._case.prompt, width)]
        return prompt + case_lines(self._case, self._notes, width)

    def on_focus(self) -> None:
        """The keyboard has come here by tab, or a letter."""
        self.post_message(self.Wanted())

    def on_click(self, event: events.Click) -> None:
        """Or the mouse."""
        event.stop()
        self.post_message(self.Wanted())


def prompt_line(prompt: str, width: int) -> Content:
    """A prompt in one line of ``width`` cells: of a long one its end, which is what the model goes on from."""
    if not prompt.strip():
        return Content.styled("No prompt yet; p writes one", "$foreground 60%")
    line = prompt.replace("\n", "⏎")
    if cell_len(line) > width > 1:
        line = "…" + set_cell_size(line[::-1], width - 1)[::-1]
    return Content(line)


def case_lines(case: Case, notes: Sequence[str], width: int) -> list[Content]:
    """What is asked of a prompt and what is prepended to it; notes about it as far as that leaves room."""
    wanted = [_named(name, value) for name, value in (("target", case.target), ("foil", case.foil)) if value]
    facts = [_named("subject", case.subject)] if case.subject else []
    if wanted:
        facts.append(Content(" / ").join(wanted))
    facts.append(_named("prepended", PREPENDED[case.prepend]))
    if case.chat:
        facts.append(_named("chat", "on"))
    lines = arranged(tuple(facts), width)
    for said in (" · ".join(notes), f"{len(notes)} note{'s' * (len(notes) != 1)}" if notes else ""):
        noted = Content.assemble(lines[-1], SEPARATOR, Content.styled(said, "$foreground 60%"))
        if said and noted.cell_length <= width:
            return [*lines[:-1], noted]
    return lines


def _named(name: str, value: str) -> Content:
    return Content.assemble((f"{name} ", "$foreground 60%"), value.strip())
