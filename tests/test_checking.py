"""Comparing a recorded session with what its requests give now."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.a_step import ENCODED, MODEL
from workbench.case import Case
from workbench.checking import EXAMPLES, CheckReport, check_session
from workbench.errors import Cancelled
from workbench.methods.generation.continuation import ContinuedToken, ContinueRequest, ContinueResult
from workbench.protocol import Check, Request
from workbench.session import Session, Status, Step, StepError

TOLERANCE = 1e-3


def token(**changed: Any) -> ContinuedToken:
    fields = {"text": " so", "probability": 0.5, "runner_up": " on", "runner_up_probability": 0.25}
    return ContinuedToken(**{**fields, **changed})


def result(*tokens: ContinuedToken, **changed: Any) -> ContinueResult:
    return ContinueResult(**{"encoded": ENCODED, "generated": tokens or (token(),), "text": " so", **changed})


def step(found: ContinueResult | None, status: Status = "done", error: str = "", number: int = 1) -> Step:
    return Step(
        id=number,
        started=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=0.1,
        status=status,
        request=ContinueRequest(case=Case(prompt=f"prompt {number}")),
        result=found,
        error=StepError(kind="InputError", message=error) if error else None,
    )


def compare(recorded: ContinueResult, now: ContinueResult, tolerance: float = TOLERANCE) -> CheckReport:
    return check_session(Session(steps=(step(recorded),)), MODEL, lambda _: step(now), tolerance)


def test_the_same_result_is_the_same() -> None:
    report = compare(result(), result())
    assert report.passed
    (found,) = report.steps
    assert (found.id, found.kind, found.outcome, found.largest) == (1, "continue", "same", 0.0)


@pytest.mark.parametrize(
    ("recorded", "now", "outcome"),
    [
        (0.5, 0.5009, "same"),
        (0.5, 0.5011, "drifted"),
        (0.5, 0.4989, "drifted"),
        (2000.0, 2001.0, "same"),  # relative, where numbers are large
        (2000.0, 2003.0, "drifted"),
        (-2000.0, -2003.0, "drifted"),
        (math.inf, math.inf, "same"),
        (math.inf, -math.inf, "drifted"),
        (math.inf, 0.5, "drifted"),
        (0.5, math.inf, "drifted"),
        (math.nan, math.nan, "same"),
        (0.5, math.nan, "drifted"),
        (math.nan, 0.5, "drifted"),
    ],
)
def test_a_number_drifts_when_it_is_further_away_than_the_tolerance(recorded: float, now: float, outcome: str) -> None:
    report = compare(result(token(probability=recorded)), result(token(probability=now)))
    assert report.steps[0].outcome == outcome
    assert report.passed == (outcome == "same")


def test_what_drifted_is_named_with_both_values() -> None:
    report = compare(result(token(), token()), result(token(), token(probability=0.75, text=" then")))
    (found,) = report.steps
    assert found.n_drifts == 2
    assert found.largest == 0.25
    assert [(drift.place, drift.recorded, drift.now) for drift in found.drifts] == [
        ("generated[1].probability", "0.5", "0.75"),
        ("generated[1].text", " so", " then"),
    ]


def test_differences_within_the_tolerance_are_measured_too() -> None:
    report = compare(result(), result(token(probability=0.5 + 2**-12)))
    assert report.passed
    assert report.steps[0].largest == 2**-12


@pytest.mark.parametrize(
    "now",
    [
        result(text=" else"),
        result(ended=True),
        result(token(), token()),
        result(encoded=ENCODED.model_copy(update={"subject": (0, 1)})),
    ],
)
def test_anything_but_a_number_must_be_equal(now: ContinueResult) -> None:
    for one, other in ((result(), now), (now, result())):
        assert compare(one, other, tolerance=1e6).steps[0].outcome == "drifted"


def test_only_some_of_many_drifts_are_listed_and_all_are_counted() -> None:
    many = [token(probability=0.1) for _ in range(20)]
    other = [token(probability=0.2) for _ in range(20)]
    (found,) = compare(result(*many), result(*other)).steps
    assert found.n_drifts == 20
    assert len(found.drifts) == EXAMPLES


def test_how_far_to_believe_a_result_is_not_a_part_of_it() -> None:
    now = result(checks=(Check(name="lens parity", text="3e-06", level="ok"),))
    assert compare(result(), now).passed


def test_steps_that_had_no_result_are_skipped_and_not_run_again() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Step:
        asked.append(request)
        return step(result())

    steps = (
        step(None, "failed", "no", 1),
        step(result(), "partial", number=2),
        step(None, "cancelled", number=3),
        step(result(), number=4),
    )
    report = check_session(Session(steps=steps), MODEL, answer, TOLERANCE)
    assert [found.outcome for found in report.steps] == ["skipped", "skipped", "skipped", "same"]
    assert [found.message for found in report.steps[:2]] == [
        "it was recorded as failed",
        "it was recorded as partial",
    ]
    assert asked == [steps[3].request]
    assert report.passed
    assert not check_session(Session(steps=steps[:3]), MODEL, answer, TOLERANCE).passed


def test_a_step_that_fails_now_says_why() -> None:
    report = check_session(
        Session(steps=(step(result()),)), MODEL, lambda _: step(None, "failed", "no room"), TOLERANCE
    )
    assert (report.steps[0].outcome, report.steps[0].message) == ("failed", "no room")
    assert not report.passed


@pytest.mark.parametrize("answer", [step(None, "cancelled"), step(result(), "partial")])
def test_a_cancelled_check_ends_at_once(answer: Step) -> None:
    asked: list[Request] = []

    def answered(request: Request) -> Step:
        asked.append(request)
        return answer

    with pytest.raises(Cancelled):
        check_session(Session(steps=(step(result()), step(result(), number=2))), MODEL, answered, TOLERANCE)
    assert len(asked) == 1


def test_what_changed_since_the_recording_is_named() -> None:
    session = Session(model=MODEL, environment={"torch": "0.1"}, steps=(step(result()),))
    now = MODEL.model_copy(update={"attention_kernel": "eager", "name": "elsewhere"})
    report = check_session(session, now, lambda _: step(result()), TOLERANCE)
    assert report.passed
    assert any(change.startswith("torch was 0.1 and is ") for change in report.changed)
    assert "attention_kernel was sdpa and is eager" in report.changed
    assert not any("name" in change for change in report.changed)
