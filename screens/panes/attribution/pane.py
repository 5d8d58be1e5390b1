"""The attribution pane: the prompt's tokens coloured by what each adds to the prediction, with the numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive

from screens import signs
from screens.keys import Key
from screens.messages import Ask, Cursor
from screens.panes.attribution import views
from screens.panes.attribution.views import BASELINES, METHODS, AttributionVariant, variant_of
from screens.panes.picture import PicturePane
from screens.widgets.score_strip import ScoreStrip
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult
from workbench.protocol import Check, Request, Result
from workbench.session import Step

_Value = TypeVar("_Value")

EMPTY = "No attribution yet.\nPress a to see which tokens pull towards the target."


class AttributionPane(PicturePane):
    """Draws attributions of one question by several methods and baselines, one at a time or as rows.

    The question is a token of a case: what follows it is explained. Another question forgets the one before.
    """

    TITLE = "Attribution"
    SIGNS = signs.ATTRIBUTION
    ASK_KEY = Key.ATTRIBUTION
    SIDE = "left"
    accepts: ClassVar[tuple[type[Request], ...]] = (AttributionRequest,)

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.NEXT, "next", "Method", tooltip="The next method", id="attribution.method"),
        Binding(Key.VIEW, "view", "One/all", tooltip="One method, or all as rows", id="attribution.rows"),
        Binding(Key.BASELINE, "baseline", "Baseline", tooltip="Mean, end token or zero", id="attribution.baseline"),
        Binding(Key.UNITS, "unit", "Words", tooltip="Take words or tokens away", id="attribution.unit"),
    ]

    variant: reactive[AttributionVariant] = reactive(AttributionVariant(), init=False)
    rows: reactive[bool] = reactive(False, init=False)

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[AttributionVariant, AttributionResult] = {}
        self._requests: dict[AttributionVariant, AttributionRequest] = {}  # that were answered so
        self._position: int | None = None  # that is asked about
        self._asked: list[AttributionRequest] = []  # by us, and not ended yet

    def compose_picture(self) -> ComposeResult:
        """The tokens."""
        yield ScoreStrip()

    def focus_content(self) -> None:
        """Put the keyboard into the tokens."""
        self._strip.focus()

    # Asking

    def ask(self) -> None:
        """Explain what follows the cursor's token, by the method that is looked at."""
        self.case_on_screen()  # first, as another prompt has another cursor
        self._ask(self.variant, self.cursor.token if self.cursor else None)

    def _ask(self, variant: AttributionVariant, position: int | None) -> None:
        """Explain what follows a token of the case on screen, or its end."""
        case = self.case_on_screen()
        if case is None:
            return
        method, baseline, unit = variant.asked()
        request = AttributionRequest(case=case, method=method, position=position, baseline=baseline, unit=unit)
        self._position = position
        if request not in self._asked:
            if self.live:
                self._asked.append(request)
            self.post_message(Ask(request))

    def on_score_strip_chosen(self, event: ScoreStrip.Chosen) -> None:
        """Ask again, about another token; of another prompt the token says nothing about this one."""
        event.stop()
        if self.of_another_case:
            self.ask()
        else:
            self._ask(self.variant, event.token)

    def action_next(self) -> None:
        """Go to the next method, which is asked for where it is not there."""
        self._turn([self.variant._replace(method=method) for method in _after(METHODS, self.variant.method)])

    def action_baseline(self) -> None:
        """Go to the next baseline."""
        self._turn([self.variant._replace(baseline=name) for name in _after(BASELINES, self.variant.baseline)])

    def action_unit(self) -> None:
        """Take words away in place of tokens, or tokens again."""
        self._turn([self.variant._replace(unit="token" if self.variant.unit == "word" else "word")])

    def action_view(self) -> None:
        """Numbers of all methods under the tokens, or of one."""
        self.rows = not self.rows

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Gradients have no words; where there is no picture there are no rows."""
        if action == "unit":
            return self.variant.has_units
        return not self.empty if action == "view" else True

    def _turn(self, variants: list[AttributionVariant]) -> None:
        """To the first of them; in a replay, where nothing can be asked for, to the first that was recorded."""
        recorded = [] if self.live else [variant for variant in variants if variant.asked() in self._found]
        variant = (recorded or variants)[0]
        there = variant.asked() in self._found
        if self.live or there:
            self.variant = variant
        if there or self.empty:
            return
        if self.of_another_case:
            self.ask()
        else:
            self._ask(variant, self._position)

    def watch_variant(self) -> None:
        """Draw it, as soon as it is there."""
        self.refresh_bindings()
        self.redraw()

    def watch_rows(self) -> None:
        """Draw otherwise."""
        self.redraw()

    # What happened

    @property
    def empty(self) -> bool:
        """Whether nothing was attributed yet."""
        return not self._found

    def clear(self) -> None:
        """Begin empty again."""
        self._found, self._requests, self._position, self._asked = {}, {}, None, []
        super().clear()

    def slot(self, request: Request) -> Hashable:
        """Methods and baselines stand side by side."""
        return variant_of(request) if isinstance(request, AttributionRequest) else super().slot(request)

    def show_step(self, step: Step) -> None:
        """Take the result; an attribution of unknown origin (a recorded one) decides what is looked at."""
        request = step.request
        assert isinstance(request, AttributionRequest)
        if request in self._asked:
            self._asked.remove(request)
        elif step.result is not None:
            self.set_reactive(AttributionPane.variant, variant_of(request))
            self._position = request.position
        super().show_step(step)
        self.refresh_bindings()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep a result beside those that answer the same question."""
        assert isinstance(request, AttributionRequest)
        assert isinstance(result, AttributionResult)
        others = next(iter(self._found.values()), None)
        if others is not None and not (views.same_question(others, result) and edits == self.drawn_edits):
            self._found, self._requests = {}, {}
        self._found[variant_of(request)], self._requests[variant_of(request)] = result, request
        self.drawn_case, self.drawn_edits = request.case, edits
        if self.cursor is None or self.cursor.token >= len(result.encoded.texts):
            self._move(result.position)

    def unfinished(self, result: Result) -> str:
        """What was found is kept."""
        assert isinstance(result, AttributionResult)
        return f"partial: stopped after {result.evaluations} evaluations"

    def pictured(self) -> tuple[Request, ...]:
        """All methods and baselines."""
        return tuple(sorted(self._requests.values(), key=lambda request: variant_of(request) != self._shown))

    def at_cursor(self, result: Result) -> str:
        """What the token adds."""
        assert isinstance(result, AttributionResult)
        token = self.cursor.token if self.cursor else result.position
        return f"{views.read_out(result, token)} {views.unit_of(result)}"

    # The cursor

    def on_score_strip_moved(self, event: ScoreStrip.Moved) -> None:
        """The person moved: tell everybody."""
        event.stop()
        self._move(event.token)

    def _move(self, token: int) -> None:
        last_layer = self.model.layers - 1 if self.model else 0
        self.move_cursor(Cursor(self.cursor.layer if self.cursor else last_layer, token))

    # Drawing

    @property
    def _strip(self) -> ScoreStrip:
        return self.query_one(ScoreStrip)

    @property
    def _shown(self) -> AttributionVariant:
        """What is looked at, or what there is while it is being found."""
        wanted = self.variant.asked()
        return wanted if wanted in self._found else next(reversed(self._found))

    def draw(self) -> None:
        """Draw tokens and numbers."""
        token = self.cursor.token if self.cursor else self._found[self._shown].position
        self._strip.show(views.scores(self._found, self._shown, self.rows), token)

    def draw_cursor(self) -> None:
        """Draw the cursor where it is now."""
        if self.cursor is not None:
            self._strip.move_to(self.cursor.token)

    def say_instead(self, sentence: str) -> None:
        """Say something where the picture will be."""
        self._strip.show_placeholder(sentence or EMPTY)

    def headline(self) -> str:
        """What is explained, and how."""
        return views.title(self._found[self._shown], self._shown)

    def legend(self) -> Content:
        """The scale, and the token under the cursor."""
        token = self.cursor.token if self.cursor else None
        return views.legend(self._found[self._shown], token, self.app.current_theme.dark)

    def checks(self) -> tuple[Check, ...]:
        """The method's own, completeness first, and how far the methods agree."""
        own = self._found[self._shown].checks
        return (*own[:1], *views.agreement_check(self._found, self._shown), *own[1:])


def _after(values: Sequence[_Value], value: _Value) -> list[_Value]:
    """The others in the order in which they follow one, round and round; all of them if it is none of them."""
    place = values.index(value) if value in values else len(values)
    return [*values[place + 1 :], *values[:place]]
