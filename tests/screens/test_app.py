"""The app as it is used, with an engine whose answers the test gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from screens.answers import active_edits
from screens.app import WorkbenchApp
from screens.history import load_history
from screens.live import LiveScreen
from screens.messages import CaseChosen, Cursor
from screens.sessions import SessionsScreen
from screens.start import PURPOSE, SAMPLES
from screens.widgets.prompt_fields import CaseField, PromptArea
from screens.widgets.token_strip import TokenStrip
from tests import waiting
from tests.screens.asked import FRANCE, HERO, NASTY
from tests.screens.played import PlayedEngine
from tests.screens.recorded import MODEL, continuation, lens_result, recorded, rome_result
from workbench.case import Case
from workbench.editing.edit import EditRequest
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.events import LoadRequest, Progressed
from workbench.last import LastPlace, last_session
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.session import SessionFile, StepError, load_session


class Running:
    """An app under test, with its engine and its pilot."""

    def __init__(self, app: WorkbenchApp, engine: PlayedEngine, pilot: Pilot[None]) -> None:
        self.app, self.engine, self.pilot = app, engine, pilot

    @property
    def main(self) -> Any:
        return self.app._main

    @property
    def text(self) -> str:
        """What the screen shows, line by line."""
        width = self.app.size.width
        return "\n".join(
            "".join(segment.text for segment in line)[:width] for line in self.app.screen._compositor.render_strips()
        )

    @property
    def notified(self) -> str:
        """What pops up."""
        return "\n".join(notification.message for notification in self.app._notifications)

    async def settle(self) -> None:
        await self.pilot.pause()

    async def until(self, condition: Callable[[], bool]) -> None:
        await waiting.until(
            self.pilot, condition, lambda: f"asked: {self.engine.asked}; the screen shows:\n{self.text}"
        )

    async def type(self, text: str) -> None:
        self.app.screen.focused.insert(text) if isinstance(  # type: ignore[union-attr]
            self.app.screen.focused, PromptArea
        ) else await self.pilot.press(*text)
        await self.pilot.pause()


@asynccontextmanager
async def running(
    size: tuple[int, int] = (80, 24),
    case: Case | None = None,
    recording: SessionFile | None = None,
    place: LastPlace | None = None,
) -> AsyncIterator[Running]:
    engines: list[PlayedEngine] = []

    def make(*hooks: Any) -> PlayedEngine:
        engines.append(PlayedEngine(*hooks))
        return engines[-1]

    load = LoadRequest(model="tiny")
    app = WorkbenchApp(lambda: LiveScreen(load, case, recording, make, place))  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        session = Running(app, engines[0], pilot)
        session.engine.say_loaded()
        await session.settle()
        yield session
    app._save_and_stop(0.0)


async def ask_hero(run: Running) -> None:
    """Type the hero case and let the engine answer."""
    run.main.prompt.put(HERO)
    run.main.prompt.focus_content()
    await run.pilot.press("enter")
    await run.until(lambda: isinstance(run.engine.last, LensRequest))
    run.engine.say_started()
    run.engine.say_finished(lens_result(HERO))
    await run.settle()


async def test_the_model_is_loaded_first_and_named_in_the_status_line() -> None:
    async with running(size=(160, 48)) as run:
        assert run.engine.asked == [LoadRequest(model="tiny")]
        assert "tiny · cpu · float32" in run.text


async def test_enter_asks_for_the_lens_and_hands_the_keyboard_to_it() -> None:
    async with running() as run:
        await run.type("The capital of Australia is")
        await run.pilot.press("tab", *"Australia", "tab", *"Canberra", "tab", *"Sydney", "enter")
        await run.settle()
        assert run.engine.last == LensRequest(case=HERO)
        run.engine.say_finished(lens_result(HERO))
        await run.settle()
        assert run.main.cursor == Cursor(layer=MODEL.layers - 1, token=4)
        await run.pilot.press("j", "j", "h")
        await run.settle()
        assert run.main.cursor == Cursor(layer=MODEL.layers - 3, token=3)
        assert run.main.prompt.query_one(TokenStrip).cursor == 3


async def test_a_partial_lens_is_drawn_and_its_progress_shown() -> None:
    async with running((160, 48), case=HERO) as run:
        run.engine.say_started()
        run.engine.say_progress(1, 5, lens_result(HERO, done=1))
        await run.settle()
        assert "1/5" in run.text
        assert "12 s left" in run.text
        assert "Canberra" in run.text


async def test_escape_cancels_the_running_job_alone() -> None:
    async with running(case=HERO) as run:
        run.engine.say_started()
        run.engine.say_progress(1, 5, lens_result(HERO, done=1))
        await run.settle()
        await run.pilot.press("escape")
        await run.settle()
        assert run.engine.cancelled == 1
        assert run.engine.cancelled_job == len(run.engine.asked), "what waits is not dropped"
        run.engine.say_finished(lens_result(HERO, done=1), status="partial")
        await run.settle()
        assert "partial" in run.text


async def test_what_went_on_in_the_background_does_not_take_the_place_of_what_was_asked_meanwhile() -> None:
    async with running((160, 48), case=HERO) as run:
        background, old = len(run.engine.asked), run.engine.last
        run.engine.say_started()
        run.main.look_at(CaseChosen(FRANCE))
        await run.until(lambda: run.engine.last == LensRequest(case=FRANCE))
        run.engine.listener(Progressed(background, old, 1, 5, "unembedding", lens_result(HERO, done=1), 12.0))
        await run.settle()
        assert run.main.cursor is None, "where it begins says the lens that was asked last"
        run.engine.say_started()
        run.engine.say_finished(lens_result(FRANCE))
        run.engine.listener(Progressed(background, old, 1, 5, "unembedding", lens_result(HERO, done=1), 12.0))
        run.engine.say_finished(lens_result(HERO), job=background)
        await run.settle()
        assert 'at " is" · Paris against L' in run.text
        assert "stale" not in run.text


async def test_a_lens_that_began_before_an_edit_is_asked_again_when_its_rest_ends() -> None:
    async with running((160, 48), case=HERO) as run:
        run.engine.say_started()
        run.engine.say_progress(1, 5, lens_result(HERO, done=1))
        background = len(run.engine.asked)
        edit = EditRequest(case=HERO)
        run.main._submit(edit)
        run.engine.say_finished(rome_result())
        await run.settle()
        assert run.engine.last == edit, "the lens is still under way"
        run.engine.edits = ()
        run.engine.say_finished(lens_result(HERO, done=1), status="partial", job=background)
        await run.until(lambda: run.engine.last == LensRequest(case=HERO))
        edited = active_edits(rome_result().queue)
        run.engine.edits = edited
        run.engine.say_started()
        run.engine.say_finished(lens_result(HERO))
        await run.until(lambda: "with 1 edit: " in run.text)
        assert "without edits: " in run.text, "what the lens had read before the edit is enough to compare with"


async def test_a_failed_step_says_why_in_the_pane_and_keeps_what_was_typed() -> None:
    async with running((100, 30)) as run:
        await run.type("words")
        await run.pilot.press("tab", *"other", "enter")
        await run.settle()
        sentence = 'the subject "other" is not in the prompt; its words are: words'
        run.engine.say_finished(None, status="failed", error=StepError(kind="InputError", message=sentence))
        await run.settle()
        assert "is not in the prompt" in run.text
        assert run.main.prompt.edited() == Case(prompt="words", subject="other")


async def test_every_finished_step_is_in_the_session_file(tmp_path: Path) -> None:
    async with running(recording=SessionFile(tmp_path / "s.json")) as run:
        await ask_hero(run)
        session = load_session(tmp_path / "s.json")
        assert session.model == MODEL
        assert [step.request for step in session.steps] == [LensRequest(case=HERO)]


async def test_a_continued_session_shows_what_it_holds(tmp_path: Path) -> None:
    async with running(recording=SessionFile(tmp_path / "s.json")) as run:
        await ask_hero(run)
    async with running((160, 48), recording=SessionFile.open(tmp_path / "s.json")) as run:
        assert run.main.prompt.edited() == HERO
        assert "Canberra against Sydney" in run.text
        assert len(run.engine.asked) == 1


async def test_a_session_of_another_model_is_left_alone_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    async with running(recording=SessionFile(path)) as run:
        await ask_hero(run)
    before = path.read_text().replace(MODEL.fingerprint, "f" * 16)
    path.write_text(before)
    async with running(recording=SessionFile.open(path)) as run:
        await ask_hero(run)
        assert run.main.status.session != path
    assert path.read_text() == before


async def test_g_lets_the_model_go_on_and_capital_g_keeps_it() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await run.pilot.press("g")
        await run.settle()
        assert run.engine.last == ContinueRequest(case=HERO)
        run.engine.say_finished(continuation())
        await run.settle()
        assert "is Sydney" in run.text
        await run.pilot.press("G")
        await run.settle()
        last = run.engine.last
        assert isinstance(last, LensRequest)
        assert last.case.prompt == HERO.prompt + continuation().text


async def test_ctrl_t_changes_what_is_prepended_and_asks_again() -> None:
    async with running((100, 30)) as run:
        await ask_hero(run)
        await run.pilot.press("p", "ctrl+t")
        await run.settle()
        assert run.engine.last == LensRequest(case=HERO.model_copy(update={"prepend": "separator"}), first=None)
        assert "prepended BOS or separator" in run.text


async def test_up_walks_the_history_and_down_comes_back_to_what_was_being_typed() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("p")
        run.main.prompt.put(Case(prompt="half a thou"))
        await run.pilot.press("up")
        await run.settle()
        assert run.main.prompt.edited() == HERO
        await run.pilot.press("down")
        await run.settle()
        assert run.main.prompt.edited() == Case(prompt="half a thou")


async def test_what_was_typed_and_not_asked_is_there_the_next_time(own_home: Path) -> None:
    async with running() as run:
        await run.type("never asked")
        await run.pilot.press("ctrl+c", "ctrl+c")
        await run.settle()
    assert load_history(own_home / "history.jsonl") == [Case(prompt="never asked")]


async def test_recent_sessions_are_offered_at_the_start_and_one_can_be_opened() -> None:
    async with running() as run:
        await ask_hero(run)
        path = run.main.status.session
    async with running() as run:
        await run.until(lambda: "Recent sessions" in run.text)
        assert "The capital of Australia is · 1 step · tiny" in run.text
        await run.pilot.press("down", "end", "enter")
        await run.settle()
        assert run.main.status.session == path
        assert run.main.prompt.edited() == HERO
        assert "Recent sessions" not in run.text


@pytest.mark.parametrize("size", [(60, 20), (160, 48)])
async def test_the_start_says_what_the_program_is_for_and_a_sample_is_asked_about_by_two_keys(
    size: tuple[int, int],
) -> None:
    async with running(size) as run:
        assert PURPOSE in run.text
        assert all(sample.title in run.text for sample in SAMPLES)
        assert "Recent sessions" not in run.text
        await run.pilot.press("down", "enter")
        await run.settle()
        assert run.engine.last == LensRequest(case=SAMPLES[0].case)
        assert run.main.prompt.edited() == SAMPLES[0].case
        assert PURPOSE not in run.text


async def test_a_pane_that_is_asked_for_takes_the_place_of_the_start() -> None:
    async with running() as run:
        await run.pilot.press("escape", "4")
        assert "No causal trace yet" in run.text
        assert PURPOSE not in run.text


async def test_a_session_can_be_opened_by_its_path_and_a_bad_one_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    async with running((100, 30)) as run:
        await run.pilot.press("ctrl+o")
        assert isinstance(run.app.screen, SessionsScreen)
        await run.pilot.press(*str(tmp_path / "bad.json"), "enter")
        await run.settle()
        assert "not a complete session file" in run.notified


async def test_a_model_is_chosen_and_loaded() -> None:
    async with running((100, 30)) as run:
        await run.pilot.press("ctrl+l")
        assert "smollm2-135m" in run.text
        await run.pilot.press("enter")
        await run.settle()
        assert run.engine.last == LoadRequest(model="smollm2-135m")


async def test_a_step_that_could_not_be_saved_is_said(tmp_path: Path) -> None:
    async with running((100, 30), case=HERO) as run:
        run.engine.say_finished(lens_result(HERO), unsaved="the session could not be saved: no space left")
        await run.settle()
        assert "no space left" in run.notified


@pytest.mark.parametrize("size", [(39, 24), (80, 11), (20, 5)])
async def test_a_terminal_that_is_too_small_says_so(size: tuple[int, int]) -> None:
    async with running(size, case=HERO) as run:
        assert "too small" in " ".join(run.text.split())


@pytest.mark.parametrize("size", [(40, 12), (50, 24), (80, 24), (125, 40), (160, 48), (200, 24)])
async def test_prompt_and_lens_are_in_view_at_every_size(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_hero(run)
        assert "The capital of Australia" in run.text
        assert "layer" in run.text
        assert "▸" in run.text


async def test_escape_sequences_markup_and_emoji_are_shown_and_do_no_harm() -> None:
    async with running((120, 30)) as run:
        run.main.prompt.put(NASTY)
        run.main.prompt.focus_content()
        await run.pilot.press("enter")
        await run.settle()
        run.engine.say_finished(recorded(LensRequest(case=NASTY, positions=(2,)), LensResult))
        await run.settle()
        assert "[red]not" in run.text
        assert run.engine.last == LensRequest(case=run.main.prompt.edited())


async def test_an_empty_field_is_no_subject() -> None:
    async with running() as run:
        run.main.prompt.query_one("#subject", CaseField).value = ""
        assert run.main.prompt.edited() == Case(prompt="")


async def test_a_step_of_the_cursor_paints_a_few_rows_and_not_the_screen() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await run.settle()
        painted: list[int] = []
        compositor = run.app.screen._compositor
        render = compositor.render_update

        def counting(*arguments: Any, **options: Any) -> Any:
            painted.append(sum(region.area for region in compositor._dirty_regions))
            return render(*arguments, **options)

        compositor.render_update = counting  # type: ignore[method-assign]
        await run.pilot.press("j", "j")
        await run.settle()
        assert run.main.cursor == Cursor(layer=MODEL.layers - 3, token=4)
        assert painted
        assert max(painted) < 160 * 48 / 2


async def test_the_last_session_is_continued_in_its_pane_and_at_its_cursor(tmp_path: Path) -> None:
    async with running((160, 48), recording=SessionFile.open(tmp_path / "s.json")) as run:
        await ask_hero(run)
        await run.pilot.press("k", "k", "h", "t")
        await run.settle()
        left = run.main.cursor, run.main.active
    path, place = last_session()
    assert (path, place.pane if place else "") == (tmp_path / "s.json", "Causal trace")
    async with running((160, 48), recording=SessionFile.open(path), place=place) as run:
        assert (run.main.cursor, run.main.active) == left
        assert run.main.others[run.main.active - 2].has_focus_within


async def test_the_cursor_is_not_put_into_a_session_that_has_gone_on_without_it(tmp_path: Path) -> None:
    async with running(recording=SessionFile.open(tmp_path / "s.json")) as run:
        await ask_hero(run)
    place = LastPlace(session=str(tmp_path / "s.json"), steps=7, pane="Logit lens", layer=3, token=99)
    async with running(recording=SessionFile.open(tmp_path / "s.json"), place=place) as run:
        assert run.main.cursor != Cursor(3, 99)


async def test_an_interrupted_step_is_offered_again(tmp_path: Path) -> None:
    async with running(recording=SessionFile.open(tmp_path / "s.json")) as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.until(lambda: run.engine.last.kind == "trace")
        run.engine.say_finished(None, "cancelled")
        await run.settle()
    async with running(recording=SessionFile.open(tmp_path / "s.json")) as run:
        assert "interrupted: Causal trace. Press t to run it again" in run.notified
    async with running() as run:
        assert "interrupted" not in run.notified


async def test_a_session_that_another_program_records_is_gone_on_with_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    async with running(recording=SessionFile.open(path)) as run:
        await ask_hero(run)
    other = SessionFile.open(path, "a command line")
    async with running((120, 40), recording=SessionFile.open_or_beside(path, "the app")) as run:
        assert "is being recorded by a command line (process" in run.notified
        assert run.main.status.session == tmp_path / "s-2.json"
        run.main._open_session(path)  # the same in a program that runs already
        assert run.main.status.session == tmp_path / "s-2.json"
        await ask_hero(run)
    other.close()
    assert [len(load_session(file).steps) for file in (path, tmp_path / "s-2.json")] == [1, 2]


async def test_a_step_that_was_rolled_back_takes_its_edit_from_the_screen_and_offers_it_to_redo() -> None:
    entry = QueuedEdit(info=EditInfo(id="0123abcd", method="rome", title="L5 x → y", layers=(5,)), on=True)
    async with running((120, 40)) as run:
        await ask_hero(run)
        run.main.queue = QueueState(entries=(entry,))
        run.engine.asked.append(EditRequest(case=HERO, settings=RomeSettings(layer=5)))
        run.engine.say_finished(None, "cancelled", queue=QueueState(can_redo=True))
        await run.settle()
        assert run.main.queue == QueueState(can_redo=True)
