"""Two steps, or the steps of two sessions, side by side: what was found differently where the same was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

from workbench.datasets.suites import SuiteFact
from workbench.editing.suite.regression import SuiteResult
from workbench.editing.suite.scores import FactOutcome
from workbench.errors import InputError
from workbench.figures import Column, Figure, Table, line, said
from workbench.models.tokentext import display
from workbench.registry import method
from workbench.reporting.account import answers_of, suites_of
from workbench.reporting.as_command import asked
from workbench.reporting.differences import difference
from workbench.reporting.steps import figures_of, shortened
from workbench.session import Session, Step
from workbench.wording import count


def compare_steps(first: Step, second: Step) -> tuple[Figure, ...]:
    """The differences of two steps of one kind. Raises `InputError` where they are of two."""
    if first.request.kind != second.request.kind:
        raise InputError(
            f"step {first.id} is of the kind {first.request.kind} and step {second.id} of {second.request.kind}; "
            "only steps of one kind are compared"
        )
    title = f"{method(first.request.kind).title} · step {first.id} and step {second.id}"
    if first.result is None or second.result is None:
        empty = " and ".join(f"step {step.id}" for step in (first, second) if step.result is None)
        return said(line(title, "heading"), line(f"{empty} found nothing to compare", "muted"))
    return (
        *said(line(title, "heading"), *(line(text, "note") for text in _asked_differently(first, second))),
        *_answers(first, second),
        *_sides([first], [second]),
        *_figures(figures_of(first), figures_of(second)),
    )


def compare_sessions(first: Session, second: Session) -> tuple[Figure, ...]:
    """The differences of every step of one with that of the other which asked the same, or the next of its kind.

    Raises `InputError` where there is none.
    """
    pairs, alone = _pairs(first.steps, second.steps)
    if not pairs:
        raise InputError("the two sessions have no kind of step in common; nothing can be compared")
    left_out = f"{count(len(pairs), 'step')} compared; {alone} have no counterpart"
    return (
        *said(*_headers(first, second), line(left_out, "note")),
        *(f for pair in pairs for f in compare_steps(*pair)),
    )


def _headers(first: Session, second: Session) -> Iterator[str]:
    """What the headers of two sessions say differently."""
    for which, session in (("first", first), ("second", second)):
        model = session.model
        named = f"{model.name} ({model.fingerprint}, {model.dtype}, {model.device})" if model else "no model"
        yield f"{which}: {session.title or named}" + (f" · {named}" if session.title else "")
    for name in sorted(first.environment.keys() | second.environment.keys()):
        before, now = first.environment.get(name, "–"), second.environment.get(name, "–")
        if before != now:
            yield f"{name}: {before} → {now}"


def _pairs(first: Iterable[Step], second: Iterable[Step]) -> tuple[list[tuple[Step, Step]], int]:
    """Steps that belong together, and how many are alone: equal requests with equal edits first, then equal requests,
    then one case, then one kind. What was stopped comes last.
    """
    left, right = (
        sorted((step for step in steps if step.result is not None), key=lambda step: step.status != "done")
        for steps in (first, second)
    )
    pairs: list[tuple[Step, Step]] = []
    for key in (
        lambda step: (step.request, step.edits),
        lambda step: step.request,
        lambda step: (step.request.kind, step.case),
        lambda step: step.request.kind,
    ):
        for step in list(left):
            if (other := next((each for each in right if key(each) == key(step)), None)) is not None:
                pairs.append((step, other))
                left.remove(step)
                right.remove(other)
    return sorted(pairs, key=lambda pair: pair[0].id), len(left) + len(right)


def _asked_differently(first: Step, second: Step) -> Iterator[str]:
    before, now = asked(first.request), asked(second.request)
    for name in dict.fromkeys((*before, *now)):
        one, other = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            parts = [part for part in dict.fromkeys((*one, *other)) if one.get(part) != other.get(part)]
            yield from (f"{part}: {_said(one.get(part))} → {_said(other.get(part))}" for part in parts)
        elif one != other:
            yield f"{name}: {_said(one)} → {_said(other)}"
    if first.edits != second.edits:
        yield f"edits on: {', '.join(first.edits) or 'none'} → {', '.join(second.edits) or 'none'}"


def _said(value: object) -> str:
    return "by default" if value is None else shortened(value)


def _answers(first: Step, second: Step) -> tuple[Figure, ...]:
    """What the model answers in each."""
    rows = []
    for before, now in zip_longest(list(answers_of([first]))[-1:], list(answers_of([second]))[-1:]):
        if before and now:
            pairs = ((before.target, now.target), (before.foil, now.foil))
            numbers = ["–" if a is None or b is None else f"{a:.3f} → {b:.3f}" for a, b in pairs]
            same = before.text == now.text
            says = {
                "text": now.text if same else f"{before.text} → {now.text}",
                "meaning": "plain" if same else "warning",
            }
            rows.append((says, f"{before.probability:.3f} → {now.probability:.3f}", *numbers))
    columns = ("says", *(Column(heading=heading, right=True) for heading in ("p", "p(target)", "p(foil)")))
    return (Table(title="The answer", columns=columns, rows=tuple(rows)),) if rows else ()


def _sides(first: list[Step], second: list[Step]) -> tuple[Figure, ...]:
    """The facts of regression suites that pass in one and not in the other."""
    before, now = (
        dict(_facts(suite) for _, suite in suites_of(Session(steps=tuple(steps)))) for steps in (first, second)
    )
    rows = []
    for name in before.keys() & now.keys():
        for key, (fact, outcome) in now[name].items():
            if key in before[name] and before[name][key][1].after.passes != outcome.after.passes:
                old = before[name][key][1].after
                side = {"text": "now passes", "meaning": "good"} if outcome.after.passes else {
                    "text": "fails now", "meaning": "bad"
                }  # fmt: skip
                says = f"{old.top} → {outcome.after.top}"
                rows.append(
                    (side, fact.role, outcome.prepend, display(fact.prompt), display(fact.target.strip()), says)
                )
    if not (before and now):
        return ()
    title = f"Facts that changed sides: {len(rows)}"
    columns = ("", "role", "prepended", Column(heading="prompt", wraps=True), "wanted", "says")
    return (Table(title=title, columns=columns, rows=tuple(rows)),)


Facts = dict[tuple[str, str, str, str], tuple[SuiteFact, FactOutcome]]


def _facts(suite: SuiteResult) -> tuple[str, Facts]:
    found = ((suite.suite.facts[outcome.fact], outcome) for outcome in suite.outcomes)
    return suite.suite.name, {(f.role, f.prompt, f.target, o.prepend): (f, o) for f, o in found}


def _figures(first: tuple[Figure, ...], second: tuple[Figure, ...]) -> Iterator[Figure]:
    """Figure by figure: one of the same kind and title, or else the next of its kind.

    Where there is a picture, its tables are not told row by row again.
    """
    left = list(first)
    pictured = any(figure.kind == "heatmap" for figure in first) and any(f.kind == "heatmap" for f in second)
    for figure in second:
        same = [each for each in left if each.kind == figure.kind]
        if same:
            other = next((each for each in same if each.title == figure.title), same[0])
            left.remove(other)
            if not (pictured and figure.kind == "table"):
                yield from difference(other, figure)
