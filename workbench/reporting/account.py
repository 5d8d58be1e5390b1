"""What a session comes to in words: what the model was asked and said, what was found, and what that does not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from workbench.case import Case
from workbench.editing.edit import EditResult
from workbench.editing.fix import FixResult
from workbench.editing.fix_cases import FixCasesResult
from workbench.editing.queue import QueueState
from workbench.editing.suite.regression import SuiteResult
from workbench.figures import Column, Figure, Table, line, said
from workbench.methods.diagnose.diagnosis import DiagnoseResult
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensResult
from workbench.registry import method
from workbench.reporting.edits import applied, edits_of, prompts_used, queue_after
from workbench.session import Session, Step
from workbench.wording import count

NO_PROOF = (
    "This is not a proof of cause. Every number here says what was measured on this model, with these prompts and "
    "settings. A method can mislead, and an edit that repairs one answer can spoil others that nobody asked about."
)


MOST_IN_TITLE = 80
"""Characters of a prompt."""


@dataclass(frozen=True)
class Answer:
    """What the model said to a case in one step: its first choice, and the probabilities of target and foil."""

    step: Step
    case: Case
    text: str
    probability: float
    target: float | None = None
    foil: float | None = None
    edited: bool = False


def answers_of(steps: Iterable[Step]) -> Iterator[Answer]:
    """Every step in which the model's answer to the whole prompt was read; of an edit before and after it."""
    for step in steps:
        case, result = step.case, step.result
        if case is None:
            continue
        on = bool(step.edits)
        if isinstance(result, LensResult) and (column := result.columns[-1]) is not None:
            target = column.target.probability[-1] if column.target else None
            foil = column.foil.probability[-1] if column.foil else None
            text, p = column.top_tokens[-1][0], column.top_probabilities[-1][0]
            yield Answer(step, case, text, p, target, foil, on)
        elif isinstance(result, ContinueResult) and result.generated:
            yield Answer(step, case, result.generated[0].text, result.generated[0].probability, edited=on)
        elif isinstance(result, EditResult):
            for edited, answers in ((False, result.before[:1]), (True, result.after[:1])):
                for one in answers:
                    yield Answer(step, case, one.top, one.top_probability, one.target, one.foil, edited or on)


def cases_of(session: Session) -> tuple[Case, ...]:
    """The cases that were asked about, each once, in order."""
    return tuple(dict.fromkeys(step.case for step in session.steps if step.case is not None))


def finding_of(session: Session) -> tuple[tuple[int, str], ...]:
    """What every diagnosis came to, sentence by sentence, and which fix was recommended, each with its step."""
    return tuple(each for step in session.steps for each in _found(step))


def _found(step: Step) -> Iterator[tuple[int, str]]:
    result = step.result
    if isinstance(result, DiagnoseResult) and result.failure is not None:
        yield step.id, result.title
        yield from ((each.step or step.id, each.text) for each in result.sentences)
        yield step.id, f"to try: {result.advice}"
    elif isinstance(result, FixResult | FixCasesResult) and result.reason:
        yield step.id, f"fixes: {result.reason}"


def last_queue(session: Session) -> QueueState | None:
    """The queue of edits as the last step that knows it left it."""
    return next((queue for step in reversed(session.steps) if (queue := queue_after(step)) is not None), None)


def suites_of(session: Session) -> tuple[tuple[Step, SuiteResult], ...]:
    """Every regression suite that was run, by itself or after an edit, with its step."""
    found = []
    for step in session.steps:
        result = step.result if isinstance(step.result, SuiteResult) else getattr(step.result, "suite", None)
        if isinstance(result, SuiteResult):
            found.append((step, result))
    return tuple(found)


def edited_suites(session: Session) -> tuple[tuple[Step, SuiteResult], ...]:
    """Those of them that were run with an edit on: of the others no edit is to blame."""
    return tuple(
        (step, suite) for step, suite in suites_of(session) if step.edits or isinstance(step.result, EditResult)
    )


def title_of(session: Session) -> str:
    """The session's own title, or what its first prompt was."""
    if session.title:
        return session.title
    cases = cases_of(session)
    if not cases:
        return "A session without a prompt"
    prompt = cases[0].prompt.strip()
    short = prompt if len(prompt) <= MOST_IN_TITLE else f"{prompt[:MOST_IN_TITLE].rsplit(maxsplit=1)[0]} …"
    return f"Why “{short}” is continued as it is"


def in_plain_language(session: Session) -> tuple[Figure, ...]:
    """A paragraph for somebody who knows nothing of methods."""
    sentences = (*_what_happened(session), *_what_was_done(session), *_what_was_changed(session))
    return said(" ".join(sentences), line(NO_PROOF, "strong"))


def _what_happened(session: Session) -> Iterator[str]:
    name = session.model.name if session.model else "that nobody noted"
    if not (cases := cases_of(session)):
        yield f"The language model {name} was looked at without a prompt of its own."
        return
    yield f"The language model {name} was given the text “{cases[0].prompt}”."
    answers = [answer for answer in answers_of(session.steps) if answer.case == cases[0] and not answer.edited]
    if answers:
        first = answers[0]
        answer = first.text.strip() or first.text
        yield f"Unchanged, it went on with “{answer}” (probability {first.probability:.2f}, where 1 is certain)."
    yield from _what_was_wanted(session, cases)
    others = len({_asked(case) for case in cases} - {_asked(cases[0])})
    if others:
        yield f"It was also asked {count(others, 'other text')}, or the same in another way."


