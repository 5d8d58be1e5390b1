"""The reasoning pane: its rows and bars, its form and lines, what is asked, the lens at a sentence, recorded steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Checkbox

from screens.panes.cot import views
from screens.panes.cot.detail import CotDetail, lines
from screens.panes.cot.ledger import CotLedger, CotRun, parts
from screens.panes.cot.pane import CotPane
from screens.panes.cot.widgets import CotForm, CotLine
from screens.widgets import numbers
from screens.widgets.closing_input import ClosingInput
from screens.widgets.prompt_fields import PromptArea
from screens.widgets.token_strip import TokenStrip
from tests.screens.asked import CHOICES, DONE, FIRST, HERO, REASONING, SENTENCES, TOM, about, inside
from tests.screens.parts import READ, WRITING
from tests.screens.recorded import cot_result, lens_result, queue_state, recorded
from tests.screens.test_app import Running, running
from tests.screens.test_replay import record, replaying
from workbench.case import Case
from workbench.methods.cot.interventions import Cue, Early, Filler, Intervention, LeaveOneOut, Mistake, Paraphrase
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.session import SessionFile, StepError


def run_of(*interventions: Intervention, request: CotRequest = FIRST) -> CotRun:
    """Tom's reasoning, with these done to it one after the other."""
    ledger = CotLedger()
    ledger.take(request, cot_result(request), ())
    for intervention in interventions:
        ledger.take(about(intervention, request=request), cot_result(about(intervention, request=request)), ())
    assert ledger.at is not None
    return ledger.at


async def ask_tom(run: Running, answer: bool = True) -> None:
    """Type the question, and let the model reason by the form as it opens."""
    run.main.prompt.put(Case(prompt=TOM))
    run.main.others[0].focus_content()
    await run.pilot.press("r", "enter")
    await run.until(lambda: run.engine.last == FIRST)
    run.engine.say_started()
    if answer:
        run.engine.say_finished(cot_result(FIRST))
        await run.settle()


@asynccontextmanager
async def reasoned(size: tuple[int, int] = (80, 24)) -> AsyncIterator[Running]:
    """An app in which Tom's apples were counted."""
    async with running(size) as run:
        await ask_tom(run)
        yield run


async def answer_last(run: Running, kind: type[Intervention]) -> None:
    """Wait for an intervention to be asked for, and let the engine answer it."""
    await run.until(
        lambda: isinstance(run.engine.last, CotRequest) and isinstance(run.engine.last.interventions[0], kind)
    )
    assert isinstance(run.engine.last, CotRequest)
    run.engine.say_started()
    run.engine.say_finished(cot_result(run.engine.last))
    await run.settle()


def pane(run: Running) -> CotPane:
    return run.app.screen.query_one(CotPane)


def words(run: Running) -> str:
    """What the screen shows, without frames and line breaks."""
    return " ".join(run.text.replace("│", " ").replace("▏", " ").split())


def row_texts(run: Running) -> list[str]:
    return [row.id for row in pane(run)._reasoned.rows]


# What is said, without an app


