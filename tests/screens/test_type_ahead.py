"""Keys without a pause: each goes where the one before it has left the keyboard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.keys import _character_to_key
from textual.widgets import Input, OptionList

from screens import typeahead
from screens.app import WorkbenchApp
from screens.base import BaseApp, _keys
from screens.live import LiveScreen
from screens.models import ModelsScreen
from screens.panes.cot.pane import CotPane
from screens.panes.edits.pane import EditsPane
from screens.panes.erasure.pane import ErasurePane
from screens.panes.lens.detail import LensDetail
from screens.sessions import SessionsScreen
from screens.widgets.form import Form
from screens.widgets.options import Options, PaletteOptions
from tests.screens.asked import TOM
from tests.screens.played import PlayedEngine
from tests.screens.recorded import cot_result, lens_result
from tests.screens.test_app import HERO, Running, ask_hero, running
from tests.screens.test_edits_pane import edited
from workbench.case import Case
from workbench.events import LoadRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.logit_lens import LensRequest

FIRST_STEP = ["The capital of Australia is", "tab", "Australia", "tab", "Canberra", "tab", "Sydney", "enter"]
"""The README's."""


def send(app: App[None], *keys: str) -> None:
    """Named keys, and texts letter by letter, as they come from the driver: without a pause."""
    for key in keys:
        named = key in NAMES or "+" in key
        for each in [key] if named else key:
            event = events.Key(each if named else _character_to_key(each), None if named else each)
            event.set_sender(app)
            app.post_message(event)


NAMES = ("tab", "enter", "escape", "down", "up", "pagedown", "backspace")


async def all_passed(app: BaseApp) -> None:
    """Wait until no key waits, and what they set off is done."""
    while not (app._type_ahead.empty and app._type_ahead._is_quiet()):
        await asyncio.sleep(0.001)


async def test_the_readme_s_first_step_typed_before_the_app_is_there_is_one_case_and_not_one_prompt() -> None:
    engines: list[PlayedEngine] = []

    def make(*hooks: object) -> PlayedEngine:
        engines.append(PlayedEngine(*hooks))  # type: ignore[arg-type]
        return engines[-1]

    app = WorkbenchApp(lambda: LiveScreen(LoadRequest(model="tiny"), engine=make))  # type: ignore[arg-type]
    task = asyncio.create_task(app.run_async(headless=True, size=(80, 24)))
    while not app.is_running:
        await asyncio.sleep(0)
    send(app, *FIRST_STEP)
    while not (engines and isinstance(engines[0].last, LensRequest)):
        assert not task.done()
        await asyncio.sleep(0.001)
    assert engines[0].last.case == HERO
    app.exit()
    await task


async def test_text_after_a_tab_goes_to_the_next_field_and_back() -> None:
    async with running() as run:
        send(run.app, "x", "tab", "yy", "shift+tab", "z", "tab", "a", "tab", "tab", "b")
        await all_passed(run.app)
        # "a" takes the place of "yy", which is selected when tab comes to it
        assert run.main.prompt.edited() == Case(prompt="xz", subject="a", foil="b")


async def test_enter_asks_about_all_that_was_typed_before_it_and_the_next_key_is_the_picture_s() -> None:
    async with running(case=HERO) as run:
        run.main.prompt.focus_content()
        send(run.app, " not", "enter", "v")
        await all_passed(run.app)
        assert run.main.prompt.edited().prompt == "The capital of Australia is not"
        assert run.main.others[0].view == "grid"


@pytest.mark.parametrize("pane", [EditsPane, CotPane, ErasurePane])
async def test_text_after_a_key_that_opens_a_form_is_typed_into_the_form(pane: type) -> None:
    async with running() as run:
        await ask_hero(run)
        send(run.app, pane.ASK_KEY, "zq7", "tab", "7", "tab", "5")
        await all_passed(run.app)
        form = next(form for form in run.main.query_one(pane).query(Form) if form.is_open)
        fields = list(form.query(Input))
        first = next(number for number, field in enumerate(fields) if field.value.endswith("zq7"))
        assert [field.value[-1:] for field in fields[first + 1 : first + 3]] == ["7", "5"]
        assert run.app.focused is fields[first + 2]


@pytest.mark.parametrize("action", ["save", "apply"])
async def test_text_after_a_key_that_opens_a_path_is_typed_into_it(action: str) -> None:
    async with edited() as run:
        key = next(binding.key for binding in EditsPane.BINDINGS if binding.action == action)  # type: ignore[union-attr]
        send(run.app, key, "s.safetensors")
        await all_passed(run.app)
        assert isinstance(run.app.focused, Input)
        assert run.app.focused.value == "s.safetensors"


