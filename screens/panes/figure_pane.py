"""The pane of every method that has nothing but figures: its last step, with all that stands around a picture.

`figure_panes` makes one of each registered method that has a key and no pane of its own, so that another method
needs no line in `screens`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.content import Content

from screens.messages import Ask, Cursor
from screens.panes.pane import Pane
from screens.panes.picture import PicturePane
from screens.widgets.figure import FigureView
from workbench.figures import Figure
from workbench.protocol import Check, Request, Result


class Pictured(Protocol):
    """What a pane needs of a `workbench.protocol.Method`."""

    @property
    def title(self) -> str:
        """What it is called on screen."""

    @property
    def request(self) -> type[Request]:
        """What is asked, with a default for all but the case."""

    @property
    def figures(self) -> Callable[[Any], tuple[Figure, ...]]:
        """What there is to draw of a result."""

    @property
    def key(self) -> str:
        """By which it is asked."""

    @property
    def opens(self) -> Callable[[Any, Any, Any, tuple[int, int]], Request | None] | None:
        """What is asked when a place of a figure is opened."""


class FigurePane(PicturePane):
    """Shows the figures of a method's last step, and follows the shared cursor where they have layers or tokens.

    It asks with the request's defaults, about the case on screen where the request takes one, and about the cursor's
    token where it has a ``position``.
    """

    METHOD: ClassVar[Pictured]

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Request, Result] | None = None

    def compose_picture(self) -> ComposeResult:
        """The figures."""
        yield FigureView(opens=self.METHOD.opens is not None)

    def focus_content(self) -> None:
        """Put the keyboard into the first figure with a cursor."""
        self._view.focus_figure()

    # Asking

    def ask(self) -> None:
        """Ask with defaults."""
        fields = self.METHOD.request.model_fields
        asked: dict[str, Any] = {}
        if "case" in fields:
            if (case := self.case_on_screen()) is None:
                return
            asked["case"] = case
        if "position" in fields and self.cursor is not None and not self.of_another_case:
            asked["position"] = self.cursor.token
        self.post_message(Ask(self.METHOD.request(**asked)))

    # What happened

    @property
    def empty(self) -> bool:
        """Whether nothing was found yet."""
        return self._shown is None

    def clear(self) -> None:
        """Begin empty again."""
        self._shown = None
        super().clear()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep it in place of the one before."""
        self._shown = request, result
        self.drawn_case, self.drawn_edits = getattr(request, "case", None), edits

    def unfinished(self, result: Result) -> str:  # noqa: ARG002 - figures mark what is not known
        """What there is."""
        return "partial: stopped before the end"

    def pictured(self) -> tuple[Request, ...]:
        """What was asked."""
        return (self._shown[0],) if self._shown else ()

    # Drawing

    @property
    def _view(self) -> FigureView:
        return self.query_one(FigureView)

    def draw(self) -> None:
        """Draw the figures."""
        if self._shown is not None:
            self._view.show(self.METHOD.figures(self._shown[1]))
            self.draw_cursor()

    def draw_cursor(self) -> None:
        """Put the cursors of figures that have layers or tokens where the shared one is."""
        if (here := self.here) is not None:
            self._view.show_index("layer", here.layer)
            self._view.show_index("token", here.token)

    def on_figure_view_moved(self, event: FigureView.Moved) -> None:
        """The person moved: tell everybody."""
        event.stop()
        here = self.here or Cursor(self.model.layers - 1 if self.model else 0, 0)
        self.move_cursor(Cursor(event.indices.get("layer", here.layer), event.indices.get("token", here.token)))

    def on_figure_view_opened(self, event: FigureView.Opened) -> None:
        """Ask what a place opens, and show the answer's pane."""
        event.stop()
        if not self.live or self._shown is None or self.METHOD.opens is None:
            return
        if self.of_another_case:
            self.notify(f"The prompt has changed; press {self.ASK_KEY} to ask about it.")
        elif (request := self.METHOD.opens(*self._shown, event.figure, event.place)) is None:
            self.notify("There is no more about this place.")
        else:
            self.post_message(Ask(request, show=True))

    def say_instead(self, sentence: str) -> None:
        """Say something where the figures will be."""
        self._view.show_placeholder(sentence or f"Nothing yet.\nPress {self.ASK_KEY} for: {self.TITLE}.")

    def headline(self) -> str:
        """The method."""
        return self.TITLE

    def legend(self) -> Content:
        """Scales stand under the figures."""
        return Content("")

    def checks(self) -> tuple[Check, ...]:
        """The method's own."""
        return self._shown[1].checks if self._shown else ()


def figure_pane(method: Pictured) -> type[FigurePane]:
    """The class of the pane of a method."""
    name = "".join(word.capitalize() for word in method.title.split())
    made_of = {
        "METHOD": method,
        "TITLE": method.title,
        "ASK_KEY": method.key or "",
        "ABOUT_PROMPT": "case" in method.request.model_fields,
        "accepts": (method.request,),
        "__module__": __name__,
        "__doc__": f"Figures of: {method.title}.",
    }
    return cast("type[FigurePane]", type(f"{name}FigurePane", (FigurePane,), made_of))


def figure_panes(methods: Iterable[Pictured], own: Iterable[type[Pane]]) -> tuple[type[Pane], ...]:
    """A pane for each method that has a key and is not accepted by a pane of its own."""
    accepted = {request for pane in own for request in pane.accepts}
    return tuple(figure_pane(method) for method in methods if method.key and method.request not in accepted)
