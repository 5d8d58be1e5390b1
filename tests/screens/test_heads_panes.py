"""From the map of heads to one head's attention, and from there to a knock-out, by enter."""

from __future__ import annotations

from tests.screens.recorded import lens_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.methods.heads.attention import AttentionRequest, AttentionResult
from workbench.methods.heads.head_attribution import HeadsRequest, HeadsResult, RaisedToken
from workbench.methods.heads.knock_out import KnockoutRequest

LAYERS, HEADS, LAST = 6, 3, 4

MAP = HeadsResult(
    encoded=lens_result(HERO).encoded,
    layers=LAYERS,
    n_heads=HEADS,
    position=LAST,
    target=" Canberra",
    foil=" Sydney",
    embedding=0.0,
    heads=tuple(tuple(-9.0 if (layer, head) == (4, 1) else 0.1 for head in range(HEADS)) for layer in range(LAYERS)),
    biases=(0.0,) * LAYERS,
    mlp=(0.2,) * LAYERS,
    bias=0.0,
    total=-6.1,
    difference=-6.1,
)

PATTERN = AttentionResult(
    encoded=lens_result(HERO).encoded,
    position=LAST,
    layer=4,
    head=1,
    shared_by=1,
    target=" Canberra",
    foil=" Sydney",
    added=-9.0,
    weights=(0.1, 0.1, 0.1, 0.6, 0.1),
    arriving=(0.0, 0.0, 0.0, -9.0, 0.0),
    raises=(RaisedToken(text=" Sydney", logit=9.0),),
    lowers=(RaisedToken(text=" Canberra", logit=-1.0),),
)


async def test_enter_on_the_strongest_head_opens_its_attention_and_enter_on_a_token_there_knocks_the_edge_out() -> None:
    async with running((100, 40)) as run:
        await ask_hero(run)
        await run.pilot.press("A")
        await run.until(lambda: run.engine.last == HeadsRequest(case=HERO, position=LAST))
        run.engine.say_finished(MAP)
        await run.until(lambda: "Added by each head and MLP" in run.text)
        await run.until(lambda: "layer 5 · head 1" in run.text)  # the shared layer, and the head that stands out
        await run.pilot.press("j", "enter")
        await run.until(lambda: run.engine.last == AttentionRequest(case=HERO, position=LAST, head="L4H1"))
        run.engine.say_finished(PATTERN)
        await run.until(lambda: "L4H1 looks from" in run.text)
        await run.pilot.press("home", "l", "l", "l", "enter")
        await run.until(lambda: isinstance(run.engine.last, KnockoutRequest))
        assert run.engine.last == KnockoutRequest(case=HERO, position=LAST, edges=(f"L4H1:{LAST}>3",))


async def test_an_mlp_opens_nothing() -> None:
    async with running((100, 40)) as run:
        await ask_hero(run)
        await run.pilot.press("A")
        await run.until(lambda: isinstance(run.engine.last, HeadsRequest))
        run.engine.say_finished(MAP)
        await run.until(lambda: "layer 5 · head 1" in run.text)
        await run.pilot.press("end", "enter")
        await run.until(lambda: "no more about this place" in run.notified)
        assert isinstance(run.engine.last, HeadsRequest)
