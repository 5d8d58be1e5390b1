"""Room for the pictures: the prompt folds while the keyboard is elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from textual.app import App, ComposeResult

from screens.panes.prompt.folded import FoldedCase, case_lines, prompt_line
from screens.widgets.prompt_fields import PromptArea
from screens.widgets.token_strip import StripToken, TokenStrip
from tests.screens.asked import FIRST, TOM
from tests.screens.recorded import lens_result, recorded
from tests.screens.test_app import HERO, Running, running
from workbench.case import Case
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.logit_lens import LensColumn, LensRequest, LensResult, TokenTrack

ROWS = ("top_tokens", "top_probabilities", "entropy", "kl", "logit_difference")

LAYER = re.compile(r"^.*│[▸ ] +(\d+|emb) ", re.MULTILINE)


def deep(case: Case, layers: int = 90) -> LensResult:
    """What was recorded of a small model, its layers over and over, as of one that has many."""
    found = lens_result(case if case == HERO else HERO)

    def stretched(rows: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return None if rows is None else (rows * layers)[: layers + 1]

    def track(one: TokenTrack | None) -> TokenTrack | None:
        return one and TokenTrack(probability=stretched(one.probability), rank=stretched(one.rank))

    columns = []
    for column in filter(None, found.columns):
        rows = {name: stretched(getattr(column, name)) for name in ROWS}
        columns.append(LensColumn(**rows, target=track(column.target), foil=track(column.foil)))
    return LensResult(encoded=found.encoded, layers=layers, columns=tuple(columns), checks=found.checks)


async def ask_deep(run: Running, case: Case = HERO) -> None:
    """Ask a model of more layers than any screen has rows."""
    run.main.prompt.put(case)
    run.main.prompt.focus_content()
    await run.pilot.press("enter")
    await run.until(lambda: isinstance(run.engine.last, LensRequest))
    run.engine.say_finished(deep(case))
    await run.settle()


@pytest.mark.parametrize(("size", "rows"), [((80, 24), 14), ((60, 20), 8), ((160, 48), 16)])
async def test_layers_have_most_of_the_screen_while_nothing_is_zoomed(size: tuple[int, int], rows: int) -> None:
    async with running(size) as run:
        await ask_deep(run)
        assert len(LAYER.findall(run.text)) >= rows, run.text


@pytest.mark.parametrize("size", [(40, 12), (60, 20), (80, 24), (120, 16), (160, 48)])
async def test_the_prompt_is_folded_without_the_keyboard_and_unfolds_with_it(size: tuple[int, int]) -> None:
    async with running(size) as run:
        area, folded = run.main.prompt.query_one(PromptArea), run.main.prompt.query_one(FoldedCase)
        assert (area.display, folded.display) == (True, False)
        await ask_deep(run)
        assert (area.display, folded.display) == (False, True)
        assert "The capital of Australia is" in run.text
        assert "subject Australia" in run.text
        assert "Canberra / foil Sydney" in run.text
        await run.pilot.press("p", *" now")
        await run.settle()
        assert (area.display, area.has_focus, folded.display) == (True, True, False)
        assert area.text == HERO.prompt + " now"
        run.app.app_focus = False  # another window is in front
        await run.settle()
        assert area.display
        run.app.app_focus = True
        await run.settle()
        await run.pilot.press("escape")
        await run.settle()
        assert (area.display, folded.display) == (False, True)
        assert run.text.count("The capital of Australia is now") == 1


async def test_tab_comes_back_to_the_folded_prompt_and_unfolds_it() -> None:
    async with running() as run:
        await ask_deep(run)
        for _ in range(8):
            await run.pilot.press("shift+tab")
            await run.settle()
            if run.main.prompt.has_focus_within:
                break
        assert run.app.focused is run.main.prompt.query_one(PromptArea)
        await run.pilot.press("escape")
        await run.settle()
        await run.pilot.click(FoldedCase)
        await run.settle()
        assert run.app.focused is run.main.prompt.query_one(PromptArea)


async def test_notes_cost_no_rows_of_their_own_while_the_prompt_is_folded() -> None:
    async with running() as run:
        await ask_deep(run)
        high = run.main.prompt.outer_size.height
        result = lens_result(HERO)
        noted = result.encoded.model_copy(update={"notes": ("a space was put before the target",)})
        run.main.prompt.ask()
        await run.until(lambda: sum(isinstance(each, LensRequest) for each in run.engine.asked) == 2)
        run.engine.say_finished(result.model_copy(update={"encoded": noted}))
        await run.settle()
        assert run.main.prompt.outer_size.height == high
        assert "1 note" in run.text
        await run.pilot.press("p")
        await run.settle()
        assert "a space was put before the target" in run.text


def test_of_a_long_prompt_the_end_is_seen_and_no_fact_of_the_case_is_cut() -> None:
    line = prompt_line("one\n" + "word " * 40 + "end", 20).plain
    assert line.endswith("word end")
    assert line.startswith("…")
    assert len(line) == 20
    assert prompt_line("a\nb", 20).plain == "a⏎b"
    case = Case(prompt="x", subject="Australia", target=" Canberra", foil="Sydney", prepend="separator", chat=True)
    for width in (30, 60, 120):
        lines = [line.plain for line in case_lines(case, ("a note that is rather long",), width)]
        assert all(len(line) <= width for line in lines)
        said = " ".join(lines)
        for fact in ("subject Australia", "target Canberra", "foil Sydney", "prepended BOS or separator", "chat on"):
            assert fact in said
    assert "a note" in " ".join(line.plain for line in case_lines(case, ("a note",), 120))


class OneStrip(App[None]):
    """Forty tokens in two rows."""

    CSS = "TokenStrip { width: 20; max-height: 2; }"

    def compose(self) -> ComposeResult:
        """The strip."""
        yield TokenStrip([StripToken(f" {number:03}") for number in range(40)])


async def test_of_more_tokens_than_there_is_room_for_those_at_the_cursor_are_seen() -> None:
    app = OneStrip()
    async with app.run_test(size=(30, 10)) as pilot:
        strip = app.query_one(TokenStrip)
        for cursor, seen, not_seen in ((0, "000", "039"), (20, "020", "000"), (39, "039", "000")):
            strip.cursor = cursor
            await pilot.pause()
            lines = app.screen._compositor.render_strips()
            text = "".join(segment.text for line in lines for segment in line)
            assert seen in text
            assert not_seen not in text


async def test_a_terminal_that_is_resized_in_the_middle_of_a_job_is_drawn_anew() -> None:
    async with running((160, 48)) as run:
        run.main.prompt.put(Case(prompt=TOM))
        await run.pilot.press("enter", "r")
        await run.settle()
        await run.pilot.press("enter")
        await run.until(lambda: isinstance(run.engine.last, CotRequest))
        run.engine.say_started()
        run.engine.say_progress(3, 6, recorded(FIRST, CotResult), "answers")
        await run.settle()
        for size in ((80, 24), (60, 20), (40, 12), (160, 48)):
            await run.pilot.resize_terminal(*size)
            await run.settle()
            lines = run.text.splitlines()
            assert [len(line) for line in lines] == [size[0]] * size[1]
            assert any("answers ██████░░░░░░ 3/6" in line for line in lines[-2:]), run.text
            said = " ".join("".join(re.findall("[^│▏]+", line)) for line in lines)
            assert "(no reasoning)" in said, run.text
            if size[1] >= 20:
                assert ("This means he has 3 + 4 = 7 apples." in said) == (size[0] >= 80), run.text
