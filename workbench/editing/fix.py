"""Fixes of a failure, side by side: another prompt, the fact in context, an edit of the weights, steering.

Every candidate is tested by one suite, beside the unedited model, and taken back. A recommendation follows from the
tests in `workbench.editing.fix_candidates`, in the order that the diagnosis suggests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from workbench.case import Case, Prepend
from workbench.datasets.suites import Suite, suite_for
from workbench.editing.compare import CompareRequest, CompareResult, Rival, rewrite_alone
from workbench.editing.editors import editor, editors
from workbench.editing.fix_candidates import FixCandidate, judged, recommended
from workbench.editing.standings import Standing
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.errors import InputError, WorkbenchError
from workbench.methods.diagnose.diagnosis import DiagnoseRequest, DiagnoseResult
from workbench.methods.diagnose.rules import RULES, Failure, FixKind
from workbench.methods.diagnose.stability import StabilityRequest, StabilityResult, VariedAnswer
from workbench.protocol import Asking, Check, Progress, Request, Result
from workbench.settings import Listed

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PROMPT = "prompt"
"""What is tried by this name changes no weight and no state: another start, the template, another order."""

MOST_PROMPTS = 3
"""Prompts that are candidates, the best first."""


LATER = "not tried yet"
"""Why there is nothing of an edit whose turn has not come."""


class FixRequest(Request):
    """Ask for candidates, each tested and taken back. What is not named of the case is proposed by a diagnosis.

    ``failure`` is what a diagnosis of the same case came to; without it there is one first. ``suite`` tests the
    candidates, or the one that the shipped facts give, or the rewrite alone.
    """

    kind: Literal["fix"] = "fix"
    case: Case
    tries: Annotated[
        tuple[str, ...],
        Listed,
        Field(
            description="What to try, with commas: prompt, in-context, weights, steer, or editors; else as suggested."
        ),
    ] = ()
    failure: Failure | None = None
    suite: Suite | None = None


class FixResult(Result):
    """``candidates`` in the order in which they are to be considered; ``recommended`` is the place of one of them.

    ``reason`` says why it is that one, or why it is none. ``case`` has what was proposed filled in.
    """

    kind: Literal["fix"] = "fix"
    case: Case
    failure: Failure | None = None
    suite: Suite | None = None
    candidates: tuple[FixCandidate, ...] = ()
    recommended: int | None = None
    reason: str = ""


def fix(model: LoadedModel, request: FixRequest, progress: Progress, ask: Asking) -> FixResult:
    """Diagnose where that is not done, then try every candidate.

    Raises `InputError` for a case that cannot be encoded, for what is tried by no known name, and where no target is
    known.
    """
    check_tries(request.tries)
    case, failure = request.case, request.failure
    model.encode(case)  # what cannot be read is said before anything is asked
    if failure is None or not (case.target and case.foil):
        progress(0, 3, stage="diagnosing")
        answered = ask(DiagnoseRequest(case=case))
        if not isinstance(answered.result, DiagnoseResult):
            raise WorkbenchError(f"the diagnosis failed: {answered.why}")
        case, failure = answered.result.case, answered.result.failure
    suggested = next(rule for rule in RULES if rule.failure == failure)
    if not suggested.fixes and not request.tries:
        return FixResult(case=case, failure=failure, reason=f"{suggested.title}; {suggested.advice}")
    if not (case.target or "").strip():
        raise InputError("a fix makes the model say something; give a target")
    tries = named(request.tries or suggested.fixes)
    suite = request.suite or suite_for(case) or rewrite_alone(case)
    candidates: list[FixCandidate] = []

    def found(done: bool = False) -> FixResult:
        ordered = sorted(candidates, key=lambda each: _rank(each, tries))
        best, reason = recommended(ordered) if done else (None, "")
        return FixResult(
            case=case,
            failure=failure,
            suite=suite,
            candidates=tuple(ordered),
            recommended=best,
            reason=reason,
            checks=_checks(ordered, suite),
        )

    if PROMPT in tries:
        progress(1, 3, found(), stage="other prompts")
        candidates += _prompts(case, suite, ask)
    if chosen := tuple(name for name in tries if name != PROMPT):
        others, told = tuple(candidates), -1

        def seen(compared: Result | None, of_the_rest: str = LATER) -> None:
            """Tell of the edits as each of them has been made, for all of them take minutes."""
            nonlocal told
            made = [_edited(rival) for rival in compared.rivals] if isinstance(compared, CompareResult) else []
            left = [FixCandidate(name=name, title=editor(name).title, why=of_the_rest) for name in chosen[len(made) :]]
            candidates[:] = [*others, *made, *left]
            if len(made) != told:
                told = len(made)
                progress(2, 3, found(), stage="edits")

        seen(None)
        compared = ask(CompareRequest(case=case, editors=chosen, suite=suite), seen)
        seen(compared.result, compared.why)
    return found(done=True)


def check_tries(tries: tuple[str, ...]) -> None:
    """Raise `InputError` for what is tried by no known name."""
    known = (*get_args(FixKind), *(each.name for each in editors("fact")))
    if unknown := [name for name in tries if name not in known]:
        raise InputError(f"there is no fix {unknown[0]!r} of a fact; try some of {', '.join(known)}")


def named(tries: tuple[str, ...]) -> tuple[str, ...]:
    """What is tried, with a kind of editors as the editors of this kind, each once."""
    every = (
        name for tried in tries for name in ([each.name for each in editors("fact") if each.tried == tried] or [tried])
    )
    return tuple(dict.fromkeys(every))


def _prompts(case: Case, suite: Suite, ask: Asking) -> list[FixCandidate]:
    """The variants of the prompt that are answered right, or a row that says that there is none."""
    answered = ask(StabilityRequest(case=case))
    if not isinstance(answered.result, StabilityResult):
        return [FixCandidate(name=PROMPT, title="another prompt", why=answered.why)]
    right = [each for each in answered.result.of("start", "template", "order") if each.right]
    right.sort(key=lambda each: -_margin(each))
    if not right:
        why = "no start, template or order of the prompt makes the target the first choice"
        return [FixCandidate(name=PROMPT, title="another prompt", changed=False, why=why)]
    return [_prompt(each, suite, case, ask) for each in right[:MOST_PROMPTS]]


def _prompt(answer: VariedAnswer, suite: Suite, asked: Case, ask: Asking) -> FixCandidate:
    """A prompt as a candidate. Where only what is prepended is another, the suite is asked with that, too."""
    variant = answer.variant
    measured: SuiteResult | None = None
    if variant.kind == "start" and asked.prepend != variant.case.prepend:
        prepends: tuple[Prepend, ...] = (variant.case.prepend,)
        request = SuiteRequest(suite=suite, prepends=prepends, generate=False, held_out=False, free=False)
        result = ask(request).result
        measured = result if isinstance(result, SuiteResult) else None
    return judged(
        FixCandidate(
            name=PROMPT,
            title=variant.label,
            case=variant.case,
            changed=answer.right,
            scores=measured.scores if measured else (),
            seconds=0.0,
            bytes=0,
            undo="ask as before",
            ship="in the prompt that is sent",
        )
    )


def _edited(rival: Rival) -> FixCandidate:
    rewrites = [score.exact for score in rival.scores if score.role == "rewrite" and score.prepend == "as-is"]
    ship = {"in-context": "as a patch, or in the prompt that is sent", "steer": "as a patch"}
    return judged(
        FixCandidate(
            **{name: getattr(rival, name) for name in Standing.model_fields},
            name=rival.editor,
            edit=rival.edit,
            changed=rewrites[0] == 1 if rewrites else None,
            against=rival.warned,
            undo="switch the edit off: exact to the bit",
            ship=ship.get(editor(rival.editor).tried, "as a patch, or as a whole model"),
        )
    )


def _rank(candidate: FixCandidate, tries: tuple[str, ...]) -> int:
    return tries.index(candidate.name) if candidate.name in tries else len(tries)


def _margin(answer: VariedAnswer) -> float:
    assert answer.target is not None, "it is answered right"
    assert answer.foil is not None, "it is answered right"
    return answer.target.probability - answer.foil.probability


def _checks(candidates: list[FixCandidate], suite: Suite) -> tuple[Check, ...]:
    def of() -> Iterator[Check]:
        roles = {fact.role for fact in suite.facts}
        if not {"paraphrase", "neighborhood"} <= roles:
            text = "tests no other phrasing or no neighbor: name a suite before you trust a fix"
            yield Check(name="suite", text=text, level="warn")
        else:
            yield Check(name="suite", text=f"{suite.name}, {len(suite.facts)} facts", level="ok")
        if without := [each.title for each in candidates if each.why not in ("", LATER)]:
            yield Check(name="not made", text=", ".join(without), level="warn")
        yield Check(name="tested", text="by this suite and not by what it leaves out")

    return tuple(of())
