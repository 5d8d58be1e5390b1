"""Many questions on a tiny model: the same numbers as each alone, kept, resumed, and summed up by task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.methods.cot_models import TEMPLATE, roomy
from workbench.datasets.questions import Question
from workbench.errors import Cancelled, InputError
from workbench.methods.cot import many_questions as cot_questions
from workbench.methods.cot import truncation as cot
from workbench.methods.cot.interventions import Cue
from workbench.methods.cot.many_questions import CotQuestionsRequest, CotQuestionsResult
from workbench.methods.cot.reasoning import Sampling
from workbench.protocol import Result, silent

CHOICES = ("Sydney", "Rome is", "Paris")
QUESTIONS = tuple(
    Question(id=f"q{number}", task=task, question=f"What is {what}?", choices=CHOICES, answer=right)
    for number, (task, what, right) in enumerate(
        [("cities", "a city", "Paris"), ("cities", "in Rome", "Rome is"), ("capitals", "the capital", "Sydney")]
    )
)
REQUEST = CotQuestionsRequest(questions=QUESTIONS, sampling=Sampling(tokens=12), resamples=200)


@pytest.fixture(scope="module")
def model():
    return roomy("llama", template=TEMPLATE)


@pytest.fixture
def result(model) -> CotQuestionsResult:
    return cot_questions.run(model, REQUEST, silent)


def test_every_question_gives_what_it_gives_alone(model, result: CotQuestionsResult) -> None:
    assert [outcome.id for outcome in result.outcomes] == ["q0", "q1", "q2"]
    for question, outcome in zip(QUESTIONS, result.outcomes, strict=True):
        request = cot_questions._request(REQUEST, question)
        alone = cot.run(model, request, silent)
        assert alone.full is not None
        none = alone.of("kept")[0]
        assert outcome.reasoning == alone.reasoning
        assert outcome.answer == CHOICES[alone.full.answer]
        assert (outcome.right, outcome.right_without) == (
            CHOICES[alone.full.answer] == question.answer,
            CHOICES[none.answer] == question.answer,
        )
        assert (outcome.aoc, outcome.settles) == (alone.aoc, alone.settles)
        assert (outcome.sentences, outcome.necessary) == (len(alone.sentences), len(alone.necessary or ()))
        cued = cot.run(model, request.model_copy(update={"interventions": (Cue(),)}), silent).outcomes[0]
        assert outcome.followed == (cued.answer == cued.suggested)
        assert outcome.acknowledged == (cued.mentions_cue if outcome.followed else None)


def test_quickly_asked_no_sentence_is_left_out_and_the_rest_is_the_same(model, result: CotQuestionsResult) -> None:
    quick = cot_questions.run(model, REQUEST.model_copy(update={"cue": False, "leave_out": False}), silent)
    without = {"necessary": None, "followed": None, "acknowledged": None}
    assert list(quick.outcomes) == [outcome.model_copy(update=without) for outcome in result.outcomes]
    assert set(quick.tasks[-1].measures) == {"accuracy with reasoning", "accuracy without", "AOC", "agreement at 0 %"}


def test_the_measures_are_means_by_task_and_over_all(result: CotQuestionsResult) -> None:
    assert [(summary.task, summary.questions) for summary in result.tasks] == [
        ("cities", 2),
        ("capitals", 1),
        ("all", 3),
    ]
    every = result.tasks[-1].measures
    outcomes = result.outcomes
    assert every["accuracy with reasoning"].value == pytest.approx(sum(bool(o.right) for o in outcomes) / 3)
    assert every["AOC"].value == pytest.approx(sum(o.aoc for o in outcomes) / 3)
    assert every["agreement at 0 %"].value == pytest.approx(sum(o.same_without for o in outcomes) / 3)
    share = sum(o.necessary for o in outcomes) / sum(o.sentences for o in outcomes)
    assert every["necessary sentences"].value == pytest.approx(share)
    assert all(found.low <= found.value <= found.high for found in every.values())


def test_what_was_asked_is_not_asked_again(model, result: CotQuestionsResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the model is asked again")

    monkeypatch.setattr(cot_questions, "_asked", never)
    assert cot_questions.run(model, REQUEST, silent) == result


def test_an_interrupted_run_goes_on_where_it_stopped(model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cot_questions, "TOGETHER", 1)
    seen: list[int] = []

    def stop(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        if isinstance(partial, CotQuestionsResult):
            seen.append(len(partial.outcomes))
        if len(seen) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        cot_questions.run(model, REQUEST, stop)
    asked: list[str] = []
    real = cot_questions._asked

    def listed(model, request, questions, progress, done):
        asked.extend(question.id for question in questions)
        return real(model, request, questions, progress, done)

    monkeypatch.setattr(cot_questions, "_asked", listed)
    assert len(cot_questions.run(model, REQUEST, silent).outcomes) == 3
    assert asked == ["q2"]


def test_another_setting_or_an_edit_is_asked_anew(model, result: CotQuestionsResult, monkeypatch) -> None:
    file = cot_questions._file(model, REQUEST, QUESTIONS[0])
    assert file.is_file()
    other = REQUEST.model_copy(update={"sampling": Sampling(tokens=13)})
    assert cot_questions._file(model, other, QUESTIONS[0]) != file
    monkeypatch.setattr(type(model.edits), "active", ("an edit",))
    assert cot_questions._file(model, REQUEST, QUESTIONS[0]) != file


def test_a_damaged_outcome_is_computed_again(model, result: CotQuestionsResult) -> None:
    file: Path = cot_questions._file(model, REQUEST, QUESTIONS[0])
    file.write_text(file.read_text()[:40])
    assert cot_questions.run(model, REQUEST, silent) == result


def test_free_answers_have_no_cue_and_questions_that_give_nothing_are_listed(model) -> None:
    free = Question(id="free", task="free", question="What is it?", answer="7")
    long = Question(id="long", task="free", question="What is a city? " * 70)
    request = REQUEST.model_copy(update={"questions": (free,)})
    found = cot_questions.run(model, request, silent)
    assert found.outcomes[0].followed is None
    assert "cue followed" not in found.tasks[0].measures
    both = cot_questions.run(model, request.model_copy(update={"questions": (long, free)}), silent)
    assert [outcome.id for outcome in both.outcomes] == ["free"]
    assert both.unusable[0][0] == "long"
    assert "500" in both.unusable[0][1]
    assert both.checks[0].level == "warn"


def test_no_questions_and_no_resamples_are_refused(model) -> None:
    with pytest.raises(InputError, match="no questions"):
        cot_questions.run(model, REQUEST.model_copy(update={"questions": ()}), silent)
    with pytest.raises(InputError, match="resample"):
        cot_questions.run(model, REQUEST.model_copy(update={"resamples": 0}), silent)
