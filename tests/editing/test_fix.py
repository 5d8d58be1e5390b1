"""Fixes side by side: what is tried, what speaks against it, and which is recommended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.methods.test_diagnose import AskedHere
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.editing.fix import FixRequest, FixResult, fix
from workbench.editing.fix_candidates import FixCandidate, judged, recommended
from workbench.editing.fix_figures import fix_figures
from workbench.editing.suite.scores import RoleScore
from workbench.errors import InputError
from workbench.figures import Table
from workbench.protocol import silent

CASE = Case(prompt="The capital of Australia is", subject="Australia", target=" city", foil=" Tom")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_WORKBENCH_HOME", str(tmp_path))


def candidate(name: str, changed: bool | None = True, against: tuple[str, ...] = (), **given: Any) -> FixCandidate:
    return FixCandidate(name=name, title=name, changed=changed, against=against, **given)


def test_the_first_candidate_that_passes_every_test_is_recommended() -> None:
    found = [candidate("prompt", against=("x",)), candidate("rome"), candidate("grace")]
    place, reason = recommended(found)
    assert place == 1
    assert reason.startswith("rome does it")


def test_a_prompt_that_does_it_is_recommended_because_no_weight_has_to_change() -> None:
    place, reason = recommended([candidate("prompt", case=CASE), candidate("rome")])
    assert place == 0
    assert "no weight has to change" in reason


def test_where_none_passes_the_one_with_the_fewest_faults_is_named_with_them() -> None:
    found = [
        candidate("prompt", changed=False, against=("z",)),
        candidate("a", against=("x", "y")),
        candidate("b", against=("w",)),
    ]
    place, reason = recommended(found)
    assert place == 2
    assert "w" in reason


def test_nothing_is_recommended_where_nothing_changes_the_answer() -> None:
    assert recommended([candidate("rome", changed=False), candidate("grace", changed=None)])[0] is None


def test_candidates_are_made_tested_and_taken_back() -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model)
    request = FixRequest(case=CASE, failure="recall", tries=("ft-m", "prompt"))
    result = fix(model, request, silent, ask)
    assert [each.kind for each in ask.asked][:1] == ["stability"]
    assert ask.asked[-1].kind == "compare"
    assert {each.name for each in result.candidates} == {"ft-m", "prompt"}
    assert result.candidates[0].name == "ft-m"  # in the order that was asked for
    made = result.candidates[0]
    assert made.edit is not None
    assert model.edits.state.entries == ()
    assert made.undo
    tables = [figure for figure in fix_figures(result) if isinstance(figure, Table)]
    assert len(tables[0].rows) == len(result.candidates)
    assert result.reason


def test_each_edit_is_told_of_as_soon_as_it_was_tried_and_those_to_come_by_name() -> None:
    model, told = tiny_loaded("llama"), list[list[tuple[str, str]]]()

    def progress(done: int, total: int, partial: Any = None, *, stage: str = "") -> None:
        if stage == "edits":
            told.append([(each.name, each.why) for each in partial.candidates])
            assert partial.recommended is None
            assert all(check.name != "not made" for check in partial.checks)

    result = fix(model, FixRequest(case=CASE, failure="recall", tries=("ft-m", "ft-l")), progress, AskedHere(model))
    later = "not tried yet"
    assert told == [[("ft-m", later), ("ft-l", later)], [("ft-m", ""), ("ft-l", later)], [("ft-m", ""), ("ft-l", "")]]
    assert [each.why for each in result.candidates] == ["", ""]

    told.clear()
    result = fix(model, FixRequest(case=CASE, failure="recall", tries=("ft-m",)), progress, AskedHere(model, "compare"))
    assert told == [[("ft-m", later)]]
    assert [each.why for each in result.candidates] == ["not to be had"]
    assert any(check.name == "not made" for check in result.checks)


def test_a_case_without_an_answer_is_diagnosed_first() -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model)
    asked = Case(prompt="The capital of Australia is", target=" city", foil=" Tom")

    class Guided(AskedHere):
        def __call__(self, request: Any, seen: Any = None) -> Any:
            if request.kind == "diagnose":
                ask.asked.append(request)
                from workbench.methods.diagnose.diagnosis import diagnose

                class Answer:
                    id, why = 9, ""
                    result = diagnose(model, request, silent, ask)

                return Answer()
            return super().__call__(request)

    result = fix(model, FixRequest(case=asked, tries=("prompt",)), silent, Guided(model))
    assert isinstance(result, FixResult)
    assert ask.asked[0].kind == "diagnose"
    assert result.case.subject
    assert result.failure is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tries": ("magic",)}, "there is no fix 'magic'"),
        ({"case": Case(prompt=" ")}, "prompt is empty"),
    ],
)
def test_a_request_that_makes_no_sense_is_one_sentence(given: dict[str, Any], said: str) -> None:
    model = tiny_loaded("llama")
    request = FixRequest(**{"case": CASE, "failure": "recall", **given})
    with pytest.raises(InputError, match=said):
        fix(model, request, silent, AskedHere(model))


def test_phrasings_what_should_stay_and_perplexity_speak_against_a_fix() -> None:
    def score(role: Any, now: float, before: float) -> RoleScore:
        return RoleScore.model_construct(role=role, prepend="as-is", score=now, score_before=before)

    scores = (
        score("paraphrase", 0.25, 0.0),
        score("neighborhood", 0.9, 1.0),
        score("attribute", 0.0, 1.0),
        score("unrelated", 0.98, 1.0),
        score("unrelated", 0.5, 1.0).model_copy(update={"prepend": "separator"}),
    )
    tested = judged(candidate("x").model_copy(update={"scores": scores, "perplexity": 11.0, "perplexity_before": 10.0}))
    assert [each.split(" ")[0] for each in tested.against] == ["only", "specificity", "what", "held-out"]


def test_what_an_editor_warns_of_speaks_against_its_edit() -> None:
    model = tiny_loaded("llama")

    class Warned(AskedHere):
        """A comparison whose editor warns."""

        def __call__(self, request: Any, seen: Any = None) -> Any:
            answer = super().__call__(request)
            if request.kind == "compare":
                (rival,) = answer.result.rivals
                warned = rival.model_copy(update={"sound": False, "warned": ("drift 0.2 nats",)})
                answer.result = answer.result.model_copy(update={"rivals": (warned,)})
            return answer

    result = fix(model, FixRequest(case=CASE, failure="recall", tries=("ft-m",)), silent, Warned(model))
    assert result.candidates[0].against[-1] == "drift 0.2 nats"
