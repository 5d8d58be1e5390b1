"""Edits of many records: each by itself and taken back, or in sequence; and which of several edits broke a fact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.methods.test_rome import CASE, suite
from tests.test_edits import digest, weight_edit
from tests.tiny import tiny_loaded
from workbench.datasets.suites import EditRecord, Suite
from workbench.editing import bisection as bisect
from workbench.editing import records as edit_facts
from workbench.editing.bisection import BisectRequest
from workbench.editing.records import FEW, FactsEditRequest, SequencePoint, turning_point
from workbench.editing.suite.answers import evaluate
from workbench.editing.suite.regression import RoleScore, run_suite
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
        same_start = [one.score for one in of_records if one.prepend == score.prepend]
        assert score.score == pytest.approx(sum(same_start) / len(same_start))
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
