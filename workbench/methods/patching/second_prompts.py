"""Second prompts for a patching that nobody has typed: the same question of another subject, a passage reordered."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.case import Case
from workbench.datasets.facts import Fact, relation_and_subject
from workbench.methods.diagnose.passage import sentences_of_prompt
from workbench.methods.diagnose.proposals import known_fact
from workbench.methods.diagnose.variants import reordered
from workbench.methods.heads.controls import controls_of
from workbench.spans import find_subject

MOST = 8


def second_prompts(case: Case) -> tuple[str, ...]:
    """Prompts that differ from a case's in little and are likely to be answered otherwise, the most useful first.

    None where the prompt asks for no shipped fact and is no passage of several sentences.
    """
    found = dict.fromkeys((*_of_other_subjects(case), *_in_another_order(case)))
    return tuple(prompt for prompt in found if prompt.strip() != case.prompt.strip())[:MOST]


def _of_other_subjects(case: Case) -> Iterator[str]:
    """First those whose answer is the target or the foil, then those that the default model knows."""
    fact = known_fact(case)
    subject = case.subject or (fact[0] if fact else None)
    asked = relation_and_subject(case.prompt, subject) if subject else None
    span = find_subject(case.prompt, asked[1]) if asked else None
    if asked is None or span is None:
        return
    relation, named = asked
    own = relation.fact_about(named)
    answers = {(answer or "").strip() for answer in (case.target, case.foil)}

    def rank(other: Fact) -> tuple[bool, bool, bool]:
        alike = len(other.subject.split()) == len(named.split())
        return other.object not in answers, case.prepend not in other.known, not alike

    others = [each for each in relation.facts if each.subject != named and not (own and each.object == own.object)]
    for each in sorted(others, key=rank):
        yield case.prompt[: span.start] + each.subject + case.prompt[span.stop :]


def _in_another_order(case: Case) -> Iterator[str]:
    yield from (control.prompt for control in controls_of(case))
    if (moved := reordered(sentences_of_prompt(case.prompt))) is not None:
        yield moved
