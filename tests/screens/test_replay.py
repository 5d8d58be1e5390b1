"""A recorded session, looked at step by step: what the screen showed then, and nothing that came later."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from screens.messages import Cursor
from screens.replay import ReplayApp, ReplayScreen
from screens.widgets.prompt_fields import CaseField
from tests.screens.asked import BARE as HERO
from tests.screens.asked import OTHER
from tests.screens.recorded import MODEL, STARTED, continuation, lens_result, recorded
from workbench.case import Case
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.protocol import Request, Result
from workbench.session import SessionFile, Status, Step, StepError, load_session

REFUSED = Case(prompt="The largest city there is", subject="Perth")
SENTENCE = 'the subject "Perth" is not in the prompt; choose among its words'

MORE = LensRequest(case=HERO, first=4, positions=(4,), top_k=20)

# Request, status, result, error: one step each.
STORY: tuple[tuple[Request, Status, Result | None, StepError | None], ...] = (
    (LensRequest(case=HERO), "done", lens_result(HERO), None),
    (MORE, "done", recorded(MORE, LensResult), None),
    (ContinueRequest(case=HERO), "done", continuation(HERO), None),
    (LensRequest(case=REFUSED), "failed", None, StepError(kind="InputError", message=SENTENCE)),
    (LensRequest(case=OTHER), "partial", lens_result(OTHER, done=1), None),
    (LensRequest(case=OTHER), "cancelled", None, None),
)


class Replayed:
    """A replay under test."""

    def __init__(self, app: ReplayApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def main(self) -> ReplayScreen:
        return self.app._screen

    @property
    def lens(self) -> Any:
        return self.main.others[0]

    @property
    def text(self) -> str:
        """What the screen shows, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line) for line in strips)

    @property
    def words(self) -> str:
        """What the screen shows, without frames and line breaks."""
        return " ".join(self.text.replace("│", " ").split())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def replaying(file: Path, size: tuple[int, int] = (160, 48)) -> AsyncIterator[Replayed]:
    app = ReplayApp(load_session(file), file)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Replayed(app, pilot)


def record(file: Path, *story: tuple[Request, Status, Result | None, StepError | None]) -> Path:
    recording = SessionFile(file)
    recording.use_model(MODEL)
    for number, (request, status, result, error) in enumerate(story):
        recording.append(
            Step(
                started=STARTED + timedelta(minutes=number),
                seconds=0.2,
                status=status,
                request=request,
                result=result,
                error=error,
            )
        )
    return file


@pytest.fixture
def story(tmp_path: Path) -> Path:
    return record(tmp_path / "story.json", *STORY)


async def test_it_begins_at_the_end_with_the_keyboard_in_the_picture(story: Path) -> None:
    async with replaying(story) as run:
        assert "step 6/6 lens · cancelled" in run.text
        assert "tiny · cpu · float32" in run.text
        assert "story.json" in run.text
        assert run.lens.has_focus_within


async def test_brackets_step_and_braces_go_to_the_ends(story: Path) -> None:
    async with replaying(story) as run:
        for key, place in (("[", 5), ("[", 4), ("]", 5), ("{", 1), ("[", 1), ("]", 2), ("}", 6), ("]", 6)):
            await run.press(
                {
                    "[": "left_square_bracket",
                    "]": "right_square_bracket",
                    "{": "left_curly_bracket",
                    "}": "right_curly_bracket",
                }[key]
            )
            assert f"step {place}/6 " in run.text


async def at(run: Replayed, place: int) -> None:
    """Go to a step, counted from 1, as a person does."""
    await run.press("left_curly_bracket", *["right_square_bracket"] * (place - 1))
    assert f"step {place}/{len(STORY)} " in run.text


async def test_the_first_step_shows_its_lens_and_nothing_of_what_came_later(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 1)
        assert "Canberra against Sydney" in run.text
        assert "▸" in run.text
        assert "lens parity" in run.text
        assert f"{HERO.prompt} Sydney. " not in run.words
        assert "Perth" not in run.text
        assert run.main.prompt.edited() == HERO


async def test_the_columns_of_a_detail_do_not_take_the_place_of_the_picture(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 2)
        assert "Canberra against Sydney" in run.text
        assert "▸" in run.text


async def test_a_continuation_is_shown_beside_the_lens_of_its_prompt(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 3)
        assert "The capital of Australia is Sydney" in run.words
        assert "Canberra against Sydney" in run.text


async def test_a_failed_step_says_why_and_the_picture_before_it_is_marked_stale(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 4)
        assert "step 4/6 lens · failed" in run.text
        assert "is not in the prompt" in run.words
        assert "stale" in run.text
        assert run.main.prompt.edited() == REFUSED


async def test_a_partial_step_shows_what_was_found_and_how_much_that_is(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 5)
        assert "step 5/6 lens · partial" in run.text
        assert f"partial: 1 of {len(lens_result(OTHER, done=1).columns)} tokens" in run.text
        assert "Sydney against Canberra" in run.text
        assert run.main.prompt.edited() == OTHER


