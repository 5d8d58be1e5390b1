"""Every pilot waits until its app has nothing left to do; what no test looks at, or all have, is done once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from textual.app import App
from textual.css.model import RuleSet
from textual.css.styles import RulesMap
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from tests import waiting

PAINT_AT_ONCE = ("test_monkey", "test_painted", "test_room")
"""Files whose tests find out what is not ready to be painted yet, or look at what is painted."""


@pytest.fixture(autouse=True)
def pilots_wait_until_quiet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of until the processor idles; and nothing moves slowly."""
    monkeypatch.setattr("textual.pilot.wait_for_idle", waiting.until_quiet)
    monkeypatch.setattr("textual.app.wait_for_idle", waiting.until_done)
    # Textual's calls back from every widget, at every key and every pause, which is most of what a key costs.
    monkeypatch.setattr(Pilot, "_wait_for_screen", lambda pilot, timeout=waiting.LONG: waiting.until_done(0, timeout))
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none")
    if request.path.stem not in PAINT_AT_ONCE:
        monkeypatch.setattr(Screen, "_compositor_refresh", waiting.paint_once)


@pytest.fixture(scope="session", autouse=True)
def styles_parsed_once() -> Iterator[None]:
    """All apps have the same stylesheets, and one lasts as long as its test. Strips of it need no bounded caches."""
    parse, parsed = Stylesheet._parse_rules, dict[Any, list[RuleSet]]()

    def known(sheet: Stylesheet, css: str, **asked: Any) -> list[RuleSet]:
        here = css, *asked.values()
        if here not in sheet._parse_cache:
            everywhere = *here, *sheet._variables.items()
            if everywhere not in parsed:
                parsed[everywhere] = parse(sheet, css, **asked)
            sheet._parse_cache[here] = parsed[everywhere]
        return sheet._parse_cache[here]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Stylesheet, "_parse_rules", known)
        patched.setattr("textual.strip.FIFOCache", lambda _size: {})
        yield


class Styled:
    """The styles of a node, as they are in all apps. In place of what Textual remembers of those beside it.

    They depend on the rules, and on what rules can name of the node and of what it is in.
    """

    known: ClassVar[dict[tuple[object, ...], RulesMap]] = {}
    numbers: ClassVar[dict[tuple[int, ...], int]] = {}

    def __init__(self, sheet: Stylesheet, node: DOMNode) -> None:
        self._sheet, self._node = sheet, node

    def get(self, _asked: tuple[object, ...]) -> RulesMap | None:
        """What is known of it, if anything."""
        named = [(type(node), node._id, node.classes, _state(node)) for node in self._node.css_path_nodes]
        self._key = self._number_of(self._sheet.rules), *named
        return self.known.get(self._key)

    def __setitem__(self, _asked: tuple[object, ...], rules: RulesMap) -> None:
        self.known[self._key] = rules

    def _number_of(self, rules: list[RuleSet]) -> int:
        known, number = getattr(self._sheet, "numbered", (None, 0))
        if rules is not known:
            number = self.numbers.setdefault(tuple(map(id, rules)), len(self.numbers))
            self._sheet.numbered = rules, number  # type: ignore[attr-defined]
        return number


def _state(node: DOMNode) -> object:
    if isinstance(node, Widget):
        return node.mouse_hover, node.has_focus, node.disabled, node.can_focus
    return frozenset(node.get_pseudo_classes()) if isinstance(node, App) else None


@pytest.fixture(scope="session", autouse=True)
def styled_once() -> Iterator[None]:
    """What styles a widget gets is found out once for all apps, which is a fourth of what it costs to start one."""
    apply = Stylesheet.apply

    def known(sheet: Stylesheet, node: DOMNode, *, animate: bool = False, cache: object = None) -> None:
        apply(sheet, node, animate=animate, cache=Styled(sheet, node))  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Stylesheet, "apply", known)
        patched.setattr(RuleSet, "__hash__", object.__hash__)  # as quick as it can be: each is looked up at each apply
        yield
