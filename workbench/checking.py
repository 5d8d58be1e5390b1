"""Replay as a check: run the recorded requests again and say where the results drifted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from workbench.errors import Cancelled
from workbench.models.info import ModelInfo
from workbench.protocol import Frozen, Request
from workbench.session import Session, Step, environment

EXAMPLES = 5
"""Drifts listed for one step; the rest is counted."""


class Drift(Frozen):
    """One value that is not what was recorded. ``place`` is its path inside the result."""

    place: str
    recorded: str
    now: str


class StepCheck(Frozen):
    """How one step compares. ``outcome`` is same, drifted, failed (does not run now) or skipped (did not then).

    ``largest`` is the largest difference between two numbers; ``n_drifts`` counts values beyond the tolerance.
    """

    id: int
    kind: str
    outcome: str
    largest: float = 0.0
    n_drifts: int = 0
    drifts: tuple[Drift, ...] = ()
    message: str = ""


class CheckReport(Frozen):
    """All steps of a session compared.

    ``tolerance`` is absolute for small numbers and relative for large ones. ``changed`` names what differs between
    the recorded model and environment and those of now: a drift begins there.
    """

    tolerance: float
    changed: tuple[str, ...] = ()
    steps: tuple[StepCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether every step that could be compared is the same, and there was one."""
        return any(s.outcome == "same" for s in self.steps) and all(
            s.outcome in ("same", "skipped") for s in self.steps
        )


def check_session(
    session: Session, model: ModelInfo, answer: Callable[[Request], Step], tolerance: float
) -> CheckReport:
    """Run every finished step of ``session`` again through ``answer``, on ``model``, and compare.

    Raises `Cancelled` as soon as one of them was cancelled: what is left of a check says nothing.
    """
    return CheckReport(
        tolerance=tolerance,
        changed=tuple(_changed(session, model)),
        steps=tuple(_check_step(step, answer, tolerance) for step in session.steps),
    )


def _changed(session: Session, model: ModelInfo) -> Iterator[str]:
    recorded = session.environment | (session.model.model_dump(mode="json") if session.model else {})
    now = environment() | model.model_dump(mode="json")
    for name in recorded.keys() & now.keys() - {"name"}:  # the same weights may be kept in another place
        if recorded[name] != now[name]:
            yield f"{name} was {recorded[name]} and is {now[name]}"


def _check_step(step: Step, answer: Callable[[Request], Step], tolerance: float) -> StepCheck:
    kind = step.request.kind
    if step.status != "done" or step.result is None:
        return StepCheck(id=step.id, kind=kind, outcome="skipped", message=f"it was recorded as {step.status}")
    now = answer(step.request)
    if now.status in ("cancelled", "partial"):
        raise Cancelled
    if now.result is None:
        why = now.error.message if now.error else now.status
        return StepCheck(id=step.id, kind=kind, outcome="failed", message=why)
    recorded = step.result.model_dump(mode="json", exclude={"checks"})
    found = list(differences(recorded, now.result.model_dump(mode="json", exclude={"checks"}), ""))
    drifts = [drift for size, drift in found if size > tolerance]
    return StepCheck(
        id=step.id,
        kind=kind,
        outcome="drifted" if drifts else "same",
        largest=max((size for size, _ in found if math.isfinite(size)), default=0.0),
        n_drifts=len(drifts),
        drifts=tuple(drifts[:EXAMPLES]),
    )


def differences(recorded: Any, now: Any, place: str) -> Iterator[tuple[float, Drift]]:
    """Every leaf that differs, with how much: infinitely for anything that is not a number."""
    if isinstance(recorded, dict) and isinstance(now, dict):
        for key in sorted(recorded.keys() | now.keys()):
            yield from differences(recorded.get(key), now.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for index, (one, other) in enumerate(zip(recorded, now, strict=True)):
            yield from differences(one, other, f"{place}[{index}]")
    elif recorded != now:
        yield _distance(recorded, now), Drift(place=place, recorded=str(recorded)[:80], now=str(now)[:80])


def _distance(recorded: Any, now: Any) -> float:
    numbers = (int, float)
    if isinstance(recorded, numbers) and isinstance(now, numbers) and not isinstance(recorded, bool):
        if math.isfinite(recorded) and math.isfinite(now):
            return abs(recorded - now) / max(1.0, abs(recorded))
        return 0.0 if math.isnan(recorded) and math.isnan(now) else math.inf
    return math.inf
