"""The pane of patching between two prompts: the grids, and cells that are marked in the source and pasted anywhere."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from screens.keys import Key
from screens.messages import Ask
from screens.panes.figure_pane import FigurePane
from workbench.methods.patching import PASTE, PATCH
from workbench.methods.patching.figures import kind_of
from workbench.methods.patching.pasting import PasteRequest, PasteResult
from workbench.methods.patching.patching import PatchRequest, PatchResult
from workbench.methods.tracing.grid import TraceKind
from workbench.protocol import Request, Result
from workbench.session import Step

Marked = tuple[TraceKind, int, int]
"""A cell of the source's run: what it is, its layer and its token."""


class PatchPane(FigurePane):
    """Shows the grids of the last patching, and over them the answer with what was pasted.

    A cell of the grid stands for a place of the prompt and for its partner in the source: marked is the source's cell,
    pasted into is the prompt's place. Cells that are pasted one after the other are together in one run.
    """

    METHOD = PATCH
    accepts: ClassVar[tuple[type[Request], ...]] = (PatchRequest, PasteRequest)

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.MARK, "mark", "Mark", tooltip="Mark this cell of the source's run", id="patching.mark"),
        Binding(Key.PASTE, "paste", "Paste", tooltip="Put the marked cell into this place", id="patching.paste"),
        Binding(Key.UNDO, "undo", "Undo", tooltip="Take the last pasted cell out again", id="patching.undo"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._marked: Marked | None = None
        self._pasted: tuple[PasteRequest, PasteResult] | None = None
        self._asked: tuple[str, ...] = ()  # cells of the last paste that was asked
        self._open = 0  # pastes that were asked and not answered yet

    # What happened

    @property
    def empty(self) -> bool:
        """Whether nothing was patched or pasted yet."""
        return self._shown is None and self._pasted is None

    def clear(self) -> None:
        """Begin empty again."""
        self._marked, self._pasted, self._asked = None, None, ()
        super().clear()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep it; what was pasted between other prompts goes with another grid, and the other way round."""
        if isinstance(request, PasteRequest) and isinstance(result, PasteResult):
            self._pasted = request, result
            self.drawn_case, self.drawn_edits = request.case, edits
            if self._shown is not None and not _of_the_same(self._shown[0], request):
                self._shown = None
        else:
            super().take(request, result, edits)
            if self._pasted is not None and not _of_the_same(request, self._pasted[0]):
                self._marked, self._pasted, self._asked = None, None, ()
        self.refresh_bindings()

    def show_step(self, step: Step) -> None:
        """Draw it; where no other paste waits, the cells are those of the last answer."""
        if isinstance(step.request, PasteRequest):
            self._open = max(0, self._open - 1)
        super().show_step(step)
        if not self._open:
            self._asked = self._pasted[0].cells if self._pasted else ()
            self.refresh_bindings()

    # Drawing

    def draw(self) -> None:
        """Draw what was pasted, and the grids."""
        pasted = PASTE.figures(self._pasted[1]) if self._pasted else ()
        grids = self.METHOD.figures(self._shown[1]) if self._shown else ()
        self._view.show((*pasted, *grids))
        self.draw_cursor()

    def legend(self) -> Content:
        """What is marked."""
        if self._marked is None or self._patched is None:
            return Content("")
        what, layer, token = self._marked
        text = self._patched.encoded_source.texts[token].strip()
        return Content(f"marked: {what} {layer} at “{text}” ({token}) of the source · @ pastes it here")

    # Keys

    def action_mark(self) -> None:
        """Mark the source's cell under the cursor."""
        if (found := self._cell()) is None:
            return
        what, layer, _, token = found
        if token is None:
            self.notify("This token has no partner in the source, so there is no cell to mark.")
            return
        self._marked = what, layer, token
        self.draw_frame()
        self.refresh_bindings()

    def action_paste(self) -> None:
        """Put the marked cell into the prompt's place under the cursor, with what was pasted before."""
        if self._marked is None or self._shown is None or (found := self._cell()) is None:
            return
        _, into_layer, into_token, _ = found
        if into_token is None:
            self.notify("This token has no partner in the prompt, so there is no place to paste into.")
            return
        what, layer, token = self._marked
        self._ask_with((*self._asked, f"{what}:{layer}:{token}>{into_layer}:{into_token}"))

    def action_undo(self) -> None:
        """Take out what was pasted last."""
        if len(self._asked) > 1:
            self._ask_with(self._asked[:-1])
        else:
            self._pasted, self._asked = None, ()
            self.draw()
            self.draw_frame()
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Cells are marked in a grid; to paste and to undo takes a model, as both are run."""
        if action == "mark":
            return self.live and self._patched is not None
        if action == "paste":
            return self.live and self._patched is not None and self._marked is not None
        return self.live and bool(self._asked) if action == "undo" else super().check_action(action, parameters)

    def _ask_with(self, cells: tuple[str, ...]) -> None:
        request = self._shown[0] if self._shown else self._pasted[0] if self._pasted else None
        if not isinstance(request, PatchRequest | PasteRequest):
            return
        if self.of_another_case:
            self.notify(f"The prompt has changed; press {self.ASK_KEY} to ask about it.")
            return
        self._asked, self._open = cells, self._open + 1
        self.post_message(Ask(PasteRequest(case=request.case, source=request.source, cells=cells)))
        self.refresh_bindings()

    def _cell(self) -> tuple[TraceKind, int, int | None, int | None] | None:
        """What is under the cursor: kind, layer, the prompt's token and the source's; None outside a grid."""
        result, here = self._patched, self._view.here
        what = None if here is None or result is None else kind_of(here[0])
        if result is None or here is None or what is None:
            self.notify("Put the cursor into a grid of layers and tokens first.")
            return None
        (token, layer), partners = here[1], result.partners
        other = partners.get(token)
        return (what, layer, token, other) if result.direction == "denoising" else (what, layer, other, token)

    @property
    def _patched(self) -> PatchResult | None:
        result = self._shown[1] if self._shown else None
        return result if isinstance(result, PatchResult) else None


def _of_the_same(one: Request, other: Request) -> bool:
    """Whether two requests are about the same two prompts."""
    both = [(getattr(each, "case", None), getattr(each, "source", None)) for each in (one, other)]
    return both[0] == both[1]
