"""The line of names: whole ones only, the active one among them."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from screens.widgets.tab_line import TabLine

NAMES = ("2 Logit lens", "3 Attribution", "4 Causal trace", "5 Edits", "6 Reasoning", "While it speaks")


class Line(App[None]):
    """The line alone, and what was chosen in it."""

    def compose(self) -> ComposeResult:
        yield TabLine(NAMES)

    def on_mount(self) -> None:
        self.chosen: list[int] = []

    def on_tab_line_chosen(self, message: TabLine.Chosen) -> None:
        self.chosen.append(message.place)


@pytest.mark.parametrize("width", [40, 60, 100])
async def test_names_are_whole_and_the_active_one_is_there(width: int) -> None:
    app = Line()
    async with app.run_test(size=(width, 3)) as pilot:
        line = app.query_one(TabLine)
        for place, name in enumerate(NAMES):
            line.active = place
            await pilot.pause()
            shown = line.render().plain
            parts = [part for part in shown.replace("‹ ", "").replace(" ›", "").split("  ") if part]
            assert name in parts
            assert set(parts) <= set(NAMES)
            assert len(shown) <= width - 2
            assert ("‹" in shown, "›" in shown) == (NAMES[0] not in parts, NAMES[-1] not in parts)


async def test_a_click_chooses_a_name_and_an_arrow_what_is_hidden() -> None:
    app = Line()
    async with app.run_test(size=(40, 3)) as pilot:
        line = app.query_one(TabLine)
        line.active = 3
        await pilot.pause()
        shown = line.render().plain
        assert (shown[0], shown[-1]) == ("‹", "›")
        for at in (1, 1 + shown.index("5 Edits"), len(shown)):
            await pilot.click(TabLine, offset=(at, 0))
        first, _, last = app.chosen
        assert app.chosen[1] == 3
        assert NAMES[first] not in shown
        assert NAMES[last] not in shown