@pytest.mark.parametrize("purpose", ["mistake", "paraphrase", "cue"])
async def test_text_after_a_key_that_opens_an_intervention_s_line_is_typed_into_it(purpose: str) -> None:
    async with running(case=Case(prompt=TOM)) as run:
        send(run.app, "escape", CotPane.ASK_KEY, "enter")
        await all_passed(run.app)
        request = run.engine.last
        assert isinstance(request, CotRequest)
        run.engine.say_finished(cot_result(request))
        await all_passed(run.app)
        bound = f"line('{purpose}')"
        key = next(binding.key for binding in CotPane.BINDINGS if binding.action == bound)  # type: ignore[union-attr]
        send(run.app, "j", "j", key, "sm7")
        await all_passed(run.app)
        assert isinstance(run.app.focused, Input)
        assert run.app.focused.value.endswith("sm7")


async def test_a_paste_keeps_its_place_among_keys() -> None:
    async with running() as run:
        send(run.app, "a", "tab", "b")
        run.app.post_message(events.Paste("PASTED"))
        send(run.app, "c", "tab")
        run.app.post_message(events.Paste("target"))
        send(run.app, "s")
        await all_passed(run.app)
        assert run.main.prompt.edited() == Case(prompt="a", subject="bPASTEDc", target="targets")


async def test_a_click_keeps_its_place_among_keys() -> None:
    async with running() as run:
        foil = run.main.prompt.query_one("#foil").region
        send(run.app, "a", "tab", "b")
        for kind in (events.MouseDown, events.MouseMove, events.MouseUp):
            run.app.post_message(kind(None, foil.x, foil.y, 0, 0, 1, False, False, False, foil.x, foil.y))
        send(run.app, "c")
        await all_passed(run.app)
        assert run.main.prompt.edited() == Case(prompt="a", subject="b", foil="c")


async def test_ctrl_c_twice_quits_whatever_was_typed_before_it() -> None:
    async with running() as run:
        await ask_hero(run)
        send(run.app, *(["j", "k", "tab", "h"] * 5), "ctrl+c", "ctrl+c")
        while run.app.is_running:
            await asyncio.sleep(0.001)
        assert run.app.return_code == 0


async def test_escape_cancels_a_job_that_reports_all_the_time() -> None:
    async with running() as run:
        await ask_hero(run)
        send(run.app, "t")
        await all_passed(run.app)
        run.engine.say_started()

        async def report() -> None:
            done = 0
            while not run.engine.cancelled:
                run.engine.say_progress(done := done + 1, 10_000, None)
                await asyncio.sleep(0)

        reporting = asyncio.create_task(report())
        send(run.app, "j", "j", "escape")
        await asyncio.wait_for(reporting, 60)


class ThreeFields(BaseApp):
    """To type into."""

    CSS_PATH = None

    def compose(self) -> ComposeResult:
        """By name."""
        for name in ("one", "other", "stuck"):
            yield Input(id=name)


async def test_what_never_ends_does_not_lock_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeahead, "PATIENCE", 50)
    app, end = ThreeFields(), asyncio.Event()
    async with app.run_test():
        app.query_one("#stuck").call_later(end.wait)
        send(app, "a", "tab", "b", "tab", "c")
        other = app.query_one("#other", Input)
        while other.value != "b":
            await asyncio.sleep(0.001)
        end.set()


async def test_what_was_typed_before_the_terminal_was_ours_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.early_terminal._typed", "ab\tc\r")
    async with running() as run:
        send(run.app, "j")
        await all_passed(run.app)
        assert run.main.prompt.edited() == Case(prompt="ab", subject="c")
        assert isinstance(run.engine.last, LensRequest)


async def test_alt_edits_by_words_in_a_field_and_is_escape_and_a_key_elsewhere() -> None:
    async with running() as run:
        await ask_hero(run)
        for event in _keys("p\x1bbx\x1b\x7f?"):
            run.app.post_message(event)
        await all_passed(run.app)
        assert run.main.prompt.edited().prompt == "The capital of Australia ?is"
        run.main.prompt.put(HERO)
        send(run.app, "escape", "ctrl+l")
        await all_passed(run.app)
        assert isinstance(run.app.screen, ModelsScreen)
        for event in _keys("\x1bb"):
            run.app.post_message(event)
        await all_passed(run.app)
        assert run.app.screen is run.main
        assert "No edit is on" in run.notified


