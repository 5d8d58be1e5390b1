"""Two steps of a session side by side: which ones, and what is seen of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens.side_by_side import SideBySideScreen, side_by_side
from screens.widgets.figure import FigureView
from tests.screens.asked import HERO
from tests.screens.recorded import lens_result
from tests.screens.test_replay import STORY, record, replaying
from tests.waiting import until
from workbench.figures import Heatmap
from workbench.methods.lens.logit_lens import LensRequest
from workbench.session import Session, Step, load_session


def places(screen: SideBySideScreen | None) -> tuple[int, int]:
    assert screen is not None
    return screen._steps[screen._first].id, screen._steps[screen._second].id


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Lenses are steps 1, 2 and 5; 3 goes on, 4 and 6 found nothing."""
    return load_session(record(tmp_path / "story.json", *STORY))


def test_a_step_stands_beside_the_one_before_it_of_the_same_method(session: Session) -> None:
    def beside(step: Step) -> SideBySideScreen | None:
        return side_by_side(session, step)

    first, second, continued, failed, partial, _ = session.steps
    assert places(beside(second)) == (1, 2)
    assert places(beside(partial)) == (2, 5)
    assert places(beside(first)) == (2, 1)  # there is none before it
    assert beside(continued) is None  # it is the only one of its kind
    assert beside(failed) is None


def test_either_can_be_another_one_but_never_both_the_same(session: Session) -> None:
    screen = side_by_side(session, session.steps[4])
    assert screen is not None
    assert [screen._next(place, by, other) for place, by, other in ((1, -1, 2), (1, 1, 2), (0, 1, 1), (2, -1, 1))] == [
        0, 1, 2, 0,
    ]  # fmt: skip


async def test_y_shows_the_differences_and_brackets_choose_other_steps(tmp_path: Path) -> None:
    plain, edited = ((LensRequest(case=HERO), "done", lens_result(HERO, edits=n), None) for n in (0, 1))
    async with replaying(record(tmp_path / "story.json", plain, STORY[1], edited), (120, 30)) as run:
        await run.pilot.press("right_curly_bracket", "vertical_line")
        await until(run.pilot, lambda: "Step 3 against step 2 · Logit lens" in run.text)
        screen = run.app.screen
        assert isinstance(screen, SideBySideScreen)
        await run.pilot.press("left_square_bracket")
        await until(run.pilot, lambda: "Step 3 against step 1 · Logit lens" in run.text)
        pictures = [box.figure for box in screen.query_one(FigureView).boxes if isinstance(box.figure, Heatmap)]
        assert [(each.title.split(" · ")[-1], each.scale.ramp) for each in pictures] == [("second − first", "signed")]
        assert "the largest difference is" in " ".join(run.text.split())
        await run.pilot.press("vertical_line")
        await until(run.pilot, lambda: run.app.screen is run.main)
