"""The pane of every method that has nothing but figures: its last step, with all that stands around a picture.

`figure_panes` makes one of each registered method that has a key and no pane of its own, so that another method
needs no line in `screens`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol, cast

from pydantic.fields import FieldInfo
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.compose import compose
from textual.content import Content

from screens import signs
from screens.answers import Edits
from screens.keys import Key
from screens.messages import Ask, Cursor
from screens.panes.pane import Pane
from screens.panes.picture import PicturePane
from screens.widgets.closing_input import ClosingInput
from screens.widgets.figure import FigureView
from screens.widgets.request_form import RequestForm
from workbench.case import Case
from workbench.errors import InputError
from workbench.figures import Figure
from workbench.protocol import Check, Request, Result
from workbench.settings import filled, settings_of, typed_value


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

    @property
    def follows(self) -> type[Request] | None:
        """The kind of request that it goes on from, in whose pane it is asked."""


class FigurePane(PicturePane):
    """Shows the figures of a method's last step, and follows the shared cursor where they have layers or tokens.

    It asks with what was typed into the form of the request's settings, and with its defaults, about the case on
    screen where the request takes one, and about the cursor's token where it has a ``position``. The form opens by
    itself where something must be typed first. A pane that has another way to choose settings ``HAS_FORM`` not. Of a
    method that follows others its form is opened from their panes.
    """

    METHOD: ClassVar[Pictured]
    HAS_FORM: ClassVar[bool] = True
    SIGNS = signs.FIGURES

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.NEW, "new", "Settings", tooltip="The form of its settings", show=False, id="figures.new"),
    ]

    def __init_subclass__(cls) -> None:
        """What a pane is called, its key, and what it accepts unless it says so itself, are the method's."""
        super().__init_subclass__()
        if "METHOD" in vars(cls):
            cls.TITLE, cls.ASK_KEY = cls.METHOD.title, cls.METHOD.key
            cls.ASK_BY = vars(cls).get("ASK_BY", cls.METHOD.key or Key.NEW)
            cls.ABOUT_PROMPT = "case" in cls.METHOD.request.model_fields
            cls.accepts = vars(cls).get("accepts", (cls.METHOD.request,))

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Request, Result] | None = None
        self._begun: tuple[Case | None, Edits, dict[str, Any]] | None = None  # by what, and what nobody types

    def compose(self) -> ComposeResult:
        """Nothing at first: there are many of these panes, and the app opens sooner without what is in them."""
        yield from ()

    def compose_picture(self) -> ComposeResult:
        """The form and the figures."""
        if self.HAS_FORM and settings_of(self.METHOD.request):
            yield RequestForm(self.METHOD.request)
        yield FigureView(opens=self.METHOD.opens is not None)

    def _furnish(self) -> None:
        """Mount what is in it, once somebody looks at it or there is something to be seen."""
        if not self.children:
            self.mount_all(compose(self, super().compose()))
            self._begin_empty()

    def on_resize(self) -> None:
        """It is seen."""
        self._furnish()

    def focus_content(self) -> None:
        """Put the keyboard into the first figure with a cursor."""
        self._view.focus_figure()

    # Asking

    def ask(self) -> None:
        """Ask with what was typed; or open the form, where something is missing or was typed for another prompt."""
        if self._form is None:
            self._ask({})
        elif (case := self._case()) is not None or "case" not in self._fields:
            if self._form.is_ready(case):
                self._form.submit()
            else:
                self._form.open(case)

    def begin(self, begun: Mapping[str, Any]) -> None:
        """Open the form with what goes on from another pane; what nobody types is kept for this prompt and edits."""
        settings = {setting.name for setting in settings_of(self.METHOD.request)}
        others = {name: value for name, value in begun.items() if name not in settings}
        case = self.case_on_screen()
        self._begun = case, self.edits, others
        if self._form is not None:
            self._form.open(case, {name: typed_value(begun[name]) for name in begun if name in settings})

    def action_new(self) -> None:
        """Open the form."""
        if self._lacks:
            self.notify(f"Press {Key.MORE} beside what this goes on from.")
        elif self._form is not None and ((case := self._case()) is not None or "case" not in self._fields):
            self._form.open(case)

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """A form needs settings, and a model."""
        return action != "new" or (self.live and self._form is not None)

    @on(RequestForm.Submitted)
    def ask_typed(self, message: RequestForm.Submitted) -> None:
        """Ask with what stands in the form, which says what is wrong with it."""
        message.stop()
        assert self._form is not None
        try:
            self._ask(message.typed)
        except InputError as error:
            self._form.open(self._case())
            self._form.say(str(error))
        else:
            self._leave_form()

    @on(ClosingInput.Closed)
    def leave(self, message: ClosingInput.Closed) -> None:
        """Close the form; what was typed stays."""
        message.stop()
        self._leave_form()

    def _leave_form(self) -> None:
        if self._form is not None and self._form.is_open:
            self._form.close()
            self.focus_content()

    def _ask(self, typed: Mapping[str, str]) -> None:
        """Raises `InputError` for what cannot be read."""
        asked: dict[str, Any] = {}
        if "case" in self._fields:
            if (case := self._case()) is None:
                return
            asked["case"] = case
        if "position" in self._fields and self.cursor is not None and not self.of_another_case:
            asked["position"] = self.cursor.token
        asked |= self.known()
        self.post_message(Ask(filled(self.METHOD.request, typed, **asked)))

    def known(self) -> dict[str, Any]:
        """What else is asked with, that nobody types: of what the pane was opened from, while it is on the screen."""
        if self._begun is None:
            return {}
        case, edits, others = self._begun
        return others if (case, edits) == (self.case_on_screen(), self.edits) else {}

    @property
    def _lacks(self) -> bool:
        """Whether something is missing that nobody can type."""
        given = {"case", *(setting.name for setting in settings_of(self.METHOD.request)), *self.known()}
        return any(field.is_required() and name not in given for name, field in self._fields.items())

    def _case(self) -> Case | None:
        return self.case_on_screen() if "case" in self._fields else None

    @property
    def _fields(self) -> Mapping[str, FieldInfo]:
        return self.METHOD.request.model_fields

    @property
    def _form(self) -> RequestForm | None:
        self._furnish()
        return next(iter(self.query(RequestForm)), None)

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
        case: Case | None = getattr(request, "case", None)
        self.drawn_case, self.drawn_edits = getattr(result, "case", case), edits  # with what was proposed, if anything

    def unfinished(self, result: Result) -> str:  # noqa: ARG002 - figures mark what is not known
        """What there is."""
        return "partial: stopped before the end"

    def pictured(self) -> tuple[Request, ...]:
        """What was asked."""
        return (self._shown[0],) if self._shown else ()

    # Drawing

    @property
    def _view(self) -> FigureView:
        self._furnish()
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
            self.notify(f"The prompt has changed; press {self.ASK_BY} to ask about it.")
        elif (request := self.METHOD.opens(*self._shown, event.figure, event.place)) is None:
            self.notify("There is no more about this place.")
        else:
            self.post_message(Ask(request, show=True))

    def say_instead(self, sentence: str) -> None:
        """Say something where the figures will be."""
        how = f"Press {self.ASK_KEY} for" if self.ASK_KEY else f"Press {Key.MORE} beside what this goes on from, for"
        self._view.show_placeholder(sentence or f"Nothing yet.\n{how}: {self.TITLE}.")

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
        "__module__": __name__,
        "__doc__": f"Figures of: {method.title}.",
    }
    return cast("type[FigurePane]", type(f"{name}FigurePane", (FigurePane,), made_of))


def figure_panes(methods: Iterable[Pictured], own: Iterable[type[Pane]]) -> tuple[type[Pane], ...]:
    """A pane for each method that has a key or follows another, and is not accepted by a pane of its own."""
    accepted = {request for pane in own for request in pane.accepts}
    asked = (method for method in methods if method.key or method.follows)
    return tuple(figure_pane(method) for method in asked if method.request not in accepted)