async def test_a_cancelled_step_leaves_what_was_found_before_it(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 6)
        assert "cancelled · stale" in run.text
        assert "Sydney against Canberra" in run.text


async def test_a_session_of_failures_only_shows_them_where_the_picture_would_be(tmp_path: Path) -> None:
    async with replaying(record(tmp_path / "s.json", STORY[3])) as run:
        assert "step 1/1 lens · failed" in run.text
        assert run.words.count("is not in the prompt") >= 1
        assert "▸" not in run.text


async def test_the_picture_can_be_walked_and_looked_into(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 3)
        await run.press("j", "h")
        assert run.main.cursor == Cursor(layer=MODEL.layers - 2, token=3)
        await run.press("v")
        assert run.lens.view == "grid"
        await run.press("enter")
        assert "layer 4 · token 3" in run.text
        assert "there is no model here to ask for more" in run.words
        await run.press("escape")
        assert run.app.screen is run.main


async def test_view_and_cursor_stay_from_step_to_step(story: Path) -> None:
    async with replaying(story) as run:
        await at(run, 1)
        await run.press("v", "j", "h")
        await run.press("right_square_bracket", "left_square_bracket")
        assert run.lens.view == "grid"
        assert run.main.cursor == Cursor(layer=MODEL.layers - 2, token=3)


async def test_asking_says_that_it_is_a_replay(story: Path) -> None:
    async with replaying(story) as run:
        run.main.asking.ask_about(HERO)
        await run.press()
        (notified,) = [notification.message for notification in run.app._notifications]
        assert "This is a replay" in notified
        assert "--session" in notified


async def test_what_was_recorded_cannot_be_edited(story: Path) -> None:
    async with replaying(story) as run:
        before = run.main.prompt.edited()
        await run.press("p", "x", "y", "ctrl+t", "ctrl+r")
        assert run.main.prompt.edited() == before
        assert all(field.disabled for field in run.main.prompt.query(CaseField))
        content = story.read_bytes()
        await run.press("2", "g", "G", "enter")
        assert story.read_bytes() == content


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (125, 40), (200, 24)])
async def test_the_step_line_is_in_view_at_every_size(story: Path, size: tuple[int, int]) -> None:
    async with replaying(story, size) as run:
        assert "step 6/6" in run.text
        await run.press("left_square_bracket")
        assert "step 5/6" in run.text


async def test_q_leaves(story: Path) -> None:
    async with replaying(story) as run:
        await run.press("q")
    assert run.app.return_code == 0


async def test_no_model_is_needed(story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "transformers", "nnsight"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError from here on
    async with replaying(story) as run:
        for place in range(1, len(STORY) + 1):
            await at(run, place)
        await run.press("v", "m", "v", "enter", "escape")


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_nothing_says_how_to_ask_and_no_key_does(story: Path, size: tuple[int, int]) -> None:
    async with replaying(story, size) as run:
        for place in range(1, len(STORY) + 1):
            await at(run, place)
            for pane in "234":
                await run.press(pane)
                assert "no lens yet" not in run.words.lower()
                assert not any(said in run.words for said in ("press enter", "Press", "press a", "to ask again", "^t"))
            assert not {"a", "t", "g", "G"} & set(run.main.active_bindings)
            assert {"2", "p", "left_square_bracket"} <= set(run.main.active_bindings)


async def test_the_first_of_two_cases_has_nothing_of_the_second_in_the_prompt(tmp_path: Path) -> None:
    failed = (LensRequest(case=REFUSED), "failed", None, StepError(kind="InputError", message=SENTENCE))
    async with replaying(record(tmp_path / "s.json", failed, STORY[2])) as run:
        assert "The capital of Australia is Sydney" in run.words
        await run.press("left_square_bracket")
        assert "is not in the prompt" in run.words
        assert "Sydney" not in run.text
        assert "5 tokens" not in run.text
        await run.press("right_square_bracket")
        assert not run.main.prompt.query_one("#error").display


@pytest.mark.parametrize(("size", "whole"), [((80, 24), False), ((160, 48), True)])
async def test_notes_take_one_row_where_it_is_narrow(tmp_path: Path, size: tuple[int, int], whole: bool) -> None:
    notes = tuple(f"A space is put before the {name}." for name in ("target [Canberra]", "foil [Sydney]", "end"))
    lens = lens_result(HERO)
    noted = lens.model_copy(update={"encoded": lens.encoded.model_copy(update={"notes": notes})})
    async with replaying(record(tmp_path / "s.json", (LensRequest(case=HERO), "done", noted, None)), size) as run:
        await run.press("1")
        shown = run.main.prompt.query_one("#notes")
        assert str(shown.tooltip) == " ".join(notes)
        assert "A space is put before the target [Canberra]." in run.words
        assert ("before the end." in run.words) == whole
        assert shown.size.height == (2 if whole else 1)
        assert ("foil… │" in run.text) != whole
