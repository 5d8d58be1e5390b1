"""The erasure pane: its chart, table and words, its form, the edit's switch, strength, and sessions with erasures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Input

from screens.messages import Cursor
from screens.panes.erasure import views
from screens.panes.erasure.detail import ErasureDetail, sections
from screens.panes.erasure.form import ErasureForm
from screens.panes.erasure.ledger import Erasure, Erasures
from screens.panes.erasure.pane import ErasurePane
from screens.replay import ReplayApp
from screens.widgets import numbers
from screens.widgets.choice_field import ChoiceField
from screens.widgets.settings_fields import SettingsFields
from tests.screens.asked import LEACE, LIMIT, ORTH, STEER, erasure_request, stronger
from tests.screens.recorded import MODEL, STARTED, erasure_edit, erasure_queue, erasure_result, queue_result
from tests.screens.test_app import HERO, Running, ask_hero, running
from tests.waiting import until_timers_end
from workbench.datasets.concepts import shipped_concept, shipped_concepts
from workbench.editing.edit import EditRequest
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import ErasureSettings, SteeringSettings, layers_in_words
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.editing.operations import QueueRequest
from workbench.protocol import Request
from workbench.session import Session, SessionFile, Step, StepError

DIGEST = shipped_concept("pronoun-gender").digest
REQUEST = LEACE.model_copy(update={"case": HERO})
STEERING = stronger(STEER, 1.5).model_copy(update={"case": HERO})
KEY = "z"


def found(request: EditRequest = REQUEST, probed: int | None = None) -> Erasure:
    return Erasure(request, erasure_result(request, probed=probed), ())


def found_by(request: EditRequest) -> Erased:
    """What probes read before and after an erasure."""
    details = erasure_result(request).details
    assert isinstance(details, Erased)
    return details


def both(accuracy: Accuracy | None) -> str:
    """The shares of texts and templates, as they are said."""
    assert accuracy is not None
    return "/".join(map(numbers.probability, (accuracy.texts, accuracy.templates)))


def pane(run: Running) -> ErasurePane:
    return run.app.screen.query_one(ErasurePane)


def words(run: Running) -> str:
    return " ".join(run.text.replace("│", " ").split())


async def fill(run: Running, **fields: str) -> None:
    """Open the form, and put values into it: the editor first, which brings fields of its own."""
    await run.pilot.press(KEY)
    await run.settle()
    for name in sorted(fields, key=lambda name: name != "editor"):
        pane(run).query_one(f"#{name}", Input).value = fields[name]
        if name == "editor":
            await run.settle()
    await run.settle()
    await run.pilot.press("enter")


async def erase(run: Running, answer: bool = True, **fields: str) -> EditRequest:
    """Ask by the form for layers 2 and 3, and let the engine answer."""
    asked = len(run.engine.asked)
    await fill(run, **{"layers": "2-3", "limit": str(LIMIT), **fields})
    await run.until(lambda: any(isinstance(each, EditRequest) for each in run.engine.asked[asked:]))
    request = run.engine.last
    assert isinstance(request, EditRequest)
    run.engine.say_started()
    if answer:
        run.engine.say_finished(erasure_result(request))
    await run.settle()
    return request


@asynccontextmanager
async def erased(size: tuple[int, int] = (80, 24), **fields: str) -> AsyncIterator[Running]:
    """An app in which a concept was erased, with no prompt."""
    async with running(size) as run:
        await run.pilot.press("escape")
        await erase(run, **fields)
        yield run


def asked_of(run: Running, kind: type[Request]) -> list[Request]:
    return [request for request in run.engine.asked if isinstance(request, kind)]


# What is said, without an app


def test_the_curves_of_the_chart_differ_in_their_markers_and_are_of_unseen_texts() -> None:
    curves = {curve.name: curve for curve in views.curves(found_by(REQUEST))}
    assert len({curve.marker for curve in curves.values()} | {views.GUESSING}) == 4
    rows = found_by(REQUEST).probed
    assert [row.layer for row in rows] == [2, 3, 4, 5]
    for name, field in (("before", "before"), ("after", "after"), ("non-linear", "nonlinear_after")):
        assert curves[name].points == tuple((row.layer, getattr(row, field).texts) for row in rows)


def test_of_steering_the_share_taken_for_the_class_is_drawn() -> None:
    before, after = views.curves(found_by(STEERING))
    taken = {row.layer: row.towards for row in found_by(STEERING).probed}
    assert dict(before.points) == {layer: shares[0] for layer, shares in taken.items() if shares}
    assert dict(after.points) == {layer: shares[1] for layer, shares in taken.items() if shares}
    assert len(before.points) == len(taken)
    row = found_by(STEERING).at(3)
    assert row is not None
    was, now = map(numbers.probability, taken[3] or ())
    said = views.reading(found_by(STEERING), row).plain
    assert f"taken for {found_by(STEERING).towards}: ● before {was} · ○ after {now}" in said


def test_a_layer_is_said_in_the_numbers_of_texts_and_templates() -> None:
    result = found_by(REQUEST)
    changed, above = result.at(3), result.at(5)
    assert changed is not None
    assert above is not None
    said = views.reading(result, changed).plain
    read = [both(each) for each in (changed.before, changed.after, changed.nonlinear_after)]
    assert said.startswith("layer 3 (changed) · ● before {} · ○ after {} · × non-linear {}".format(*read))
    assert said.endswith(f"─ guessing {both(result.majority)}")
    assert "layer 5 (above)" in views.reading(result, above).plain


@pytest.mark.parametrize("request_", [LEACE, ORTH, STEER], ids=lambda request: request.editor)
def test_the_columns_of_the_table_stand_under_their_names(request_: EditRequest) -> None:
    result = found_by(request_)
    first = result.probed[0]
    head, row = views.head(result), views.row_text(first)
    for name, accuracy in (("before", first.before), ("non-linear", first.nonlinear_after)):
        end = head.index(name) + len(name)
        assert row[:end].endswith(both(accuracy))
    assert row.startswith("◆")
    assert not views.row_text(result.probed[-1]).startswith("◆")


def test_layers_are_said_as_a_range_only_where_they_are_one() -> None:
    assert [layers_in_words(layers) for layers in ((12,), (5, 6, 7), (3, 5, 8))] == ["L12", "L5–7", "L3,5,8"]


def test_an_edit_s_state_is_read_from_the_queue() -> None:
    one = found()
    assert one.state(erasure_queue(REQUEST), under_way=False) == "on"
    assert one.state(erasure_queue(REQUEST, on=False), under_way=False) == "off"
    assert one.state(erasure_queue(REQUEST, bypassed=True), under_way=False) == "held"
    assert one.state(erasure_queue(), under_way=False) == "removed"
    assert found(probed=1).state(erasure_queue(), under_way=True) == "planned"
    assert found(probed=1).state(erasure_queue(), under_way=False) == "none"


def test_an_erasure_is_stale_where_other_edits_than_its_own_are_on() -> None:
    own = erasure_edit(REQUEST).id
    assert not found().stale(())
    assert not found().stale((own,))
    assert found().stale((own, "another"))


def test_the_same_erasure_with_another_strength_takes_the_place_of_the_one_before() -> None:
    erasures = Erasures()
    for request in (REQUEST, STEERING, stronger(STEERING, 2.0).model_copy(update={"case": None})):
        erasures.put(found(request))
    assert len(erasures) == 2
    assert erasures.shown.strength == 2.0
    erasures.turn()
    assert erasures.shown.request == REQUEST
    assert [other.request.editor for other in erasures.others] == ["steer"]


def test_the_layer_looked_at_is_the_last_changed_one_until_another_is_gone_to() -> None:
    erasures = Erasures()
    erasures.put(found(probed=1))
    assert erasures.row.layer == 2
    erasures.put(found())
    assert erasures.row.layer == 3
    assert not erasures.go(0)  # was not probed
    assert erasures.go(5)
    assert [erasures.neighbor(by) for by in (-1, 1)] == [4, 5]


def test_the_details_say_what_was_measured_what_it_does_and_what_the_others_did() -> None:
    one, other = found(), found(STEERING)
    row, compared, effects = one.result.at(3), other.result.at(3), one.result.effects
    assert row is not None
    assert compared is not None
    assert effects is not None
    most = row.most_changed[0]
    broken = most.model_copy(update={"text": "The king said\nthat he"})
    word, classes = effects.words[0], one.result.classes
    moved = [
        f"{name} {numbers.probability(was)} → {numbers.probability(now)}"
        for name, was, now in zip(classes, word.before, word.after, strict=True)
    ]
    said = sections(one, row.model_copy(update={"most_changed": (most, broken)}), [other]).plain
    for wanted in (
        f"linear      {both(row.before)} → {both(row.after)}",
        f"non-linear  {both(row.nonlinear_before)} → {both(row.nonlinear_after)}",
        f"fresh       {both(row.fresh)}",
        f"rank 1 · singular values {row.singular_values[0]:.3g}",
        f"{most.moved:.1%} {most.label}: {most.text}",
        "The king said⏎that he",
        f"{word.prompt} … {' · '.join(moved)}",
        f"held-out perplexity {effects.perplexity_before:.2f} → {effects.perplexity_after:.2f}",
        f"facts kept {effects.kept} of {effects.known}",
        *(f"“{fact.before.strip()}” → “{fact.after.strip()}”" for fact in effects.lost),
        "The watched prompt: The capital of Australia is",
        "“Sydney”",
        f"Steering L2–3, Pronoun gender · linear {both(compared.before)} → {both(compared.after)}",
    ):
        assert wanted in said
    without = Erasure(REQUEST, erasure_result(REQUEST, probed=1), ())
    assert "not measured yet" in sections(without, row, []).plain


# The form


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (130, 16)])
async def test_the_key_opens_the_form_without_a_prompt_and_enter_asks(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await run.pilot.press("escape", KEY)
        await run.settle()
        assert "pronoun-gender" in run.text
        assert "Type a prompt first" not in run.notified
        await run.pilot.press("enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        assert run.engine.last == erasure_request("leace", concept="pronoun-gender", digest=DIGEST)
        assert "waiting for the model" in run.text.lower()
        assert not pane(run).query_one(ErasureForm).is_open


async def test_the_form_s_fields_and_the_shared_case_make_the_request() -> None:
    async with running() as run:
        await ask_hero(run)
        request = await erase(
            run, answer=False, concept="tense", layers="1,3-4", pool="mean", editor="steer", limit="500",
            towards="past", strength="−2.5", above="no", seed="4",
        )  # fmt: skip
        settings = SteeringSettings(
            concept="tense",
            digest=shipped_concept("tense").limited(500, 4).digest,
            layers=(1, 3, 4),
            pool="mean",
            towards="past",
            strength=-2.5,
            limit=500,
            above=False,
            seed=4,
        )
        assert request == EditRequest(editor="steer", case=HERO, settings=settings, test=False)


async def test_the_settings_in_the_form_are_those_of_the_editor_that_is_chosen() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press(KEY)
        await run.settle()
        fields = pane(run).query_one(SettingsFields)
        shown = lambda: {field.id for field in fields.query(ChoiceField) if field.display}  # noqa: E731
        assert shown() == {"layers", "pool", "limit", "above", "seed"}
        assert "towards" not in run.text
        await run.pilot.press("tab", "down", "down")  # leace, orth, steer
        await run.settle()
        assert shown() == {"layers", "pool", "limit", "above", "seed", "towards", "strength"}
        fields.field("strength").focus()
        await run.settle()
        assert "towards" in run.text
        assert "strength" in run.text
        fields.field("strength").value = "2"
        pane(run).query_one("#editor", Input).value = "leace"
        await run.pilot.press("enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        asked = erasure_request("leace", concept="pronoun-gender", digest=DIGEST)
        assert run.engine.last == asked.model_copy(update={"case": HERO})


async def test_arrows_go_through_the_choices_and_escape_keeps_what_was_typed() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press(KEY, "down", "tab", "up", "tab", "tab", "down", "down")
        await run.settle()
        names = ("concept", "editor", "pool")
        values = [pane(run).query_one(f"#{name}", Input).value for name in names]
        assert values == [shipped_concepts()[(shipped_concepts().index("pronoun-gender") + 1) % 5], "steer", "mean"]
        await run.pilot.press("escape")
        await run.settle()
        assert not pane(run).query_one(ErasureForm).is_open
        assert pane(run).has_focus_within
        await run.pilot.press(KEY)
        await run.settle()
        assert [pane(run).query_one(f"#{name}", Input).value for name in names] == values
        assert not asked_of(run, EditRequest)


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (80, 21)])
async def test_every_field_of_the_form_can_be_seen_when_tab_leads_to_it_and_so_can_the_erasure(
    size: tuple[int, int],
) -> None:
    async with erased(size, editor="steer") as run:
        await run.pilot.press(KEY)
        await run.settle()
        form, seen = pane(run).query_one(ErasureForm), []
        while form.has_focus_within and (field := run.app.screen.focused) not in seen:
            assert isinstance(field, ChoiceField)
            assert field.region.height == 1
            assert field.region.width >= 10
            assert run.app.screen.find_widget(field).visible_region == field.region
            assert "layer 3 (changed) · taken for feminine" in words(run)
            assert "enter erases" in run.text
            seen.append(field)
            await run.pilot.press("tab")
            await run.settle()
        assert {field.id for field in seen} == {
            *("concept", "editor", "layers", "pool", "limit", "above", "seed", "towards", "strength")
        }


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"concept": "colour"}, "there is no concept “colour”; choose language, number, pronoun-gender"),
        ({"concept": "missing.csv"}, "missing.csv cannot be read"),
        ({"layers": "five"}, "'five' does not name layers"),
        ({"pool": "first"}, "pool: 'first' is not one of 'last', 'mean' or 'all'"),
        ({"editor": "cut"}, "there is no editor 'cut'; choose one of leace, orth, steer"),
        ({"limit": "-3"}, "-3 texts are too few"),
        ({"limit": "some"}, "limit: 'some' is not a whole number"),
        ({"limit": "12"}, "has"),
        ({"editor": "steer", "strength": "much"}, "strength: 'much' is not a number"),
        ({"editor": "steer", "strength": "inf"}, "inf is no strength to steer by"),
        ({"editor": "steer", "towards": "up"}, "there is no class 'up' to steer to; choose one of"),
    ],
)
async def test_what_makes_no_sense_stands_in_the_form_and_is_not_asked(fields: dict[str, str], sentence: str) -> None:
    async with running() as run:
        await ask_hero(run)
        await fill(run, **fields)
        await run.until(lambda: "✗" in run.text)
        assert sentence in words(run)
        assert pane(run).query_one(ErasureForm).is_open
        assert not asked_of(run, EditRequest)


async def test_texts_of_a_file_are_read_and_named_by_their_digest(tmp_path: Path) -> None:
    rows = [f"The {n} said that {word},{word}" for n in range(40) for word in ("she", "he")]
    (tmp_path / "mine.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    async with running() as run:
        await ask_hero(run)
        request = await erase(run, answer=False, concept=str(tmp_path / "mine.csv"))
        assert isinstance(request.settings, ErasureSettings)
        assert request.settings.data == str(tmp_path / "mine.csv")
        assert request.settings.concept is None
        assert request.settings.digest is not None


# What is shown


async def test_the_chart_shows_what_was_read_before_and_after_and_v_the_table_of_it() -> None:
    async with erased((80, 48)) as run:
        row, checks = found_by(LEACE).at(3), erasure_result(LEACE).checks
        assert row is not None
        assert "Erasure · ● on · Pronoun gender · LEACE L2–3" in run.text
        assert run.text.count("●") >= 3 + 2  # points, legend, and the state
        assert run.text.count("○") >= 3 + 1
        assert run.text.count("×") >= 1 + 1
        assert "─" * 5 in run.text
        assert f"layer 3 (changed) · ● before {both(row.before)}" in words(run)
        assert all(f"! {check.name} {check.text}" in words(run) for check in checks if check.level == "warn")
        await run.pilot.press("v")
        await run.settle()
        assert "before      after      fresh non-linear  rank" in run.text
        read = (row.before, row.after, row.fresh, row.nonlinear_after)
        assert " ".join(["◆ 3", *map(both, read), str(row.rank)]) in words(run)
        await run.pilot.press("v")
        await run.settle()
        assert "◆" not in run.text


@pytest.mark.parametrize("size", [(80, 16), (50, 20)])
async def test_where_a_chart_would_have_no_room_there_is_the_table(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await run.pilot.press("escape")
        await erase(run)
        assert pane(run).has_class("-table") == (pane(run).outer_size.height < 11)
        assert "Pronoun gender" in run.text
        assert "layer 3 (changed)" in run.text


async def test_a_partial_result_is_drawn_while_the_rest_is_under_way_and_escape_cancels() -> None:
    async with running() as run:
        await run.pilot.press("escape")
        request = await erase(run, answer=False)
        assert "Running the model" in run.text
        run.engine.say_progress(30, 100, erasure_result(request, probed=1), "probes at layer 3")
        await run.settle()
        assert "◌ no edit yet" in run.text
        assert "layer 2 (changed)" in run.text
        assert "probes at layer 3 30% · 12 s left" in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert run.engine.cancelled == 1
        run.engine.say_finished(erasure_result(request, probed=1), status="partial")
        await run.settle()
        assert "partial: 1 layer probed, the model is not changed" in run.text
        assert "Erasure · no edit ·" in run.text


async def test_what_was_probed_can_be_looked_at_before_the_effects_are_known() -> None:
    async with running((80, 48)) as run:
        await run.pilot.press("escape")
        request = await erase(run, answer=False)
        run.engine.say_progress(60, 100, erasure_result(request, probed=2), "after: prose")
        await run.settle()
        assert "◌ no edit yet" in run.text
        await run.pilot.press("enter")
        await run.settle()
        assert isinstance(run.app.screen, ErasureDetail)
        assert "not measured yet" in run.text
        run.engine.say_finished(erasure_result(request))
        await run.settle()
        effects = found_by(request).effects
        assert effects is not None
        assert f"facts kept {effects.kept} of {effects.known}" in run.text  # the details follow
        await run.pilot.press("escape")
        await run.settle()
        assert not isinstance(run.app.screen, ErasureDetail)
        assert "● on" in run.text


async def test_a_failure_is_a_sentence_and_what_was_found_before_stays() -> None:
    async with running() as run:
        await run.pilot.press("escape")
        request = await erase(run, answer=False)
        error = StepError(kind="InputError", message="there are layers 0 to 5 to erase at; name some of them")
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert error.message in words(run)
        await erase(run)
        assert "● on" in run.text
        await erase(run, answer=False)
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert f"✗ {error.message}" in words(run)
        assert "failed · stale: this is the result before" in run.text
        await erase(run, answer=False)
        run.engine.say_finished(None, status="cancelled")
        await run.settle()
        assert "cancelled · stale: this is the result before" in run.text
        assert request.settings == REQUEST.settings


async def test_nothing_is_there_at_first_and_after_a_cancelled_one() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press(str(pane(run).number))
        await run.settle()
        assert "No concept was erased yet. Press z" in words(run)
        await erase(run, answer=False)
        run.engine.say_finished(None, status="cancelled")
        await run.settle()
        assert "Cancelled before anything was found; press z to ask again" in words(run)


# The layer that is looked at


async def test_stepping_layers_moves_the_shared_cursor_and_follows_it() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await erase(run)
        token = run.main.cursor.token
        await run.pilot.press("k")
        await run.settle()
        assert run.main.cursor == Cursor(4, token)
        assert "layer 4 (above)" in run.text
        await run.pilot.press("left", "h")
        await run.settle()
        assert run.main.cursor == Cursor(2, token)
        await run.pilot.press("v", "k")  # now in the table
        await run.settle()
        assert run.main.cursor == Cursor(3, token)
        run.main.cursor = Cursor(5, token)
        await run.settle()
        assert "layer 5 (above)" in run.text
        run.main.cursor = Cursor(0, token)  # was not probed
        await run.settle()
        assert "layer 5 (above)" in run.text


# The edit


async def test_space_switches_the_edit_and_a_failure_of_that_is_said_here() -> None:
    async with erased() as run:
        edit = erasure_edit(REQUEST).id
        await run.pilot.press("space")
        await run.settle()
        assert run.engine.last == QueueRequest(action="off", edit=edit)
        run.engine.say_finished(queue_result(erasure_queue(REQUEST, on=False)))
        await run.settle()
        assert "○ off" in run.text
        await run.pilot.press("space")
        await run.settle()
        assert run.engine.last == QueueRequest(action="on", edit=edit)
        error = StepError(kind="InputError", message=f"there is no edit {edit} in the queue; it may have been removed")
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert f"✗ {error.message}" in words(run)


async def test_an_edit_that_was_removed_elsewhere_says_so_and_has_no_switch() -> None:
    async with erased() as run:
        run.main.queue = erasure_queue()
        await run.settle()
        assert "Erasure · removed" in run.text
        asked = len(run.engine.asked)
        await run.pilot.press("space")
        await run.settle()
        assert len(run.engine.asked) == asked


async def test_other_edits_make_it_stale_and_its_own_switch_does_not() -> None:
    async with erased() as run:
        run.main.queue = erasure_queue(REQUEST, on=False)
        await run.settle()
        assert "stale" not in run.text
        run.main.queue = erasure_queue(REQUEST, STEERING)
        await run.settle()
        assert "stale: other edits are on; press z to ask again" in run.text


async def test_plus_and_minus_ask_once_for_another_strength_in_place_of_the_edit_there_is() -> None:
    async with erased(editor="steer") as run:
        first = run.engine.last
        assert isinstance(first, EditRequest)
        assert "● on · Pronoun gender · Steering × 1 L2–3 to feminine" in run.text
        asked = len(run.engine.asked)
        await run.pilot.press("plus", "plus", "minus", "plus")
        await run.settle()
        assert "Steering × 1 → 2 L2–3" in run.text
        await run.until(lambda: len(run.engine.asked) > asked + 1)
        again = stronger(first, 2.0)
        assert run.engine.asked[asked:] == [QueueRequest(action="remove", edit=erasure_edit(first).id), again]
        run.engine.say_finished(queue_result(erasure_queue()), job=len(run.engine.asked) - 1)
        run.engine.say_started()
        await run.settle()
        assert "removed · Pronoun gender · Steering × 1 L2–3" in run.text  # what is shown is the one before
        run.engine.say_progress(30, 100, erasure_result(again, probed=1), "probes at layer 3")
        await run.settle()
        assert "◌ no edit yet · Pronoun gender · Steering × 2 L2–3" in run.text


async def test_a_strength_chosen_while_it_runs_is_asked_for_afterwards_and_not_after_a_cancellation() -> None:
    async with erased(editor="steer") as run:
        await erase(run, answer=False, editor="steer", strength="2")
        second = run.engine.last
        asked = len(run.engine.asked)
        await run.pilot.press("plus")
        await until_timers_end(run.pilot, run.main.query_one(ErasurePane))
        assert len(run.engine.asked) == asked  # it still runs
        run.engine.say_finished(erasure_result(second))  # type: ignore[arg-type]
        await run.until(lambda: len(run.engine.asked) > asked + 1)
        third = run.engine.last
        assert isinstance(third, EditRequest)
        assert third == stronger(third, 1.5)  # from the one that was shown when the key was pressed
        await run.pilot.press("plus")
        run.engine.say_finished(None, status="cancelled")
        await until_timers_end(run.pilot, run.main.query_one(ErasurePane))
        assert run.engine.last == third


async def test_only_steering_has_a_strength() -> None:
    async with erased() as run:
        asked = len(run.engine.asked)
        await run.pilot.press("plus")
        await until_timers_end(run.pilot, run.main.query_one(ErasurePane))
        assert len(run.engine.asked) == asked


async def test_the_same_erasure_asked_again_is_not_fitted_on_what_it_erased_already() -> None:
    async with erased() as run:
        asked = len(run.engine.asked)
        await erase(run)
        assert run.engine.asked[asked] == QueueRequest(action="remove", edit=erasure_edit(REQUEST).id)


async def test_m_goes_through_the_erasures_of_the_session_to_compare_them() -> None:
    async with erased() as run:
        await erase(run, editor="orth")
        assert "2/2 · ● on · Pronoun gender · Orthogonal projection L2–3" in run.text
        await run.pilot.press("m")
        await run.settle()
        assert "LEACE L2–3" in run.text
        assert "Erasure 1/2" in run.text
        await run.pilot.press("enter")
        await run.settle()
        await run.pilot.press("end")
        await run.settle()
        row = found_by(ORTH).at(3)
        assert row is not None
        said = f"linear {both(row.before)} → {both(row.after)}"
        assert f"Orthogonal projection L2–3, Pronoun gender · {said}" in words(run)


def test_no_library_of_charts_is_imported_before_the_first_chart() -> None:
    program = (
        "import sys, screens.app; print([n for n in sys.modules if n in ('plotext', 'typer', 'sklearn', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Sessions


def record(file: Path) -> SessionFile:
    """A session with an erasure, and another one on top of it."""
    recording = SessionFile(file)
    recording.use_model(MODEL)
    steps = [
        (REQUEST, ()),
        (STEERING, (erasure_edit(REQUEST).id,)),
    ]
    for request, edits in steps:
        result = erasure_result(request)
        recording.append(Step(started=STARTED, seconds=0.2, edits=edits, status="done", request=request, result=result))
    return recording


async def test_a_replay_shows_erasures_and_asks_nothing(tmp_path: Path) -> None:
    session = record(tmp_path / "s.json").session
    app = ReplayApp(Session(model=MODEL, steps=session.steps), tmp_path / "s.json")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        shown = app.screen.query_one(ErasurePane)
        await pilot.press(str(shown.number))
        await pilot.pause()
        text = "\n".join("".join(segment.text for segment in line) for line in app.screen._compositor.render_strips())
        assert "2/2 · ● on · Pronoun gender · Steering × 1.5" in text
        await pilot.press("space", "plus", KEY, "m", "enter")
        await until_timers_end(pilot, shown)
        assert isinstance(app.screen, ErasureDetail)
        await pilot.press("escape", "left_curly_bracket")
        await pilot.pause()
        assert len(shown._erasures) == 1
        assert not app._notifications


async def test_a_continued_session_puts_the_edits_back_and_shows_the_last_erasure(tmp_path: Path) -> None:
    record(tmp_path / "s.json")
    async with running((160, 48), recording=SessionFile.open(tmp_path / "s.json")) as run:
        queue = erasure_queue(REQUEST, STEERING)
        assert run.engine.last == QueueRequest(action="restore", entries=queue.entries)
        run.engine.say_finished(queue_result(queue))
        await run.settle()
        assert "2/2 · ● on · Pronoun gender · Steering × 1.5" in run.text
        assert "stale" not in run.text
