"""Which edit broke a fact: bisection over the edits that are on, in the order of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.case import Prepend
from workbench.datasets.suites import Suite, SuiteFact
from workbench.editing.queue import EditInfo
from workbench.editing.suite.answers import FactAnswer, evaluate
from workbench.errors import InputError
from workbench.protocol import Check, Progress, Request, Result

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


class BisectRequest(Request):
    """Ask which of the edits that are on is the first with which ``fact`` does not pass."""

    kind: Literal["bisect"] = "bisect"
    fact: SuiteFact
    prepend: Prepend = "separator"


class BisectResult(Result):
    """``broken_by`` is the edit that turns the fact: it passes with the ``before`` earlier edits alone, and not
    with this one too. ``passing`` and ``failing`` are the model's answers without it and with it."""

    kind: Literal["bisect"] = "bisect"
    fact: SuiteFact
    broken_by: EditInfo
    before: int
    tried: int
    passing: FactAnswer
    failing: FactAnswer


def run(model: LoadedModel, request: BisectRequest, progress: Progress) -> BisectResult:
    """Bisect; the model has its own edits again afterwards. Progress counts trials.

    Edits are put on in the queue's order, so the answer is the first edit with which the fact fails, given those in
    front of it. Raises `InputError` where no edit is on, the fact passes now, or fails without any edit.
    """
    queue = model.edits
    edits = [queue.get(edit) for edit in queue.active]
    if not edits:
        raise InputError("no edit is on, so none can have broken the fact; switch edits on first")
    suite = Suite(name="bisection", facts=(request.fact,))
    most = len(edits).bit_length() + 2
    tried = 0

    def answer(number: int) -> FactAnswer:
        nonlocal tried
        progress(tried, most, stage=f"with the first {number} of {len(edits)} edits")
        tried += 1
        with queue.only(edits[:number]):
            return evaluate(model, suite, [request.prepend])[0, request.prepend].answer

    passing, failing = answer(0), answer(len(edits))
    if not passing.passes:
        raise InputError("the fact fails without any edit too, so no edit has broken it")
    if failing.passes:
        raise InputError("the fact passes with the edits that are on, so none has broken it")
    good, bad = 0, len(edits)
    while bad - good > 1:
        middle = (good + bad) // 2
        found = answer(middle)
        if found.passes:
            good, passing = middle, found
        else:
            bad, failing = middle, found
    return BisectResult(
        fact=request.fact,
        broken_by=edits[good].info,
        before=good,
        tried=tried,
        passing=passing,
        failing=failing,
        checks=(
            Check(name="bisection", text=f"{tried} trials over {len(edits)} edits, {request.prepend}", level="ok"),
        ),
    )
