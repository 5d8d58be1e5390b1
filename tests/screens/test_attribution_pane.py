"""The attribution pane: tokens and numbers, its keys, and that results of several methods stand side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from screens.messages import Ask, Cursor, CursorMoved
from screens.panes.attribution import views
from screens.panes.attribution.pane import AttributionPane
from screens.panes.attribution.views import AttributionVariant
from screens.replay import ReplayApp
from screens.widgets.score_model import wrapped
from screens.widgets.score_strip import ScoreStrip
from screens.widgets.short_footer import FooterKeys
from screens.widgets.trust_strip import TrustStrip
from tests.screens.asked import LONG
from tests.screens.recorded import MODEL, STARTED, attribution_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.case import Case
from workbench.events import Progressed
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult, agreement
from workbench.session import Session, Status, Step, StepError

REQUEST = AttributionRequest(case=HERO)
OCCLUSION = AttributionRequest(case=HERO, method="occlusion")


def step(
    request: AttributionRequest = REQUEST,
    status: Status = "done",
    error: StepError | None = None,
    result: AttributionResult | None = None,
) -> Step:
    """A step with an answer, unless it failed or was cancelled."""
    if result is None and status in ("done", "partial"):
        result = attribution_result(request)
    return Step(started=STARTED, seconds=0.1, status=status, request=request, result=result, error=error)


class PaneApp(App[None]):
    """The pane alone; it moves the cursor as the main screen does, and notes what the pane says."""

    CSS = "AttributionPane { height: 100%; }"

    def __init__(self, case: Case = HERO) -> None:
        super().__init__()
        self.said: list[Message] = []
        self._case = case

    def compose(self) -> ComposeResult:
        yield AttributionPane()

    def on_mount(self) -> None:
        self.pane.case, self.pane.model = self._case, MODEL

    @property
    def pane(self) -> AttributionPane:
        return self.query_one(AttributionPane)

    def on_cursor_moved(self, message: CursorMoved) -> None:
        self.said.append(message)
        self.pane.cursor = message.cursor

    def on_ask(self, message: Ask) -> None:
        self.said.append(message)

    @property
    def cursors(self) -> list[Cursor]:
        return [message.cursor for message in self.said if isinstance(message, CursorMoved)]

    @property
    def asked(self) -> list[AttributionRequest]:
        return [m.request for m in self.said if isinstance(m, Ask) and isinstance(m.request, AttributionRequest)]

    @property
    def lines(self) -> list[str]:
        """The visible lines of the tokens."""
        strip = self.pane.query_one(ScoreStrip)
        return [strip.render_line(y).text for y in range(strip.scrollable_content_region.height)]

    @property
    def trust(self) -> str:
        return str(self.pane.query_one(TrustStrip).tooltip)

    @property
    def legend(self) -> str:
        return str(self.pane.query_one("#legend", Static).visual)

    def answer(self, request: AttributionRequest) -> None:
        self.pane.show_step(step(request))


# What is drawn, without an app


def test_every_number_has_a_sign_and_at_most_four_cells() -> None:
    written = [views.score_text(score) for score in (0.714, -0.02, 1.44, -12.3, 250.0, 0.0, -0.0001, float("nan"))]
    assert written == ["+.71", "−.02", "+1.4", "−12", "+250", "+.00", "−.00", "?"]


@given(st.floats(-999, 999))
def test_a_number_never_takes_more_than_four_cells(score: float) -> None:
    assert cell_len(views.score_text(score)) <= 4


def test_a_token_is_as_wide_as_the_widest_number_under_it() -> None:
    drawn = views.scores({AttributionVariant(): attribution_result(REQUEST)}, AttributionVariant(), with_all=False)
    for index, width in enumerate(drawn.widths()):
        assert width >= cell_len(drawn.tokens[index])
        assert width > cell_len(drawn.rows[0].texts[index])


def test_colour_and_sign_agree_and_the_largest_score_ends_the_scale() -> None:
    result = attribution_result(REQUEST)
    row = views.scores({AttributionVariant(): result}, AttributionVariant(), with_all=False).rows[0]
    for score, text, shade in zip(result.scores, row.texts, row.shades, strict=True):
        assert shade is not None
        assert (text[0] == "+") == (score >= 0)
        assert shade.level >= 7 if score > 0 else shade.level <= 7
    best = max(range(len(result.scores)), key=lambda index: abs(result.scores[index]))
    assert row.shades[best].level == (14 if result.scores[best] > 0 else 0)  # type: ignore[union-attr]


def test_tokens_after_the_explained_one_have_neither_number_nor_colour() -> None:
    result = attribution_result(REQUEST.model_copy(update={"position": 2}))
    row = views.scores({AttributionVariant(): result}, AttributionVariant(), with_all=False).rows[0]
    assert row.texts[3:] == ("", "")
    assert row.shades[3:] == (None, None)


def test_words_stay_together_and_a_word_longer_than_a_line_is_broken() -> None:
    assert wrapped(["a", " b", "c", " d"], [2, 2, 2, 2], 5) == [range(1), range(1, 3), range(3, 4)]
    assert wrapped(["a", "b", "c"], [2, 2, 2], 4) == [range(2), range(2, 3)]
    assert wrapped(["a⏎", "b"], [2, 2], 40) == [range(1), range(1, 2)]


@given(st.lists(st.sampled_from(["a", " b", "cd", " e⏎", "·"]), min_size=1, max_size=40), st.integers(2, 30))
def test_every_token_is_in_exactly_one_line_and_no_line_is_too_long(tokens: list[str], width: int) -> None:
    widths = [min(width, len(token)) for token in tokens]
    lines = wrapped(tokens, widths, width)
    assert [index for line in lines for index in line] == list(range(len(tokens)))
    assert all(sum(widths[index] for index in line) <= width for line in lines)


def test_agreement_is_with_the_methods_of_the_same_baseline_only() -> None:
    zero = AttributionVariant(baseline="zero")
    found = {
        AttributionVariant(): attribution_result(REQUEST),
        AttributionVariant("occlusion"): attribution_result(OCCLUSION),
        zero: attribution_result(AttributionRequest(case=HERO, baseline="zero")),
    }
    (check,) = views.agreement_check(found, AttributionVariant())
    rho = agreement(found[AttributionVariant()], found[AttributionVariant("occlusion")])
    assert rho is not None
    assert check.text == f"occlus. {rho:+.2f}".replace("-", "−")
    assert views.agreement_check(found, zero) == ()


# The pane in an app


async def test_before_the_first_result_the_pane_says_which_key_asks() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)):
        assert any("Press a" in line for line in app.lines)
        assert not app.pane.query_one(TrustStrip).display


async def test_a_result_is_tokens_with_numbers_under_them() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        await pilot.pause()
        result = attribution_result(REQUEST)
        assert app.lines[0].split() == HERO.prompt.split()
        assert app.lines[1].split() == [views.score_text(score) for score in result.scores]
        assert 'after " is"' in str(app.pane._border_title)
        assert "Sydney" in app.legend
        assert "Canberra, logits" in app.legend
        assert "completeness" in app.trust
        assert "baseline mean" in app.trust


async def test_m_asks_for_a_method_that_is_not_there_and_shows_one_that_is() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        app.pane.focus_content()
        await pilot.press("m")
        wanted = REQUEST.model_copy(update={"method": "input-x-gradient"})
        assert app.asked == [wanted]
        assert "integrated gradients" in str(app.pane._border_title)
        app.answer(wanted)
        await pilot.pause()
        assert "input × gradient" in str(app.pane._border_title)
        await pilot.press("m", "m", "m")
        assert [request.method for request in app.asked[1:]] == ["occlusion", "shapley"]
        assert "integrated gradients" in str(app.pane._border_title)
        assert "agreement" in app.trust


async def test_r_puts_the_numbers_of_all_methods_under_the_tokens() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        app.answer(OCCLUSION)
        app.pane.focus_content()
        await pilot.press("v")
        first, second, third = app.lines[:3]
        assert first.split() == HERO.prompt.split()
        for label, line, request in (("int.grad", second, REQUEST), ("occlus.", third, OCCLUSION)):
            scores = attribution_result(request).scores
            assert line.split() == [label, *map(views.score_text, scores)]


async def test_b_cycles_the_baseline_and_w_the_unit_of_occlusion_only() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        app.pane.focus_content()
        await pilot.press("w", "B", "B", "B")
        assert [(r.baseline, r.unit) for r in app.asked] == [("eos", "token"), ("zero", "token")]
        app.answer(OCCLUSION)
        await pilot.press("w")
        assert app.asked[-1] == OCCLUSION.model_copy(update={"unit": "word"})


async def test_keys_move_the_shared_cursor_and_enter_asks_about_its_token() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.cursor = Cursor(3, 4)
        app.answer(REQUEST)
        app.pane.focus_content()
        await pilot.press("h", "left", "l", "home", "end", "h")
        assert app.cursors == [Cursor(3, token) for token in (3, 2, 3, 0, 4, 3)]
        await pilot.press("enter")
        assert app.asked == [REQUEST.model_copy(update={"position": 3})]


async def test_a_burst_of_keys_is_not_undone_by_the_echo_of_the_first() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        await pilot.pause()
        strip = app.pane.query_one(ScoreStrip)
        for _ in range(3):
            strip.action_move(-1)
        await pilot.pause()
        assert strip.cursor == 1
        assert app.pane.cursor is not None
        assert app.pane.cursor.token == 1


async def test_a_long_prompt_scrolls_with_the_cursor() -> None:
    app = PaneApp(LONG)
    async with app.run_test(size=(60, 16)) as pilot:
        app.pane.cursor = Cursor(0, 0)
        app.answer(AttributionRequest(case=LONG))
        app.pane.focus_content()
        await pilot.pause()
        assert app.lines[0].startswith("ban")
        await pilot.press("down")
        assert app.pane.cursor.token > 3
        await pilot.press("end")
        await pilot.pause()
        assert any("tun" in line for line in app.lines)
        assert not any("ban " in line for line in app.lines)
        assert not app.pane.query_one(ScoreStrip).show_horizontal_scrollbar


async def test_another_question_forgets_the_one_before() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        app.answer(OCCLUSION)
        app.answer(REQUEST.model_copy(update={"position": 2}))
        await pilot.pause()
        app.pane.rows = True
        await pilot.pause()
        assert "agreement" not in app.trust
        assert not any("occlus." in line for line in app.lines)


async def test_progress_is_drawn_and_a_stopped_run_stays_as_partial() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.started(REQUEST)
        await pilot.pause()
        assert any("Running the model" in line for line in app.lines)
        partial = attribution_result(REQUEST)
        app.pane.show_progress(Progressed(1, REQUEST, 204, 600, "integrated gradients", partial, 7.0))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "integrated gradients 34% · 7 s left"
        assert app.lines[0].split() == HERO.prompt.split()
        app.pane.show_step(step(status="partial"))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == f"partial: stopped after {partial.evaluations} evaluations"


async def test_a_failure_is_said_and_what_was_there_stays() -> None:
    app = PaneApp()
    failed = step(status="failed", error=StepError(kind="InputError", message="there is no token [9]"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(failed)
        await pilot.pause()
        assert any("there is no token [9]" in line for line in app.lines)
        app.answer(REQUEST)
        app.pane.show_step(failed)
        await pilot.pause()
        assert "there is no token [9]" in app.legend
        assert app.lines[0].split() == HERO.prompt.split()
        assert "stale" in str(app.pane._border_subtitle)


async def test_another_prompt_makes_the_picture_stale() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.answer(REQUEST)
        await pilot.pause()
        assert "stale" not in str(app.pane._border_subtitle)
        app.pane.on_screen = Case(prompt="something else")
        await pilot.pause()
        assert "stale" in str(app.pane._border_subtitle)


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (40, 12)])
async def test_token_and_number_are_in_view_at_any_size(size: tuple[int, int]) -> None:
    app = PaneApp()
    async with app.run_test(size=size) as pilot:
        app.answer(REQUEST)
        await pilot.pause()
        assert "The" in app.lines[0]
        assert views.score_text(attribution_result(REQUEST).scores[0]) in app.lines[1]


# In the whole app


async def test_a_asks_from_everywhere_about_the_cursor_s_token() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await run.pilot.press("h", "a")
        await run.settle()
        request = AttributionRequest(case=HERO, position=3)
        assert run.engine.last == request
        assert "Waiting for the model" in run.text
        run.engine.say_finished(attribution_result(request))
        await run.settle()
        assert 'after " Australia"' in run.text
        await run.pilot.press("h")
        await run.settle()
        assert run.main.cursor == Cursor(MODEL.layers - 1, 2)
        assert 'at " of"' in run.text  # the lens went there too


async def test_a_without_a_prompt_says_what_is_missing() -> None:
    async with running((80, 24)) as run:
        await run.pilot.press("escape", "a")
        await run.settle()
        assert "Type a prompt first" in run.notified
        assert len(run.engine.asked) == 1


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_footer_shows_at_most_seven_keys_and_the_palette(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_hero(run)
        for keys in (("2", "v"), ("a",), ("t",)):
            await run.pilot.press(*keys)
            await run.settle()
            line = run.main.query_one("#keys-here", FooterKeys).content
            keys_shown = {span.style.meta["key"] for span in line.spans if isinstance(span.style, Style)}
            assert len(keys_shown) <= 7
            assert {"p", "g"} & keys_shown
            assert {"f1", "q"} <= keys_shown


async def test_a_replay_has_the_rows_of_every_method_run_until_then() -> None:
    steps = tuple(step(request) for request in (REQUEST, OCCLUSION, REQUEST.model_copy(update={"seed": 2})))
    app = ReplayApp(Session(model=MODEL, steps=steps), Path("recorded.json"))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        pane = app.screen.query_one(AttributionPane)
        pane.focus_content()
        assert set(pane._found) == {AttributionVariant(), AttributionVariant("occlusion")}
        await pilot.press("left_curly_bracket")
        await pilot.pause()
        assert set(pane._found) == {AttributionVariant()}
        await pilot.press("m")
        await pilot.pause()
        assert "This is a replay" in "".join(notification.message for notification in app._notifications)
        assert pane.variant == AttributionVariant()


async def test_in_a_replay_the_method_key_goes_to_the_next_one_that_was_recorded() -> None:
    shapley = AttributionRequest(case=HERO, method="shapley")
    session = Session(model=MODEL, steps=(step(shapley), step()))
    app = ReplayApp(session, Path("s.json"))
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        pane = app.screen.query_one(AttributionPane)
        pane.focus_content()
        await pilot.press("m")
        await pilot.pause()
        assert pane.variant.method == "shapley"
        await pilot.press("m")
        await pilot.pause()
        assert pane.variant.method == "integrated-gradients"