def test_the_answer_stands_at_every_sentence_and_where_it_settles_is_marked() -> None:
    run = run_of()
    rows = views.rows(run, ())
    assert [row.place for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [views.answer_of(row) for row in rows] == ["4", "3", "4", "7", "10", "10"]
    assert [row.marks for row in rows] == [(), (), (), (), ("◂ settles",), ()]
    texts = [content.plain for content in views.contents(rows, run, 60)]
    assert texts[0] == " 0 ▁≠ 4  (no reasoning)"
    assert texts[4] == " 4 █= 10 So, Tom has 3 + 7 = 10 apples.  ◂ settles"


def test_long_sentences_are_indented_to_where_the_text_begins() -> None:
    run = run_of()
    lines = views.contents(views.rows(run, ()), run, 30)[2].plain.split("\n")
    assert lines == [" 2 ▁≠ 4  Tom has 3 apples and", "         buys 4 more apples."]


def test_tokens_of_a_sentence_keep_the_colours_of_their_probability() -> None:
    run = run_of()
    tokens = list(run.result.tokens)
    so = next(place for place, token in enumerate(tokens) if token.text.strip() == "So")
    tokens[so] = tokens[so].model_copy(update={"probability": 0.05})  # the model was sure of every one
    run.result = run.result.model_copy(update={"tokens": tuple(tokens)})
    sentence = views._sentence(run, 4)
    assert sentence.plain == SENTENCES[3].strip()
    spans = list(views.token_spans(run.result))
    assert "".join(REASONING[start:stop] for start, stop, _ in spans) == REASONING
    unsure = [REASONING[start:stop].strip() for start, stop, p in spans if p < 0.1]
    underlined = [sentence.plain[s.start : s.end].strip() for s in sentence.spans if "underline" in str(s.style)]
    assert underlined == unsure == ["So"]


def test_a_reasoning_without_recorded_tokens_is_plain() -> None:
    run = run_of()
    run.result = run.result.model_copy(update={"tokens": ()})
    assert views._sentence(run, 4).plain == SENTENCES[3].strip()
    assert not views._sentence(run, 4).spans


def test_a_necessary_sentence_is_marked_with_how_many_it_was_left_out_of() -> None:
    rows = views.rows(run_of(LeaveOneOut(within=4), LeaveOneOut()), ())
    assert rows[4].marks == ("◂ settles", "◆ necessary of 4")
    dropped = [row for row in rows if row.sign == "−"]
    assert [row.done for row in dropped[:2]] == ["without 1 of the first 4", "without 2 of the first 4"]
    assert len(dropped) == 9
    assert views.came_of(run_of(LeaveOneOut(within=4)).done["leave-one-out", 4]).endswith("another answer without 4")


def test_what_is_left_out_of_the_first_sentences_is_compared_with_the_answer_after_those() -> None:
    run = run_of(LeaveOneOut(within=3))
    assert views.came_of(run.done["leave-one-out", 3]) == "leave one out of the first 3: another answer without 3"
    rows = views.rows(run, ())
    assert [row.marks for row in rows[1:4]] == [(), (), ("◆ necessary of 3",)]
    dropped = next(row for row in rows if row.sign == "−")
    assert views.answers(dropped, 30, 10).plain.split("\n")[1].rstrip() == "= 7 with all"
    assert dropped.result is not None
    detail = "\n".join(line.plain for line in lines(dropped, run, 60))
    assert "= the same answer as with all of these sentences: 7" in detail


def test_what_was_done_stands_side_by_side_and_the_same_again_takes_its_place() -> None:
    run = run_of(Mistake(sentence=2), Filler(), Mistake(sentence=2, text="It is 5."), Mistake(sentence=3))
    others = [row for row in views.rows(run, ()) if not row.id.startswith("kept")]
    assert [row.done for row in others] == [
        "mistake in 3",
        *(f"filler as long as {n}" for n in range(1, 6)),
        "mistake in 4",
    ]
    assert others[0].text == "It is 5."


def test_a_cue_says_whether_it_was_followed_and_spoken_of() -> None:
    row = views.rows(run_of(Cue(answer="7")), ())[-1]
    assert (row.done, row.text) == ("cue, by opinion", "7 · not followed, spoken of")


def test_the_right_answer_and_the_answers_here_and_in_full_are_told_apart_without_colour() -> None:
    run = run_of(request=CHOICES)
    lines = views.answers(views.rows(run, ())[2], 30, 10).plain.split("\n")
    assert lines[:2] == ["stops after 2 of 5", "≠ 10 with all                 "]
    assert [line[:8] for line in lines[2:]] == [" 10   ▏ ", " 7  ✓ ██", "▸4    ██", " 3    ▏ "]
    assert "(wrong)" in views.headline(run)


def test_answers_that_do_not_fit_are_counted_and_the_one_here_is_kept() -> None:
    run = run_of()
    lines = views.answers(views.rows(run, ())[2], 30, 5).plain.split("\n")
    assert len(lines) == 5
    assert sum(line.startswith("▸4") for line in lines) == 1
    assert lines[-1] == "2 more: enter"


def test_outcomes_are_told_apart_by_the_interventions_of_their_request() -> None:
    found = list(parts(DONE, cot_result(DONE)))
    assert [(done.intervention.what, len(done.outcomes)) for done in found] == [
        ("early", 6),
        ("leave-one-out", 4),
        ("mistake", 1),
        ("filler", 5),
        ("cue", 1),
    ]
    unfinished = cot_result(DONE).model_copy(update={"outcomes": cot_result(DONE).outcomes[:4]})
    assert [len(done.outcomes) for done in parts(DONE, unfinished)] == [4]


# The pane in the app


async def test_before_the_first_reasoning_the_pane_says_which_key_asks() -> None:
    async with running() as run:
        await run.pilot.press("escape", "6")
        await run.settle()
        assert "Press r to let the model reason about the prompt" in words(run)


async def test_r_opens_the_form_and_enter_asks_with_early_answering_only() -> None:
    async with running() as run:
        run.main.prompt.put(Case(prompt=TOM, chat=True))
        run.main.others[0].focus_content()
        await run.pilot.press("r")
        await run.settle()
        assert "it goes through the chat template" in words(run)
        await run.pilot.press(*"10;7 ; 4", "tab", "7", "tab", *"0.5", "tab", *"0.9", "tab", "3", "tab", *"64")
        await run.pilot.press("tab", "tab", *"So it is", "enter")
        await run.until(lambda: isinstance(run.engine.last, CotRequest))
        assert run.engine.last == CotRequest(
            question=TOM,
            choices=("10", "7", "4"),
            answer="7",
            lead_in="So it is",
            sampling=Sampling(temperature=0.5, top_p=0.9, seed=3, tokens=64),
            interventions=(Early(),),
        )
        assert pane(run).has_focus_within


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ([*"7"], "2 to 26 choices"),
        ([*"7;77"], "is how the choice"),
        ([*"7;8", "tab", "9"], "none of the choices"),
        (["tab", "tab", *"hot"], "“hot” is no number"),
        (["tab", "tab", "tab", "2"], "above 0 and at most 1"),
        (["tab", "tab", "tab", "tab", "tab", *"1.5"], "no whole number"),
    ],
)
async def test_what_makes_no_sense_is_said_in_the_form_and_not_asked(keys: list[str], problem: str) -> None:
    async with running() as run:
        run.main.prompt.put(Case(prompt=TOM))
        run.main.others[0].focus_content()
        await run.pilot.press("r", *keys, "enter")
        await run.settle()
        assert problem in words(run)
        assert not isinstance(run.engine.last, CotRequest)