def _what_was_wanted(session: Session, cases: tuple[Case, ...]) -> Iterator[str]:
    """By the first case that says it, asked as the first one is: a diagnosis may have proposed it."""
    wanted = next((case for case in cases if case.target and _asked(case) == _asked(cases[0])), None)
    if wanted is not None and wanted.target:
        answers = (a.target for a in answers_of(session.steps) if a.case == wanted and not a.edited)
        known = next((target for target in answers if target is not None), None)
        probability = "" if known is None else f" (probability {known:.2f})"
        yield f"What was wanted is “{wanted.target.strip()}”{probability}."


def _asked(case: Case) -> tuple[object, ...]:
    """What the model is given of a case."""
    return case.prompt, case.prepend, case.chat


def _what_was_done(session: Session) -> Iterator[str]:
    if not session.steps:
        yield "Nothing was computed."
        return
    titles = dict.fromkeys(method(step.request.kind).title.lower() for step in session.steps)
    yield f"{count(len(session.steps), 'step')} of {count(len(titles), 'kind')} were recorded: {', '.join(titles)}."
    unfinished = [step for step in session.steps if step.status != "done"]
    if unfinished:
        yield f"{len(unfinished)} of them did not finish, and are marked."
    warned = sum(any(check.level == "warn" for check in step.result.checks) for step in session.steps if step.result)
    if warned:
        yield f"{count(warned, 'result')} came with a warning about how far to believe it."
    for step in session.steps:
        if isinstance(step.result, DiagnoseResult) and step.result.failure is not None:
            yield f"A diagnosis (step {step.id}) came to: {step.result.title}."
        elif isinstance(step.result, FixResult | FixCasesResult) and step.result.reason:
            tried = len(step.result.candidates)
            yield f"Fixes were tried and taken back, {tried} in all (step {step.id}): {step.result.reason}."


def prompts_in_words(session: Session) -> Iterator[str]:
    """The prompts of fixes that were used, and what the model said then."""
    for fix, title, used in prompts_used(session):
        said_then = next(answers_of([used]), None)
        then = (
            "" if said_then is None else f" It went on with “{said_then.text.strip()}” ({said_then.probability:.2f})."
        )
        yield f"Of the fixes of step {fix.id} another prompt was used, in step {used.id}: {title}.{then}"


def _what_was_changed(session: Session) -> Iterator[str]:
    yield from prompts_in_words(session)
    edits = edits_of(session)
    queue = last_queue(session)
    if not edits:
        yield "The model itself was not changed."
        return
    on = 0 if queue is None or queue.bypassed else sum(entry.on for entry in queue.entries)
    if not on:
        state = "none of them is on, and the model is as it was"
    elif queue and on == len(queue.entries):
        state = "it is on" if on == 1 else "all of them are on"
    else:
        state = f"{on} of them {'is' if on == 1 else 'are'} on"
    yield f"The model was changed by {count(len(edits), 'edit')}; at the end {state}."
    made = [step.result for step in session.steps if isinstance(step.result, EditResult) and step.result.edit]
    for result in made[-1:]:
        if result.after:
            after = result.after[0]
            answer = after.top.strip() or after.top
            yield f"With the last one it goes on with “{answer}” (probability {after.top_probability:.2f})."
    for _, suite in edited_suites(session)[-1:]:
        spoiled = sum(suite.is_failure(outcome) for outcome in suite.failing())
        asked = len(suite.outcomes)
        yield f"Of {asked} answers that a regression suite checked, {spoiled} are now wrong because of the edit."
    for tried in applied(session)[-1:]:
        against = "; ".join(tried.against) or "nothing"
        yield f"{tried.standing.title} was chosen of what step {tried.step.id} tried. Against it: {against}."


def case_figures(session: Session) -> tuple[Figure, ...]:
    """The cases, and every answer that was read of them."""
    cases = cases_of(session)
    if not cases:
        return said(line("No step of this session was about a prompt.", "muted"))
    columns = (
        Column(heading="case", right=True), Column(heading="prompt", wraps=True), "subject", "wanted (target)",
        "compared with (foil)", "prepended", "chat template",
    )  # fmt: skip
    rows = tuple(
        (str(n), c.prompt, c.subject or "–", c.target or "–", c.foil or "–", c.prepend, "on" if c.chat else "off")
        for n, c in enumerate(cases, 1)
    )
    return (Table(title="Cases", columns=columns, rows=rows), *_answer_table(session, cases))


def _answer_table(session: Session, cases: tuple[Case, ...]) -> tuple[Figure, ...]:
    def probability(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    rows = tuple(
        (
            str(a.step.id), str(cases.index(a.case) + 1), "yes" if a.edited else "no", a.text,
            probability(a.probability), probability(a.target), probability(a.foil),
        )
        for a in answers_of(session.steps)
    )  # fmt: skip
    if not rows:
        return said(line("No step read the model's whole answer.", "muted"))
    numbers = (Column(heading=heading, right=True) for heading in ("probability", "p(target)", "p(foil)"))
    columns = (Column(heading="step", right=True), Column(heading="case", right=True), "edited", "answer", *numbers)
    return (Table(title="What the model answered", columns=columns, rows=rows),)


def finding_figures(session: Session) -> tuple[Figure, ...]:
    """What diagnoses came to, and what was recommended."""
    found = finding_of(session)
    if not found:
        return said(line("No diagnosis was recorded in this session; the steps below stand for themselves.", "muted"))
    return said(*(f"{sentence} (step {step})" for step, sentence in found))
