"""One key, one meaning: the table of keys against everything that takes the keyboard on the main screen."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict

import pytest
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import ModalScreen
from textual.widgets import Input, TextArea

import screens
from screens.base import BaseApp
from screens.keys import GLOBAL, Key, of_methods
from screens.live import LiveScreen
from screens.main import MainScreen
from screens.panes import PANES
from screens.replay import ReplayScreen
from tests.screens.test_app import ask_hero, running
from workbench.registry import methods

OF_METHODS = of_methods()
OWNERS: dict[str, str] = {key: meaning for meaning in Key for key in meaning.each} | {key: key for key in OF_METHODS}
MAIN = (BaseApp, MainScreen, LiveScreen, ReplayScreen)
MOVING = (Key.MOVE, Key.CHOOSE, Key.PANES)
"""Whose action is the widget's own: to move in it, and to open what is under its cursor."""


def keys_of(owner: type[DOMNode]) -> list[tuple[str, Binding]]:
    """Every key that a class binds itself, with its binding."""
    declared = [each if isinstance(each, Binding) else Binding(*each) for each in owner.__dict__.get("BINDINGS", ())]
    return [(key.strip(), binding) for binding in declared for key in binding.key.split(",")]


def on_main_screen() -> list[type[DOMNode]]:
    """Every class of ours that binds keys there: not the dialogs, and not the fields, where keys are typed."""
    for module in pkgutil.walk_packages(screens.__path__, "screens."):
        importlib.import_module(module.name)
    found, waiting = set(), [DOMNode]
    while waiting:
        some = waiting.pop().__subclasses__()
        waiting += some
        found.update(some)
    ours = [owner for owner in found if owner.__module__.startswith("screens.") and keys_of(owner)]
    return sorted((o for o in ours if not issubclass(o, ModalScreen | Input | TextArea)), key=lambda o: o.__name__)


def test_no_key_stands_in_the_table_twice() -> None:
    keys = [key for meaning in Key for key in meaning.each] + [each.key for each in methods() if each.key]
    assert len(keys) == len(set(keys))
    assert all(meaning.meaning for meaning in Key)
    assert set(OF_METHODS) <= set(keys)


@pytest.mark.parametrize("owner", [o for o in on_main_screen() if o not in MAIN], ids=lambda owner: owner.__name__)
def test_no_pane_takes_a_key_of_the_main_screen(owner: type[DOMNode]) -> None:
    everywhere = {key for meaning in GLOBAL for key in meaning.each} - {*Key.PREPEND.each, *Key.CHAT.each} | {
        *OF_METHODS
    }
    assert {key for key, _ in keys_of(owner)}.isdisjoint(everywhere)


@pytest.mark.parametrize("owner", on_main_screen(), ids=lambda owner: owner.__name__)
def test_every_key_on_the_main_screen_is_in_the_table(owner: type[DOMNode]) -> None:
    assert {key for key, _ in keys_of(owner)} - OWNERS.keys() <= {"ctrl+c"}  # which is not shown: twice, it quits


def test_a_key_does_the_same_kind_of_thing_in_all_panes() -> None:
    actions = defaultdict(set)
    for owner in on_main_screen():
        for key, binding in keys_of(owner):
            if (meaning := OWNERS.get(key)) is not None and meaning not in MOVING:
                actions[meaning].add(binding.action.partition("(")[0])
    assert {meaning.name: some for meaning, some in actions.items() if len(some) > 1} == {}
    assert actions[Key.VIEW] == {"view"}
    assert actions[Key.NEXT] == {"next"}


def test_every_pane_is_asked_by_a_key_of_the_main_screen() -> None:
    asked = [pane.ASK_KEY for pane in PANES if pane.ASK_KEY]
    assert len(set(asked)) == len(asked)
    assert set(asked) <= {*GLOBAL, *OF_METHODS}
    assert {*OF_METHODS} <= set(asked)


@pytest.mark.parametrize("number", range(2, len(PANES) + 2))
async def test_what_works_on_the_main_screen_works_in_every_pane(number: int) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press(str(number))
        await run.settle()
        active = run.app.screen.active_bindings
        for meaning in GLOBAL:
            for key in set(meaning.each) & active.keys():
                if meaning not in (Key.PREPEND, Key.CHAT):
                    assert isinstance(active[key].node, MAIN), key
        for key in (*"aterzgGbpq", *OF_METHODS):
            assert isinstance(active[key].node, MAIN), key


async def test_a_pane_that_no_number_is_left_for_is_reached_as_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("screens.main.PANES", (*PANES, *PANES)[:10])
    async with running() as run:
        await ask_hero(run)
        for number in range(2, 10):
            assert run.main.active == number
            await run.pilot.press("0")
            await run.settle()
        assert (run.main.active, run.main.panes[9].has_focus_within) == (10, True)
        assert run.main.panes[9].has_class("-active")
        assert str(run.main.panes[9].border_title).startswith(run.main.panes[9].TITLE)
        assert f"9 {run.main.panes[8].TITLE}  {run.main.panes[9].TITLE}" in run.text
        await run.pilot.press("0", "0")
        await run.settle()
        assert run.main.active == 2


def test_no_pane_is_bound_to_a_key_that_is_none() -> None:
    bound = [key for key, binding in keys_of(MainScreen) if binding.action.startswith("pane(") and key.isdigit()]
    assert bound == list(Key.PANES.each)[: 1 + len(PANES)]