async def test_what_is_typed_is_kept_for_its_question() -> None:
    async with running() as run:
        run.main.prompt.put(Case(prompt=TOM))
        run.main.others[0].focus_content()
        await run.pilot.press("r", *"10;7", "escape", "n")
        await run.settle()
        field = run.app.screen.query_one("#choices", ClosingInput)
        assert field.value == "10;7"
        await run.pilot.press("escape")
        run.main.prompt.put(Case(prompt="Another question?"))
        await run.pilot.press("n")
        await run.settle()
        assert field.value == ""
        await run.pilot.press("escape")
        run.main.prompt.put(Case(prompt=TOM))
        await run.pilot.press("n")
        await run.settle()
        assert field.value == "10;7"


async def test_without_a_prompt_nothing_is_asked() -> None:
    async with running() as run:
        await run.pilot.press("escape", "6", "n")
        await run.settle()
        assert "Type a question into the prompt first" in run.notified


async def test_the_reasoning_streams_token_by_token_with_its_probabilities() -> None:
    async with running() as run:
        await ask_tom(run, answer=False)
        for words_there in (3, 9):
            run.engine.say_progress(words_there, 256, cot_result(FIRST, words=words_there), "reasoning")
            await run.settle()
            strip = run.app.screen.query_one("ReasoningView TokenStrip", TokenStrip)
            assert len(strip.tokens) == words_there
            recorded_tokens = cot_result(FIRST, words=words_there).tokens
            assert [token.probability for token in strip.tokens] == [token.probability for token in recorded_tokens]
            assert f"reasoning, {words_there} of at most 256 tokens" in run.text
        run.engine.say_finished(cot_result(FIRST))
        await run.settle()
        assert "4 █= 10 So, Tom has 3 + 7 = 10 apples. ◂ settles" in words(run)
        assert "answer 10 · AOC 0.70 · settles at 4 of 5" in run.text


async def test_between_the_reasoning_and_the_answers_the_sentences_are_there_already() -> None:
    async with running() as run:
        await ask_tom(run, answer=False)
        run.engine.say_progress(40, 256, cot_result(FIRST, words=40), "reasoning")
        run.engine.say_progress(0, 2, cot_result(FIRST, words=READ), "answering")
        await run.settle()
        assert "The answer is 10." in words(run)
        assert "not answered yet" in run.text
        assert "of at most 256 tokens" not in run.text


