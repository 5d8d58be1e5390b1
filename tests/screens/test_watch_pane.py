"""A generation that is watched in the app: it streams into its pane, and enter on a token forks there."""

from __future__ import annotations

from tests.screens.recorded import lens_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.methods.watch.result import LookedAt, WatchedText, WatchedToken, WatchRequest, WatchResult

SAID = (" Sydney", ",", " and")


def seen(many: int, fork: bool = False) -> WatchResult:
    tokens = tuple(
        WatchedToken(
            id=at,
            text=text,
            probability=0.36,
            entropy=3.0,
            margin=0.05 + at,
            rank=1,
            instead=" Canberra",
            instead_id=9,
            instead_probability=0.34,
            depth=4,
            looked=(LookedAt(token=3, share=0.4),),
        )
        for at, text in enumerate(SAID[:many])
    )
    ending = "length" if many == len(SAID) else ""
    spoken = WatchedText(tokens=tokens, text="".join(SAID[:many]), ending=ending)
    other = tokens[0].model_copy(update={"text": " Canberra", "instead": " Sydney"})
    return WatchResult(
        encoded=lens_result(HERO).encoded,
        layers=6,
        spoken=spoken,
        fork=WatchedText(tokens=(other,), text=" Canberra", ending="length") if fork else None,
    )


async def test_it_streams_into_its_pane_and_enter_on_a_token_forks_there() -> None:
    async with running((100, 50)) as run:
        await ask_hero(run)
        await run.pilot.press("P")
        await run.until(lambda: run.engine.last == WatchRequest(case=HERO))
        run.engine.say_progress(1, 3, seen(1), "speaking")
        await run.until(lambda: "the smallest margin is 0.05 at token 0" in run.text)
        run.engine.say_finished(seen(3))
        await run.until(lambda: "stopped after 3 tokens" in run.text)
        await run.pilot.press("tab", "j", "enter")
        await run.until(lambda: getattr(run.engine.last, "fork", "") != "")
        assert run.engine.last == WatchRequest(case=HERO, fork="1")
        run.engine.say_finished(seen(3, fork=True))
        await run.until(lambda: "“Canberra” in place of “Sydney” at token 0" in run.text)


async def test_it_is_played_again_token_by_token_held_stepped_and_rewound() -> None:
    async with running((100, 50)) as run:
        await ask_hero(run)
        await run.pilot.press("P")
        await run.until(lambda: isinstance(run.engine.last, WatchRequest))
        run.engine.say_progress(2, 3, seen(2), "speaking")
        await run.until(lambda: "the smallest margin is 0.05 at token 0" in run.text)
        await run.pilot.press("space")  # the picture is held, and the model speaks on
        await run.until(lambda: "held · token 2 of 2" in run.text)
        run.engine.say_finished(seen(3))
        await run.until(lambda: "held · token 2 of 3" in run.text)
        assert "stopped after 3 tokens" not in run.text
        await run.pilot.press("greater_than_sign")
        await run.until(lambda: "held · token 3 of 3" in run.text and "stopped after 3 tokens" in run.text)
        await run.pilot.press("full_stop")
        await run.until(lambda: "held · token 1 of 3" in run.text)
        await run.pilot.press("less_than_sign")  # there is none before
        await run.until(lambda: "held · token 1 of 3" in run.text)
        await run.pilot.press("plus", "plus", "space")
        await run.until(lambda: "stopped after 3 tokens" in run.text and "token 3 of 3" not in run.text)
        await run.pilot.press("tab", "j", "comma")
        await run.until(lambda: "held · token 2 of 3" in run.text)
        await run.pilot.press("space")
        await run.until(lambda: "▶ 16 a second" in run.text or "stopped after 3 tokens" in run.text)
