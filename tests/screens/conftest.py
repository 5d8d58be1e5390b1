"""Every pilot waits until its app has nothing left to do; and what no test looks at is done once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot
from textual.screen import Screen

from tests import waiting

PAINT_AT_ONCE = ("test_monkey", "test_painted", "test_room", "test_snapshots")
"""Files whose tests find out what is not ready to be painted yet, or look at each cell."""


@pytest.fixture(autouse=True)
def pilots_wait_until_quiet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of until the processor idles; and nothing moves slowly."""
    for module in ("textual.pilot", "textual.app"):
        monkeypatch.setattr(f"{module}.wait_for_idle", waiting.until_quiet)
    # Textual's calls back from every widget, at every key and every pause, which is most of what a key costs.
    monkeypatch.setattr(Pilot, "_wait_for_screen", lambda pilot, timeout=waiting.LONG: waiting.until_quiet(0, timeout))
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