async def test_moving_through_the_sentences_shows_the_answer_had_the_model_stopped_there() -> None:
    async with reasoned() as run:
        assert "stops after 5 of 5" in run.text
        await run.pilot.press("k", "up")
        await run.settle()
        assert "stops after 3 of 5" in run.text
        assert "▸7" in run.text
        await run.pilot.press("j")
        await run.settle()
        assert "▸10" in run.text


async def test_d_leaves_out_each_sentence_up_to_the_highlighted_one() -> None:
    async with reasoned() as run:
        await run.pilot.press("k", "x")
        await run.until(lambda: run.engine.last == about(LeaveOneOut(within=4)))
        await answer_last(run, LeaveOneOut)
        assert "leave one out of the first 4: another answer without 4" in words(run)
        assert "◆ necessary of 4" in words(run)
        assert pane(run)._row is not None
        assert pane(run)._row.place == 4  # type: ignore[union-attr]
        await run.pilot.press("j", "x")
        await run.until(lambda: run.engine.last == about(LeaveOneOut()))


async def test_nothing_is_done_to_no_sentence() -> None:
    async with reasoned() as run:
        before = len(run.engine.asked)
        await run.pilot.press("home", "x", "M", "W")
        await run.settle()
        assert len(run.engine.asked) == before
        assert "Move to a sentence first" in run.notified


async def test_a_mistake_left_as_it_is_changes_a_number_by_itself_and_a_typed_one_is_put_in() -> None:
    async with reasoned() as run:
        await run.pilot.press("k", "k", "M")
        await run.settle()
        assert "A mistake in sentence 3" in words(run)
        assert run.app.screen.query_one("#typed", ClosingInput).value == SENTENCES[2].strip()
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.last == about(Mistake(sentence=2)))
        await answer_last(run, Mistake)
        assert "mistake 3: the answer becomes 11" in run.text
        await run.pilot.press("M", "end", "backspace", "!", "enter")
        await run.until(
            lambda: run.engine.last == about(Mistake(sentence=2, text="This means he has 3 + 4 = 7 apples!"))
        )


async def test_w_f_and_c_reword_fill_and_suggest() -> None:
    async with reasoned() as run:
        await run.pilot.press("W", "ctrl+u", "enter")
        await run.until(lambda: run.engine.last == about(Paraphrase(sentence=4)))
        await run.pilot.press("f")
        await run.until(lambda: run.engine.last == about(Filler()))
        await run.pilot.press("H")
        await run.settle()
        assert run.app.screen.query_one("#typed", ClosingInput).value == "7"  # another answer that was found
        assert not run.app.screen.query_one("#position", Checkbox).display
        await run.pilot.press("enter")
        await run.until(lambda: run.engine.last == about(Cue(answer="7")))
        assert row_texts(run)[-3:] == ["job 0", "job 1", "job 2"]


async def test_a_cue_by_position_can_be_had_where_the_choices_are_listed() -> None:
    listed = CHOICES.model_copy(update={"read": "letters"})
    async with running() as run:
        run.main.prompt.put(Case(prompt=TOM))
        run.main.others[0].focus_content()
        await run.pilot.press(
            "r", *"10;7;4;3", "tab", "7", "tab", "tab", "tab", "tab", "tab", "space", "shift+tab", "enter"
        )
        await run.until(lambda: run.engine.last == listed)
        run.engine.say_finished(cot_result(listed))
        await run.settle()
        await run.pilot.press("H", "tab", "space", "shift+tab", "enter")
        await run.until(lambda: run.engine.last == about(Cue(by="position"), request=listed))


async def test_a_box_that_is_ticked_shows_it_without_colour() -> None:
    async with running() as run:
        run.main.prompt.put(Case(prompt=TOM))
        run.main.others[0].focus_content()
        await run.pilot.press("r")
        await run.settle()
        assert "X▌ letters" not in run.text
        run.app.screen.query_one("#letters", Checkbox).focus()
        await run.pilot.press("space")
        await run.settle()
        assert "X▌ letters" in run.text
        await run.pilot.press("space")
        await run.settle()
        assert "X▌ letters" not in run.text


