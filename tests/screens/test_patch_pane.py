"""In the pane of patching a cell of the source is marked and pasted into places of the prompt, and taken out again."""

from __future__ import annotations

from tests.screens.recorded import lens_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.methods.patching.pasting import PastedAnswer, PasteRequest, PasteResult, typed_cells
from workbench.methods.patching.patching import PatchRequest, PatchResult
from workbench.methods.tracing.grid import TraceGrid

LAYERS, TOKENS = 6, 5
ENCODED = lens_result(HERO).encoded

PATCHED = PatchResult(
    encoded=ENCODED,
    encoded_source=ENCODED,
    pairs=tuple((token, token) for token in range(1, TOKENS)),
    direction="denoising",
    target=" Canberra",
    foil=" Sydney",
    base=-1.0,
    source=1.0,
    base_top=" Sydney",
    source_top=" Canberra",
    grids=(TraceGrid(kind="states", values=((0.1,) * TOKENS,) * LAYERS, exact=((True,) * TOKENS,) * LAYERS),),
    correlations=(None,),
    window=1,
)


def answer(difference: float, top: str) -> PastedAnswer:
    return PastedAnswer(difference=difference, p_target=0.3, p_foil=0.2, top=top, p_top=0.3)


def pasted(request: PasteRequest) -> PasteResult:
    return PasteResult(
        encoded=ENCODED,
        encoded_source=ENCODED,
        target=" Canberra",
        foil=" Sydney",
        before=answer(-1.0, " Sydney"),
        source=answer(1.0, " Canberra"),
        cells=tuple(typed_cells(request.cells)),
        after=tuple(answer(0.5, " Canberra") for _ in request.cells),
    )


async def test_a_marked_cell_is_pasted_into_places_one_after_the_other_and_undone() -> None:
    async with running((100, 40)) as run:
        await ask_hero(run)
        await run.pilot.press("T")
        await run.until(lambda: run.app.focused is not None and run.app.focused.id == "source")
        await run.pilot.press("end", "!", "enter")
        await run.until(lambda: isinstance(run.engine.last, PatchRequest))
        asked = run.engine.last
        run.engine.say_finished(PATCHED)
        await run.until(lambda: "Patched states" in run.text)
        await run.pilot.press("@")  # nothing is marked
        await run.pilot.press("asterisk")
        await run.until(lambda: "marked: states 5 at" in run.text)
        await run.pilot.press("h", "k", "@")
        await run.until(lambda: isinstance(run.engine.last, PasteRequest))
        one = PasteRequest(case=HERO, source=asked.source, cells=("states:5:4>4:3",))
        assert run.engine.last == one
        await run.pilot.press("k", "@")  # while the first one runs
        run.engine.say_finished(pasted(one))
        both = one.model_copy(update={"cells": (*one.cells, "states:5:4>4:2")})
        await run.until(lambda: run.engine.last == both)
        run.engine.say_finished(pasted(both))
        await run.until(lambda: "with 2 cells pasted the first choice becomes “Canberra”" in run.text)
        await run.pilot.press("u")
        await run.until(lambda: run.engine.last == one)
        run.engine.say_finished(pasted(one))
        await run.until(lambda: "with 1 cell pasted" in run.text)
        await run.pilot.press("u")
        await run.until(lambda: "pasted the first choice" not in run.text and "Patched states" in run.text)