def test_bytes_of_a_terminal_become_keys() -> None:
    keys = [event.key for event in _keys("aß\t\r\x1b[A\x7f") if isinstance(event, events.Key)]
    assert keys == ["a", "ß", "tab", "enter", "up", "backspace"]


# Dialogs


async def test_enter_twice_in_the_models_loads_one_and_leaves_the_main_screen_where_it_was() -> None:
    async with running() as run:
        send(run.app, "ctrl+l", "enter", "enter")
        await all_passed(run.app)
        assert run.app.screen is run.main
        assert [type(request) for request in run.engine.asked].count(LoadRequest) == 2


async def test_a_dialog_that_is_not_on_top_is_not_dismissed() -> None:
    async with running() as run:
        run.main.action_choose_model()
        dialog = run.app.screen
        assert isinstance(dialog, ModelsScreen)
        await run.settle()
        dialog.dismiss(None)
        dialog.dismiss(None)
        await run.settle()
        assert run.app.screen is run.main
        run.main.action_choose_model()
        beneath = run.app.screen
        run.app.action_command_palette()
        assert isinstance(beneath, ModelsScreen)
        beneath.dismiss(None)
        await run.settle()
        assert run.app.screen_stack[-2] is beneath


async def test_keys_after_ctrl_o_wait_for_the_sessions_to_be_found() -> None:
    async with running() as run:
        await ask_hero(run)  # and so there is a session
        send(run.app, "ctrl+o", "down", "enter", "enter")
        await all_passed(run.app)
        assert isinstance(run.app.screen, LensDetail)  # the second enter is the lens's, on the main screen
        send(run.app, "escape")
        await all_passed(run.app)
        assert run.app.screen is run.main
        assert "opened" not in run.notified
        send(run.app, "ctrl+o", "down")
        await all_passed(run.app)
        assert isinstance(run.app.screen, SessionsScreen)
        assert run.app.screen.query_one(OptionList).highlighted == 0


async def test_the_palette_bears_a_page_key_as_soon_as_it_lists_something() -> None:
    async with running() as run:
        send(run.app, "ctrl+p", "e", "pagedown", "pagedown", "escape", "escape")
        await all_passed(run.app)
        assert run.app.screen is run.main


async def test_enter_runs_what_was_typed_into_the_palette_without_a_pause() -> None:
    async with running() as run:
        send(run.app, "ctrl+p", "load model", "enter")
        await all_passed(run.app)
        assert isinstance(run.app.screen, ModelsScreen)


@pytest.mark.parametrize("kind", [Options, PaletteOptions])
async def test_a_list_that_is_not_laid_out_bears_a_page_key(kind: Callable[[], OptionList]) -> None:
    class Listing(App[None]):
        def compose(self) -> ComposeResult:
            yield kind()

    app = Listing()
    async with app.run_test():
        options = app.query_one(OptionList)
        options.display = False
        options.add_options(["one", "two"])
        options.highlighted = 0
        options.action_page_down()
        options.action_page_up()


async def test_a_letter_in_jump_mode_whose_target_has_gone_leads_nowhere() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("p", "ctrl+g")
        field = run.main.prompt.query_one("#subject")
        letter = next(letter for letter, widget in run.app.screen._targets.items() if widget is field)
        before = run.main.focused
        await field.remove()
        await run.pilot.press(letter)
        assert run.app.screen is run.main
        assert run.main.focused is before


async def test_jump_mode_in_a_burst_leads_to_the_last_letter_s_target() -> None:
    async with running() as run:
        await ask_hero(run)
        send(run.app, "ctrl+g", "z", "ctrl+g", "escape", "ctrl+g", "a", "!")
        await all_passed(run.app)
        assert run.app.screen is run.main
        assert run.main.prompt.edited().prompt == f"{HERO.prompt}!"


async def test_results_arrive_while_another_screen_is_up() -> None:
    async with running() as run:
        await ask_hero(run)
        send(run.app, "enter", "ctrl+p")
        await all_passed(run.app)
        run.engine.say_finished(lens_result(HERO))
        await all_passed(run.app)
        send(run.app, "escape", "escape", "escape")
        await all_passed(run.app)
        assert run.app.screen is run.main


def lists_in(run: Running) -> list[OptionList]:
    """All lists that are on the screen."""
    return list(run.app.screen.query(OptionList))


@pytest.mark.parametrize("opens", ["escape", "ctrl+o", "ctrl+l", "ctrl+p"])
async def test_every_list_is_one_of_ours(opens: str) -> None:
    async with running() as run:
        send(run.app, opens)
        await all_passed(run.app)
        assert lists_in(run)
        assert all(isinstance(each, Options | PaletteOptions) for each in lists_in(run))
