"""The pane of fixes: what it says of a fix that was applied."""

from __future__ import annotations

from typing import Any

from screens.panes.fixes import FixPane
from tests.screens.test_app import HERO
from workbench.editing.fix import FixRequest, FixResult
from workbench.editing.fix_candidates import FixCandidate
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState

STEER = EditInfo(id="aaaaaaaa", method="steering", title="L20", layers=(20,))
OTHER = EditInfo(id="bbbbbbbb", method="rome", title="L5", layers=(5,))
PREPENDED = HERO.model_copy(update={"prepend": "separator"})


def showing(on: tuple[EditInfo, ...] = (), on_screen: Any = HERO, recommended: int = 0) -> FixPane:
    """A pane, not mounted, that has tried steering and another prompt without edits."""
    candidates = (
        FixCandidate.model_construct(name="steering", title="Steering", edit=STEER, case=None),
        FixCandidate.model_construct(name="prompt", title="separator prepended", edit=None, case=PREPENDED),
    )
    result = FixResult.model_construct(case=HERO, candidates=candidates, recommended=recommended)
    pane = FixPane()
    pane.take(FixRequest.model_construct(case=HERO), result, ())
    pane.set_reactive(FixPane.queue, QueueState(entries=tuple(QueuedEdit(info=info, on=True) for info in on)))
    pane.set_reactive(FixPane.on_screen, on_screen)
    return pane


def test_a_fix_that_was_applied_is_said_to_be_on_and_makes_nothing_stale() -> None:
    assert str(showing().legend()).startswith("enter: Steering into the queue of edits")
    applied = showing(on=(STEER,))
    assert str(applied.legend()) == "Steering is on · space: off · m: the next · b: before/after"
    assert not applied.out_of_date
    assert showing(on=(STEER, OTHER)).out_of_date
    assert showing(on=(OTHER,)).out_of_date


def test_a_prompt_that_was_put_is_said_to_be_there_and_makes_nothing_stale() -> None:
    assert str(showing(recommended=1).legend()) == "enter: separator prepended into the prompt · m: the next"
    applied = showing(on_screen=PREPENDED, recommended=1)
    assert str(applied.legend()) == "separator prepended is in the prompt · m: the next"
    assert not applied.of_another_case
    assert showing(on_screen=HERO.model_copy(update={"prompt": "Another"})).of_another_case
