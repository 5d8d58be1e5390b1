"""Edits of many records: each by itself and taken back, or in sequence; and which of several edits broke a fact."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.methods.test_rome import CASE, suite
from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded
from workbench.datasets.suites import EditRecord, Suite
from workbench.editing import bisection as bisect
from workbench.editing import records as edit_facts
from workbench.editing import sequence
from workbench.editing.advice import MANY, SHIPPED, advice
from workbench.editing.bisection import BisectRequest
from workbench.editing.changes import WeightChange
from workbench.editing.editor import Details, Made
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.records import FactsEditRequest
from workbench.editing.rewriting import rewrites
from workbench.editing.sequence import FEW, SequencePoint, case_of, is_measured, turning_point
from workbench.editing.suite import regression
from workbench.editing.suite.answers import evaluate
from workbench.editing.suite.held_out import perplexity
from workbench.editing.suite.regression import run_suite
from workbench.editing.suite.scores import RoleScore, mean_scores
from workbench.errors import Cancelled, InputError
from workbench.protocol import silent


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))
    return tmp_path


def records(number=2):
    subjects = ("Australia", "France", "Sydney")
    return tuple(
        EditRecord(
            id=str(place),
            case=CASE.model_copy(
                update={"prompt": f"The largest island of all is {subjects[place]}", "subject": subjects[place]}
            ),
            suite=suite(),
        )
        for place in range(number)
    )


def request(**settings):
    return FactsEditRequest(**{"records": records(), "settings": {"layer": 1, "prefixes": 2}, **settings})


def test_every_record_is_edited_by_itself_and_taken_back():
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    result = edit_facts.run(loaded, request(), silent)
    assert digest(loaded) == original
    assert loaded.edits.entries == ()
    assert [record.id for record in result.records] == ["0", "1"]
    alone = edit_facts.run(loaded, request(records=records()[1:]), silent)
    assert alone.records[0].scores == result.records[1].scores


def test_scores_are_means_over_records_beside_those_of_the_unedited_model():
    loaded = tiny_loaded("llama")
    result = edit_facts.run(loaded, request(), silent)
    unedited = run_suite(loaded, suite(), generate=False, held_out=False)
    for score in result.scores:
        of_records = [one for record in result.records for one in record.scores if one.role == score.role]
        alike = [one.score for one in of_records if one.prepend == score.prepend]
        assert score.score == pytest.approx(sum(alike) / len(alike))
        expected = unedited.score(score.role, score.prepend)
        assert expected is not None
        assert score.score_before == pytest.approx(expected.score_before)


def test_an_interrupted_run_goes_on_where_it_stopped(monkeypatch):
    loaded = tiny_loaded("llama")

    def stop_at_the_second(done, total, partial=None, *, stage=""):
        if done >= 100:
            raise Cancelled

    with pytest.raises(Cancelled):
        edit_facts.run(loaded, request(), stop_at_the_second)
    computed = []
    rome = edit_facts.editor("rome")
    counting = replace(rome, make=lambda *a: computed.append(a[1][0].subject) or rome.make(*a))
    monkeypatch.setattr(edit_facts, "editor", lambda _: counting)
    result = edit_facts.run(loaded, request(), silent)
    assert computed == ["France"]
    assert len(result.records) == 2


@pytest.mark.parametrize("sequence", [False, True])
def test_the_unedited_model_is_asked_once_however_many_editors_are_tried(monkeypatch, sequence):
    loaded, edited = tiny_loaded("llama"), []
    evaluate = regression.evaluate
    monkeypatch.setattr(regression, "evaluate", lambda *a: (edited.append(bool(loaded.edits.applied)), evaluate(*a))[1])
    for steps in (1, 2):
        settings = {"layer": 1, "prefixes": 0, "steps": steps}
        edit_facts.run(loaded, request(records=records(1), settings=settings, sequence=sequence), silent)
    assert edited == [False, True, True]


def test_a_record_that_cannot_be_edited_is_said_and_the_others_are_edited():
    bad = records()[0].model_copy(update={"id": "bad", "case": CASE.model_copy(update={"subject": "Narnia"})})
    result = edit_facts.run(tiny_loaded("llama"), request(records=(bad, *records())), silent)
    assert list(result.unusable) == ["bad"]
    assert "not in the prompt" in result.unusable["bad"]
    assert len(result.records) == 2
    with pytest.raises(InputError, match="no record could be edited"):
        edit_facts.run(tiny_loaded("llama"), request(records=(bad,)), silent)
    with pytest.raises(InputError, match="no records"):
        edit_facts.run(tiny_loaded("llama"), request(records=()), silent)


def test_a_sequence_measures_all_records_so_far_and_leaves_no_edit():
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    result = edit_facts.run(loaded, request(records=records(3), sequence=True), silent)
    assert [point.edits for point in result.points] == [1, 2, 3]
    assert result.points[-1].scores[0].facts == 3
    assert digest(loaded) == original


def shifting(loaded, cases, settings, progress):
    """An edit that shifts a state for every case, as an editor of many facts would make it."""
    progress(0, 1, stage="shifting")
    generator = torch.Generator().manual_seed(len(cases))
    left = torch.randn(16, len(cases), generator=generator)
    right = torch.randn(40, len(cases), generator=generator)
    title = ", ".join(case.subject for case in cases)
    info = EditInfo(id=edit_id(loaded, "many", cases, settings), method="many", title=title, layers=(1,))
    return Made(Edit(info, (WeightChange(1, left, right),)), Details())


def many(monkeypatch, takes_many=True):
    """An editor that takes many facts, in place of the one that a request names; what it was asked for."""
    asked = []

    def make(loaded, cases, settings, progress):
        asked.append(tuple(case.subject for case in cases))
        return shifting(loaded, cases, settings, progress)

    known = replace(edit_facts.editor("rome"), title="Many", check=rewrites, make=make, many=takes_many)
    monkeypatch.setattr(edit_facts, "editor", lambda _: known)
    return asked


def named(*subjects):
    return tuple(
        EditRecord(
            id=subject,
            case=CASE.model_copy(update={"prompt": f"The island of all is {subject}", "subject": subject}),
            suite=suite(),
        )
        for subject in subjects
    )


FIVE = ("Australia", "France", "Sydney", "Paris", "Rome")


def test_batches_are_solved_together_and_lie_on_top_of_each_other(monkeypatch):
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    asked = many(monkeypatch)
    result = edit_facts.run(loaded, request(records=named(*FIVE), batch=2), silent)
    assert asked == [("Australia", "France"), ("Sydney", "Paris"), ("Rome",)]
    assert [point.edits for point in result.points] == [2, 4, 5]
    assert digest(loaded) == original
    assert result.points[-1].size == 4 * 5 * (16 + 40)
    # The last point is the model with all three edits on, measured plainly.
    cases = [[case_of(record) for record in group] for group in (named(*FIVE[:2]), named(*FIVE[2:4]), named(FIVE[4]))]
    unedited = run_suite(loaded, suite(), generate=False, held_out=False)
    for group in cases:
        loaded.edits.add(shifting(loaded, group, RomeSettings(layer=1, prefixes=2), silent).edit)
    plain = run_suite(loaded, suite(), generate=False, held_out=False)
    for score in result.scores:
        expected = plain.score(score.role, score.prepend)
        assert (score.score, score.facts) == (pytest.approx(expected.score), 5)
        assert score.score_before == pytest.approx(unedited.score(score.role, score.prepend).score)
    assert result.perplexity == pytest.approx(perplexity(loaded), rel=1e-5)


def test_an_interrupted_sequence_goes_on_with_its_edits_and_points(monkeypatch):
    asked = many(monkeypatch)
    whole = edit_facts.run(tiny_loaded("llama"), request(records=named(*FIVE[:4]), batch=2), silent)
    assert len(asked) == 2
    measured = []
    monkeypatch.setattr(sequence, "run_suite", lambda *a, **given: measured.append(given) or run_suite(*a, **given))
    longer = edit_facts.run(tiny_loaded("llama"), request(records=named(*FIVE), batch=2), silent)
    assert asked[2:] == [("Rome",)]
    assert len(measured) == 1
    assert longer.points[:2] == whole.points


def test_a_cancelled_sequence_keeps_what_was_measured(monkeypatch):
    loaded = tiny_loaded("llama")
    original = digest(loaded)
    many(monkeypatch)
    seen = []

    def stop_at_the_third(done, total, partial=None, *, stage=""):
        seen.append(partial)
        if stage.startswith("edit 3"):
            raise Cancelled

    with pytest.raises(Cancelled):
        edit_facts.run(loaded, request(records=named(*FIVE), batch=2), stop_at_the_third)
    assert [point.edits for point in seen[-1].points] == [2, 4]
    assert digest(loaded) == original


def test_a_batch_that_makes_no_sense_is_one_sentence(monkeypatch):
    loaded = tiny_loaded("llama")
    many(monkeypatch, takes_many=False)
    with pytest.raises(InputError, match=r"^Many edits one fact at a time; leave --batch out or use --sequence$"):
        edit_facts.run(loaded, request(batch=2), silent)
    asked = many(monkeypatch)
    with pytest.raises(InputError, match="leave --sequence or --batch out"):
        edit_facts.run(loaded, request(batch=2, sequence=True), silent)
    twice = (*named("France"), *named("Sydney"), named("France")[0].model_copy(update={"id": "again"}))
    with pytest.raises(InputError, match="records France and again of one batch edit the same prompt, “The island"):
        edit_facts.run(loaded, request(records=twice, batch=3), silent)
    assert asked == []
    assert len(edit_facts.run(loaded, request(records=twice, batch=2), silent).points) == 2  # in two batches they may
    with pytest.raises(ValidationError):
        request(batch=0)


def test_of_a_batch_a_record_that_cannot_be_edited_is_left_out(monkeypatch):
    asked = many(monkeypatch)
    bad = named("France")[0].model_copy(update={"id": "bad", "case": CASE.model_copy(update={"subject": None})})
    result = edit_facts.run(tiny_loaded("llama"), request(records=(bad, *named("Sydney", "Rome")), batch=3), silent)
    assert asked == [("Sydney", "Rome")]
    assert "needs a subject" in result.unusable["bad"]
    assert next(check for check in result.checks if check.name == "records").level == "warn"


def test_a_long_sequence_is_measured_seldom():
    grown = [edits for edits in range(1, 451) if is_measured(edits - 1, edits)]
    assert grown == [1, 2, 5, *range(10, 100, 10), 100, 200, 300, 400]
    assert [edits for edits in range(30, 451, 30) if is_measured(edits - 30, edits)] == [30, 60, 90, 120, 210, 300, 420]


def test_past_fifty_edits_is_warned_with_what_was_measured_on_this_model(monkeypatch):
    loaded = tiny_loaded("llama")
    assert advice(loaded.info.fingerprint, MANY) is None
    assert "not measured on this model yet" in advice(loaded.info.fingerprint, MANY + 1).text
    many(monkeypatch)
    edit_facts.run(loaded, request(records=named(*FIVE[:3]), sequence=True), silent)
    said = advice(loaded.info.fingerprint, MANY + 1)
    assert said.level == "warn"
    assert "measured on this model: Many" in said.text
    assert "at 3 score" in said.text
    edit_facts.run(loaded, request(records=named(*FIVE[:2]), sequence=True), silent)
    assert "at 3 score" in advice(loaded.info.fingerprint, MANY + 1).text  # the longer one stays


def test_the_curve_that_ships_is_that_of_the_docs():
    unedited, *points = json.loads((Path(__file__).parents[2] / "docs" / "sequence.json").read_text())
    (shipped,) = SHIPPED.values()
    last = points[-1]
    assert shipped.edits == last["edits"]
    assert shipped.perplexity == pytest.approx((unedited["perplexity"], last["perplexity"]), abs=0.01)
    assert shipped.score == pytest.approx((unedited["harmonic"]["as-is"], last["harmonic"]["as-is"]), abs=1e-3)
    turned = next(point["edits"] for point in points if point["perplexity"] > 1.1 * unedited["perplexity"])
    assert shipped.turned == turned
    said = advice(next(iter(SHIPPED)), MANY + 1)
    assert said.text.endswith("ROME turned at 50 edits; at 100 score 33.9 → 77.3, held-out perplexity +23%")


def test_means_over_records_have_an_interval_that_a_plain_bootstrap_gives():
    dice = np.random.RandomState(3)
    shares = [float(value) for value in dice.randint(0, 2, 40)]
    each = [
        (RoleScore(role="rewrite", prepend="as-is", facts=1, score=share, score_before=0, magnitude=share - 1,
                   magnitude_before=None, exact=share, exact_before=0),)
        for share in shares
    ]  # fmt: skip
    (mean,) = mean_scores(each, intervals=True)
    assert mean.score == pytest.approx(np.mean(shares))
    draws = [np.mean(dice.choice(shares, len(shares))) for _ in range(4000)]
    assert mean.intervals["score"] == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])), abs=0.03)
    assert mean.intervals["magnitude"] == pytest.approx([bound - 1 for bound in mean.intervals["score"]])
    z = 1.95996
    assert mean.intervals["score_before"] == pytest.approx((0, z**2 / (40 + z**2)), abs=1e-4)  # Wilson's, of none of 40
    assert "magnitude_before" not in mean.intervals
    assert mean_scores(each)[0].intervals == {}


def test_the_chart_turns_where_the_score_falls_or_perplexity_grows():
    def points(scores, perplexities, facts=FEW):
        role = RoleScore(
            role="rewrite",
            prepend="as-is",
            facts=facts,
            score=0,
            score_before=0,
            magnitude=None,
            magnitude_before=None,
            exact=0,
            exact_before=0,
        )
        return [
            SequencePoint(edits=place + 1, scores=(role,), harmonic={"as-is": score}, perplexity=perplexity)
            for place, (score, perplexity) in enumerate(zip(scores, perplexities, strict=True))
        ]

    assert turning_point(points([0.8, 0.82, 0.76], [10, 10.1, 10.5]), 10) is None
    assert turning_point(points([0.8, 0.82, 0.7], [10, 10, 10]), 10) == 3
    assert turning_point(points([0.8, 0.82, 0.82], [10, 11.2, 10]), 10) == 2
    assert turning_point(points([0.8, 0.82, 0.7], [10, 10, 10], facts=FEW - 1), 10) is None
    assert turning_point(points([0.8, 0.82, 0.7], [10, 10, 11.2], facts=FEW - 1), 10) == 3


def test_bisection_finds_the_edit_that_broke_a_fact():
    loaded = tiny_loaded("llama")
    # Of "," and "." the one that the unedited model holds for likelier.
    fact = suite().facts[0]
    if not evaluate(loaded, suite(), ["as-is"])[0, "as-is"].answer.passes:
        fact = fact.model_copy(update={"target": fact.against, "against": fact.target})
    assert evaluate(loaded, Suite(name="one", facts=(fact,)), ["as-is"])[0, "as-is"].answer.passes
    small = [weight_edit(loaded, f"e{number}", seed=number) for number in range(5)]
    for edit in small:
        edit.changes[0].left.mul_(1e-6)
    breaking = next(seed for seed in range(100) if _breaks(loaded, fact, weight_edit(loaded, "e3", seed=seed)))
    small[3] = weight_edit(loaded, "e3", seed=breaking)
    for edit in small:
        loaded.edits.add(edit)
    before = digest(loaded)
    found = bisect.run(loaded, BisectRequest(fact=fact, prepend="as-is"), silent)
    assert (found.broken_by.id, found.before) == ("e3", 3)
    assert found.passing.passes
    assert not found.failing.passes
    assert digest(loaded) == before


def _breaks(loaded, fact, edit):
    with loaded.edits.added(edit):
        return not evaluate(loaded, Suite(name="one", facts=(fact,)), ["as-is"])[0, "as-is"].answer.passes


def test_bisection_refuses_in_a_sentence_where_nothing_was_broken():
    loaded = tiny_loaded("llama")
    fact = suite().facts[0]
    with pytest.raises(InputError, match="no edit is on"):
        bisect.run(loaded, BisectRequest(fact=fact), silent)
    loaded.edits.add(weight_edit(loaded, "a"))
    impossible = fact.model_copy(update={"target": "~", "against": None})
    with pytest.raises(InputError, match="fails without any edit"):
        bisect.run(loaded, BisectRequest(fact=impossible), silent)
