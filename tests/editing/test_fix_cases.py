"""Fixes of several failures: what is asked of each candidate, the table, and where edits are not the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.methods.test_diagnose import AskedHere
from tests.methods.test_edit_facts import records
from tests.tiny import tiny_loaded
from workbench.editing.advice import SHIPPED, MeasuredSequence, _Curves, _file, too_many
from workbench.editing.fix_candidates import FixCandidate, recommended
from workbench.editing.fix_cases import FixCasesRequest, fix_cases
from workbench.editing.fix_figures import cases_figures
from workbench.editing.records import FactsEditRequest
from workbench.editing.suite.regression import run_suite
from workbench.errors import InputError
from workbench.figures import Lines, Table
from workbench.protocol import silent
from workbench.remembering import remember


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))


def test_every_kind_of_fix_is_tried_on_all_cases_and_taken_back() -> None:
    model = tiny_loaded("llama")
    ask, asked = AskedHere(model), records(2)
    result = fix_cases(model, FixCasesRequest(records=asked, tries=("prompt", "in-context", "ft-m")), silent, ask)
    kept = [(each.sequence, each.batch) for each in ask.asked if isinstance(each, FactsEditRequest)]
    assert kept == [(False, None), (True, None)]  # in context each by itself, weights on top of each other
    assert model.edits.state.entries == ()
    assert [each.name for each in result.candidates] == ["prompt", "prompt", "in-context", "ft-m"]
    for start in result.candidates[:2]:
        prepend = start.scores[0].prepend
        alone = [run_suite(model, each.suite, prepends=(prepend,), generate=False, held_out=False) for each in asked]
        right = sum(one.outcomes[0].after.exact for one in alone)  # the rewrite is the first fact
        assert start.right == (right, 2)
        assert start.changed == (right == 2)
    (table,) = [
        figure for figure in cases_figures(result) if isinstance(figure, Table) and figure.title == "Candidates"
    ]
    assert len(table.rows) == 4
    assert result.reason


def test_an_editor_of_many_facts_makes_one_edit_of_all() -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model, refused="edit-facts")
    result = fix_cases(model, FixCasesRequest(records=records(3), tries=("memit",)), silent, ask)
    (request,) = ask.asked
    assert isinstance(request, FactsEditRequest)
    assert request.batch == 3
    assert [each.why for each in result.candidates] == ["not to be had"]
    assert any(check.name == "not made" for check in result.checks)
    assert "nothing that was tried" in result.reason


def test_more_than_fifty_failures_are_for_retrieval_or_retraining() -> None:
    model = tiny_loaded("llama")
    request = FixCasesRequest(records=records(1) * 51, tries=("prompt", "rome"))
    result = fix_cases(model, request, silent, AskedHere(model, refused="edit-facts"))
    assert result.reason.startswith("retrieval or retraining is the answer: 51 edits are more than 50")
    prompts = [each for each in result.candidates if each.name == "prompt"]
    assert all(result.beyond not in each.against for each in prompts)
    assert result.candidates[-1].against == (result.beyond,)
    first = cases_figures(result)[0]
    assert isinstance(first, Lines)
    assert "retrieval" in first.lines[0].text


def test_the_bend_that_was_measured_on_this_model_is_a_limit_too() -> None:
    ((shipped, curve),) = SHIPPED.items()
    assert curve.turned == 50
    assert too_many(shipped, 49) is None
    assert too_many(shipped, 50) == "edits by ROME, one after the other, turned at 50 on this model, and these are 50"
    assert too_many("another", 50) is None
    assert "more than 50" in (too_many("another", 51) or "")
    early = curve.model_copy(update={"turned": 10})
    batches = MeasuredSequence(**{**curve.model_dump(), "batch": True, "turned": 5})
    remember(_file("another"), _Curves(curves=(early, batches)))
    assert too_many("another", 9) is None
    assert "turned at 10" in (too_many("another", 10) or "")
    borne = early.model_copy(update={"editor": "GRACE", "turned": None, "edits": 20})
    remember(_file("another"), _Curves(curves=(early, borne)))
    assert too_many("another", 20) is None
    assert too_many("another", 21) is not None


def test_where_no_candidate_changes_most_cases_the_one_that_changes_the_most_comes_closest() -> None:
    def candidate(name: str, right: int, against: tuple[str, ...] = ()) -> FixCandidate:
        return FixCandidate(name=name, title=name, changed=False, right=(right, 20), against=against)

    place, reason = recommended([candidate("a", 3), candidate("b", 12, ("only 12 of 20 answers change as wanted",))])
    assert place == 1
    assert reason == "b comes closest, but only 12 of 20 answers change as wanted"
    assert recommended([candidate("a", 0)])[0] is None


@pytest.mark.parametrize(
    ("given", "said"),
    [({"tries": ("magic",)}, "there is no fix 'magic'"), ({"records": ()}, "there are no cases to mend")],
)
def test_a_request_that_makes_no_sense_is_one_sentence(given: dict[str, Any], said: str) -> None:
    model = tiny_loaded("llama")
    with pytest.raises(InputError, match=said):
        fix_cases(model, FixCasesRequest(**{"records": records(1), **given}), silent, AskedHere(model))