async def test_what_the_model_writes_for_a_mistake_is_shown_as_it_comes() -> None:
    async with reasoned((160, 48)) as run:
        await run.pilot.press("M", "enter")
        await run.until(lambda: run.engine.last == about(Mistake(sentence=4)))
        partial = cot_result(about(Mistake(sentence=4)), words=WRITING)
        run.engine.say_progress(4, 256, partial, "mistake")
        await run.settle()
        assert f"mistake 5 writes …{partial.writing}" in words(run)


async def test_nothing_is_generated_twice() -> None:
    async with reasoned() as run:
        await run.pilot.press("f")
        await answer_last(run, Filler)
        asked = len(run.engine.asked)
        await run.pilot.press("f")
        await run.settle()
        assert pane(run)._row is not None
        assert pane(run)._row.done == "filler as long as 1"  # type: ignore[union-attr]
        await run.pilot.press("n", "enter")
        await run.settle()
        await run.pilot.press("M", "enter", "M", "enter")
        await run.until(lambda: run.engine.last == about(Mistake(sentence=0)))
        assert len(run.engine.asked) == asked + 1


async def test_an_intervention_that_fails_leaves_the_rest_and_says_why() -> None:
    async with reasoned() as run:
        await run.pilot.press("home", "j", "M", "enter")
        await run.until(lambda: run.engine.last == about(Mistake(sentence=0)))
        error = StepError(kind="InputError", message="sentence 1 holds no number; type the mistake yourself")
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert "✗ sentence 1 holds no number; type the mistake yourself" in words(run)
        assert "stale" not in run.text
        assert len(row_texts(run)) == 6


async def test_a_reasoning_that_fails_or_is_cancelled_says_so() -> None:
    async with running() as run:
        await ask_tom(run, answer=False)
        error = StepError(kind="InputError", message="the model gave no reasoning but ended at once")
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert "the model gave no reasoning but ended at once" in words(run)
        await run.pilot.press("r", "enter")
        await run.settle()
        run.engine.say_finished(None, status="cancelled")
        await run.settle()
        assert "Cancelled before anything was found; press r to ask again" in words(run)
        await run.pilot.press("r", "enter")
        await run.settle()
        run.engine.say_finished(cot_result(FIRST, words=9), status="partial")
        await run.settle()
        assert "partial: the reasoning was cut short" in words(run)
        await run.pilot.press("r")
        await run.until(lambda: run.engine.asked.count(FIRST) == 4)


async def test_a_run_cancelled_after_the_reasoning_goes_on_with_that_reasoning() -> None:
    async with running() as run:
        await ask_tom(run, answer=False)
        cut = cot_result(FIRST).model_copy(update={"outcomes": (), "aoc": None, "settles": None})
        run.engine.say_finished(cut, status="partial")
        await run.settle()
        assert "not answered yet" in run.text
        await run.pilot.press("r")
        await run.until(lambda: run.engine.last == about(Early()))
        run.engine.say_finished(cot_result(about(Early())))
        await run.settle()
        assert "settles at 4 of 5" in run.text
        assert pane(run)._run.result.tokens  # type: ignore[union-attr]


async def test_l_opens_the_lens_where_the_answer_is_read_and_the_question_is_not_lost() -> None:
    async with reasoned() as run:
        await run.pilot.press("k", "k", "i")
        await run.until(lambda: isinstance(run.engine.last, LensRequest))
        result = cot_result(FIRST)
        stopped = result.of("kept")[3]
        assert run.engine.last == LensRequest(case=result.case(stopped))
        assert run.main.case.prompt.endswith("= 7 apples.\n\nAnswer:")
        assert (run.main.case.target, run.main.case.foil) == (" 10", " 7")
        assert run.main.prompt.edited() == run.main.case
        run.engine.say_finished(recorded(inside(run.main.case), LensResult))
        await run.settle()
        await run.pilot.press("6")
        await run.settle()
        assert "stale" not in run.text
        await run.pilot.press("x")
        await run.until(lambda: run.engine.last == about(LeaveOneOut(within=3)))
        await run.pilot.press("n")
        await run.settle()
        await run.pilot.press("enter")
        await run.settle()
        assert not any(isinstance(r, CotRequest) and r.question != TOM for r in run.engine.asked)
        run.main.prompt.focus_content()
        area = run.app.screen.query_one(PromptArea)
        area.move_cursor((0, 0))
        await run.pilot.press("up")
        await run.settle()
        assert area.text == TOM


