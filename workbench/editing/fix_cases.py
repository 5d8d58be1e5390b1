"""Fixes of several failures: the same candidates, each on all of the cases at once, and judged by the same tests.

Edits are kept on top of each other, or made together by an editor of many facts: what would be shipped. In context
every case has its own fact, which is what a perfect retrieval would give. What was made is kept in the cache, so that
an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Prepend
from workbench.datasets.suites import EditRecord
from workbench.editing.advice import too_many
from workbench.editing.editor import Editor
from workbench.editing.editors import editor
from workbench.editing.figures import facts_standing
from workbench.editing.fix import PROMPT, check_tries, named
from workbench.editing.fix_candidates import MOST, FixCandidate, judged, recommended
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.editing.sequence import by_record, together
from workbench.editing.standings import Standing
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.editing.suite.scores import RoleScore, mean_scores
from workbench.errors import InputError
from workbench.methods.diagnose.rules import FixKind
from workbench.methods.diagnose.variants import STARTS
from workbench.protocol import Asking, Check, Progress, Request, Result
from workbench.settings import Listed
from workbench.wording import count

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TRIED: tuple[FixKind, ...] = ("prompt", "in-context", "weights")
"""Where nothing is named. Not steering: it moves all that is asked, and directions for several answers add up."""


class FixCasesRequest(Request):
    """Ask for candidates that mend all of ``records``, each tested by the records' suites and taken back."""

    kind: Literal["fix-cases"] = "fix-cases"
    records: tuple[EditRecord, ...]
    tries: Annotated[
        tuple[str, ...],
        Listed,
        Field(description="What to try, with commas: prompt, in-context, weights, steer, editors; else the first 3."),
    ] = ()


class FixCasesResult(Result):
    """``candidates`` in the order in which they are to be considered; ``recommended`` is the place of one of them.

    ``reason`` says why it is that one, or why it is none. ``beyond`` says why so many failures are more than edits
    should mend, None where they are not.
    """

    kind: Literal["fix-cases"] = "fix-cases"
    cases: int
    candidates: tuple[FixCandidate, ...] = ()
    recommended: int | None = None
    reason: str = ""
    beyond: str | None = None


def fix_cases(model: LoadedModel, request: FixCasesRequest, progress: Progress, ask: Asking) -> FixCasesResult:
    """Try every candidate on all records.

    Raises `InputError` without records, and for what is tried by no known name.
    """
    check_tries(request.tries)
    records = request.records
    if not records:
        raise InputError("there are no cases to mend; name a file with at least one record")
    tries = named(request.tries or TRIED)
    candidates: list[FixCandidate] = []
    unusable: dict[str, int] = {}

    def found(done: bool = False) -> FixCasesResult:
        beyond = too_many(model.info.fingerprint, len(records))
        against = [_beyond(each, beyond) for each in candidates]
        place, reason = recommended(against) if done else (None, "")
        return FixCasesResult(
            cases=len(records),
            candidates=tuple(against),
            recommended=place,
            reason=f"retrieval or retraining is the answer: {beyond}; of what was tried, {reason}"
            if beyond
            else reason,
            beyond=beyond,
            checks=tuple(_checks(records, against, unusable)),
        )

    for number, name in enumerate(tries):
        progress(number, len(tries), found(), stage="other prompts" if name == PROMPT else editor(name).title)
        if name == PROMPT:
            candidates += _starts(records, ask)
        else:
            candidates.append(_edited(editor(name), records, ask, unusable))
    return found(done=True)


def _starts(records: Sequence[EditRecord], ask: Asking) -> Iterator[FixCandidate]:
    """Every other start as one prompt for all cases: what is prepended is the same for all."""
    prepends: tuple[Prepend, ...] = tuple(start for start in STARTS if start != "as-is")
    request = SuiteRequest(suite=together(records), prepends=prepends, generate=False, held_out=False, free=False)
    answered = ask(request)
    if not isinstance(answered.result, SuiteResult):
        yield FixCandidate(name=PROMPT, title="another prompt", why=answered.why)
        return
    scores = mean_scores([scores for scores, _ in by_record(records, answered.result)], intervals=True)
    for prepend in prepends:
        own = tuple(score for score in scores if score.prepend == prepend)
        if own:  # what the tokenizer does anyway is no other start
            standing = Standing(title=f"{prepend} prepended", scores=own, seconds=0.0, bytes=0)
            yield _candidate(PROMPT, standing, undo="ask as before", ship="in the prompts that are sent")


def _edited(by: Editor, records: Sequence[EditRecord], ask: Asking, unusable: dict[str, int]) -> FixCandidate:
    in_context = by.tried == "in-context"
    request = FactsEditRequest.model_validate(
        {
            "editor": by.name,
            "settings": {},
            "records": tuple(records),
            "sequence": not (by.many or in_context),
            "batch": len(records) if by.many and not in_context else None,
        }
    )
    answered = ask(request)
    result = answered.result if isinstance(answered.result, FactsEditResult) else None
    if result is not None and result.unusable:
        unusable[by.title] = len(result.unusable)
    found = result.checks if result else ()
    turned = tuple(check.text for check in found if check.name == "sequence" and check.level == "warn")
    how = "each with its own fact" if in_context else "all together" if by.many else "one after the other"
    standing = facts_standing(f"{by.title}, {how}", result, answered.why)
    if in_context:
        return _candidate(by.name, standing, undo="ask as before", ship="by retrieval of the fact that is asked for")
    undo = "switch the edits off: exact to the bit"
    return _candidate(by.name, standing, undo=undo, ship="as a patch", against=turned)


def _candidate(name: str, standing: Standing, *, undo: str, ship: str, against: tuple[str, ...] = ()) -> FixCandidate:
    """With how many cases it mends, of those that it was made for."""
    right = _right(standing.scores)
    given = {field: getattr(standing, field) for field in Standing.model_fields}
    changed = None if right is None else right[0] >= MOST * right[1]
    candidate = FixCandidate(**given, name=name, changed=changed, right=right, undo=undo, ship=ship, against=against)
    return candidate if standing.why else judged(candidate)


def _right(scores: Sequence[RoleScore]) -> tuple[int, int] | None:
    """How many rewrites are answered as wanted: with nothing prepended where it was measured so."""
    found = [score for score in scores if score.role == "rewrite"]
    best = next((score for score in found if score.prepend == "as-is"), found[0] if found else None)
    return None if best is None else (round(best.exact * best.facts), best.facts)


def _beyond(candidate: FixCandidate, beyond: str | None) -> FixCandidate:
    """An edit of the weights has this against it."""
    if beyond is None or candidate.name == PROMPT or editor(candidate.name).tried == "in-context":
        return candidate
    return candidate.model_copy(update={"against": (*candidate.against, beyond)})


def _checks(records: Sequence[EditRecord], tried: Sequence[FixCandidate], unusable: dict[str, int]) -> Iterator[Check]:
    bare = sum(not {"paraphrase", "neighborhood"} <= {fact.role for fact in record.suite.facts} for record in records)
    if bare:
        text = f"{bare} of {count(len(records), 'case')} have no other phrasing or no neighbor to test a fix by"
        yield Check(name="suites", text=text, level="warn")
    else:
        yield Check(name="suites", text=f"{count(len(records), 'case')} with phrasings and neighbors", level="ok")
    if without := [each.title for each in tried if each.why]:
        yield Check(name="not made", text=", ".join(without), level="warn")
    for title, number in unusable.items():
        yield Check(name="left out", text=f"{title}: {number} cases could not be edited", level="warn")
    yield Check(name="in context", text="as if the fact that is asked for were always found")
