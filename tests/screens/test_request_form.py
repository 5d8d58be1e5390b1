"""The form of a request's settings in the pane of a method that has nothing but figures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from screens.widgets.choice_field import ChoiceField
from screens.widgets.request_form import RequestForm
from tests.methods.patching.test_second_prompts import BERLIN
from tests.screens.test_app import HERO, ask_hero, running
from tests.screens.test_figure_pane import Toy, toy
from tests.waiting import until
from workbench.case import Case
from workbench.methods.patching.patching import PatchRequest
from workbench.protocol import Request
from workbench.settings import PROMPT


class AskedRequest(Request):
    """A question that needs another prompt."""

    kind: Literal["asked"] = "asked"
    case: Case
    source: Annotated[str, PROMPT, Field(description="Another prompt.")]
    strength: Annotated[float, Field(gt=0, description="How strong.")] = 1.0


ASKED = Toy(request=AskedRequest)


FRANCE = "The capital of France is"
"""What is proposed beside the hero case."""


async def test_where_something_must_be_typed_a_form_opens_that_begins_with_a_prompt_like_the_one_on_screen() -> None:
    async with toy(ASKED) as (app, pilot):
        app.pane.ask()
        await until(pilot, lambda: isinstance(app.focused, ChoiceField))
        assert app.focused is not None
        assert (app.focused.id, app.pane.query_one("#source", ChoiceField).value) == ("source", FRANCE)
        assert app.asked == []
        await pilot.press("end", "!", "enter")
        await until(pilot, lambda: app.asked == [AskedRequest(case=HERO, source=f"{FRANCE}!")])
        await until(pilot, lambda: not isinstance(app.focused, ChoiceField))
        assert not app.pane.query_one(RequestForm).display


async def test_asked_again_it_asks_the_same_until_the_prompt_is_another() -> None:
    another = Case(prompt="Another")
    async with toy(ASKED) as (app, pilot):
        app.pane.ask()
        await until(pilot, lambda: isinstance(app.focused, ChoiceField))
        await pilot.press("end", "!", "enter")
        await until(pilot, lambda: len(app.asked) == 1)
        app.pane.ask()
        await until(pilot, lambda: len(app.asked) == 2)
        assert app.asked[0] == app.asked[1]
        app.pane.case_on_screen = lambda: another
        app.pane.ask()
        await until(pilot, lambda: "the prompt has changed; look this over" in app.text)
        assert len(app.asked) == 2
        await pilot.press("enter")
        await until(pilot, lambda: app.asked[2:] == [AskedRequest(case=another, source=f"{FRANCE}!")])


async def test_the_form_says_what_is_wrong_and_keeps_what_was_typed_when_it_is_left() -> None:
    async with toy(ASKED) as (app, pilot):
        app.pane.focus()
        app.pane.action_new()
        await until(pilot, lambda: isinstance(app.focused, ChoiceField))
        app.pane.query_one("#strength", ChoiceField).value = "−1"
        await pilot.press("enter")
        await until(pilot, lambda: "✗ strength: it must be above 0, not '-1'" in app.text)
        assert RequestForm.HINT in app.text, "the keys are said too"
        assert app.asked == []
        await pilot.press("escape")
        await until(pilot, lambda: not app.pane.query_one(RequestForm).display)
        assert app.pane.query_one("#strength", ChoiceField).value == "−1"
        app.pane.action_new()
        app.pane.query_one("#strength", ChoiceField).value = "2"
        app.pane.query_one(RequestForm).submit()
        await until(pilot, lambda: app.asked == [AskedRequest(case=HERO, source=FRANCE, strength=2)])


async def test_another_prompt_that_was_proposed_gives_way_to_one_for_another_case_and_what_was_typed_does_not() -> None:
    async with toy(ASKED) as (app, pilot):
        app.pane.ask()
        await until(pilot, lambda: isinstance(app.focused, ChoiceField))
        field = app.pane.query_one("#source", ChoiceField)
        await pilot.press("up")
        assert field.value == HERO.prompt, "to be changed"
        await pilot.press("down")
        assert field.value == FRANCE
        app.pane.case_on_screen = lambda: BERLIN
        app.pane.ask()
        await until(pilot, lambda: field.value.startswith("Simon lives in Lisbon. Laura lives in Berlin."))
        app.pane.case_on_screen = lambda: Case(prompt="Another")
        app.pane.ask()
        await until(pilot, lambda: field.value == "")
        assert "another prompt; ↓ puts this one here" in app.text
        await pilot.press("down")
        assert field.value == "Another"
        app.pane.case_on_screen = lambda: HERO
        app.pane.ask()
        await pilot.pause()
        assert field.value == "Another"


async def test_in_a_replay_and_without_settings_there_is_no_form() -> None:
    async with toy(ASKED) as (app, _):
        app.pane.live = False
        assert not app.pane.check_action("new", ())
    async with toy() as (app, _):
        assert not app.pane.check_action("new", ())
        assert not app.pane.query(RequestForm)


async def test_in_the_app_t_opens_the_form_of_patching_and_asks_with_a_second_prompt() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("T")
        await run.until(lambda: run.app.focused is not None and run.app.focused.id == "source")
        await run.pilot.press("end", "!", "enter")
        await run.until(lambda: isinstance(run.engine.last, PatchRequest))
        assert run.engine.last == PatchRequest(case=HERO, source=f"{FRANCE}!", position=4)
        await run.pilot.press("n")
        await run.until(lambda: run.app.focused is not None and run.app.focused.id == "source")