async def test_another_prompt_or_other_edits_make_it_stale() -> None:
    async with reasoned((160, 48)) as run:
        run.main.prompt.put(Case(prompt="Another question?"))
        await run.settle()
        assert "stale: the prompt has changed; press r to ask again" in run.text
        run.main.prompt.put(Case(prompt=TOM))
        run.main.queue = queue_state(True)
        run.engine.edits = pane(run).edits
        await run.settle()
        assert "stale: the edits have changed; press r to ask again" in run.text
        await run.pilot.press("f")
        await run.settle()
        assert "The edits have changed since" in run.notified
        await run.pilot.press("r")
        await run.until(lambda: run.engine.asked.count(FIRST) == 2)


async def test_edits_that_are_taken_back_bring_back_what_was_found_without_them() -> None:
    async with reasoned((160, 48)) as run:
        await run.pilot.press("f")
        await answer_last(run, Filler)
        run.main.queue = queue_state(True)
        run.engine.edits = pane(run).edits
        await run.pilot.press("r")
        await run.until(lambda: run.engine.asked.count(FIRST) == 2)
        run.engine.say_finished(cot_result(FIRST))
        await run.settle()
        assert len(row_texts(run)) == 6
        full = cot_result(FIRST).full
        assert full is not None
        said = f"answer 10 {numbers.probability(full.probabilities[full.answer])}"
        assert f"without edits: {said} → with 1 edit: {said}" in run.text
        run.main.queue = queue_state(False)
        run.main._catch_up()
        await run.settle()
        assert len(row_texts(run)) == 11


async def test_enter_shows_what_was_done_written_and_answered() -> None:
    async with reasoned() as run:
        await run.pilot.press("M", "enter")
        await answer_last(run, Mistake)
        await run.pilot.press("end", "enter")
        await run.settle()
        assert isinstance(run.app.screen, CotDetail)
        assert "put in The answer is 11." in words(run)
        assert "So 11." in run.text
        assert "≠ another answer than with all: 10" in run.text
        assert "by trapezoids" in words(run)
        await run.pilot.press("k")
        await run.settle()
        assert "= the same answer as with all: 10" in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert pane(run)._row.place == 5  # type: ignore[union-attr]


async def test_it_is_complete_where_the_terminal_is_small() -> None:
    async with reasoned() as run:
        assert all(sentence.strip() in words(run) for sentence in SENTENCES)
        assert all(f"{name:<3}" in run.text for name in ("▸10", " 7", " 4", " 3"))
        footer = run.text.splitlines()[-1]
        assert "x Leave out M Mistake p Prompt" in footer


async def test_a_replay_shows_the_reasoning_with_all_that_was_done_to_it(tmp_path: Path) -> None:
    others = (about(LeaveOneOut(within=4)), about(Mistake(sentence=2)), about(Filler()))
    steps = [(request, "done", cot_result(request), None) for request in (FIRST, *others)]
    async with replaying(record(tmp_path / "tom.json", *steps), (80, 24)) as run:  # type: ignore[arg-type]
        await run.press("6", "home")
        shown = run.app.screen.query_one(CotPane)
        assert [row.sign for row in shown._reasoned.rows] == [*"012345", *"−−−−", "✗", *"……………"]
        assert "answer 10 · AOC 0.70 · settles at 4 of 5" in run.text
        assert TOM in run.words
        await run.press("f", "M", "r", "n", "i")
        assert "x Leave out" not in run.text
        assert not run.app.screen.query_one(CotForm).is_open
        assert not run.app.screen.query_one(CotLine).is_open
        await run.press("left_curly_bracket")
        assert len(shown._reasoned.rows) == 6


async def test_a_replay_without_a_reasoning_says_so(tmp_path: Path) -> None:
    story = (LensRequest(case=HERO), "done", lens_result(HERO), None)
    async with replaying(record(tmp_path / "none.json", story), (80, 24)) as run:  # type: ignore[arg-type]
        await run.press("6")
        assert "Nothing of this was recorded up to this step." in run.words


async def test_a_session_that_holds_nothing_else_opens_on_its_reasoning(tmp_path: Path) -> None:
    file = record(tmp_path / "tom.json", (FIRST, "done", cot_result(FIRST), None))
    async with running((160, 48), recording=SessionFile.open(file)) as run:
        assert "settles at 4 of 5" in run.text
