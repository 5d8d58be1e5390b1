"""Regression suites: what must be true after an edit, and what must still be true. Plain data, no torch.

A suite comes from the shipped facts (`suite_for`), from a file that the user wrote (`read_suite`), or from records
of edits such as CounterFact's (`read_records`). ``docs/suites.md`` describes the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from workbench.case import Case
from workbench.datasets.facts import Fact, Relation, relation_and_subject, shipped_facts, shipped_ripples
from workbench.datasets.json_files import decode, elements, is_lines, read_values
from workbench.errors import InputError
from workbench.protocol import Frozen
from workbench.reading import first_problem, read_text, shortened
from workbench.spans import BLANK, fill, find_subject

Parsed = TypeVar("Parsed", bound=Frozen)

Role = Literal["rewrite", "paraphrase", "ripple", "neighborhood", "unrelated", "attribute"]
ROLES: tuple[Role, ...] = ("rewrite", "paraphrase", "ripple", "neighborhood", "unrelated", "attribute")
SCORES: dict[Role, str] = {
    "rewrite": "efficacy",
    "paraphrase": "generalization",
    "neighborhood": "specificity",
    "ripple": "portability",
    "unrelated": "unrelated",
    "attribute": "attribute",
}
"""What the share of a role's facts that pass is called, the most telling first (arXiv 2202.05262, 2305.13172)."""

MUST_CHANGE = ("rewrite", "paraphrase", "ripple")

NEIGHBORS = 30
"""At most so many neighbors are in a suite from the shipped facts."""

GENERATION = ("When people think of {}, they", "A short text about {}:", "The most interesting thing about {} is")
"""What text is generated from, to see whether an edited model still writes about the subject or only repeats."""


class SuiteFact(Frozen):
    """What must be true after the edit: ``target`` follows ``prompt``.

    It must be likelier than ``against``: for rewrite, paraphrase and ripple the old answer, for neighborhood the
    edit's new one. Without ``against`` its first token must be the model's first choice.
    """

    role: Role
    prompt: str
    subject: str | None = None
    target: str
    against: str | None = None


class Suite(Frozen):
    """Facts to be checked together, and prompts from which text is generated."""

    name: str
    facts: tuple[SuiteFact, ...]
    generation_prompts: tuple[str, ...] = ()


COMMON = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with"])
"""Words that say nothing of what a subject is."""


def overlapping(suite: Suite) -> frozenset[int]:
    """The places of those neighbors whose prompts share a word with the subject of the rewrite, capitals or not."""
    subjects = (fact.subject for fact in suite.facts if fact.role == "rewrite" and fact.subject)
    words = {word for subject in subjects for word in _words(subject)}
    return frozenset(
        place for place, fact in enumerate(suite.facts) if fact.role == "neighborhood" and words & _words(fact.prompt)
    )


def _words(text: str) -> set[str]:
    """Every word once, but for the commonest and for single letters, such as a genitive's."""
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 1} - COMMON


class EditRecord(Frozen):
    """One edit to be made (``case.target`` is the new answer, ``case.foil`` the old one), and its suite."""

    id: str
    case: Case
    suite: Suite


# --- From the shipped facts ---


def suite_for(case: Case) -> Suite | None:
    """The suite of an edit that makes ``case.target`` the answer, from the shipped facts.

    None where the prompt is no phrasing of a shipped relation about ``case.subject``, or there is no target.
    """
    new = (case.target or "").strip()
    found = relation_and_subject(case.prompt, case.subject or "") if new else None
    if found is None:
        return None
    relation, subject = found
    fact = relation.fact_about(subject)
    answers = (fact.object if fact else None, (case.foil or "").strip() or None)
    old = next((answer for answer in answers if answer and answer != new), None)
    rewrite = SuiteFact(role="rewrite", prompt=case.prompt, subject=case.subject, target=new, against=old)
    facts = (
        rewrite,
        *_paraphrases(relation, subject, rewrite),
        *_ripples(relation, subject, new, old),
        *_neighbors(relation, subject, new),
        *_unrelated(relation, {subject, new, old}),
        *_attributes(relation, subject),
    )
    name = _with_article(relation, subject)
    return Suite(
        name=f"{subject} → {new}",
        facts=tuple({fact.prompt: fact for fact in reversed(facts)}.values())[::-1],  # each prompt once, the first
        generation_prompts=tuple(template.replace(BLANK, name) for template in GENERATION),
    )


def _paraphrases(relation: Relation, subject: str, rewrite: SuiteFact) -> list[SuiteFact]:
    plain = " ".join(rewrite.prompt.split()).casefold()
    return [
        SuiteFact(role="paraphrase", prompt=prompt, subject=subject, target=rewrite.target, against=rewrite.against)
        for prompt in relation.prompts(subject)
        if prompt.casefold() != plain
    ]


def _ripples(relation: Relation, subject: str, new: str, old: str | None) -> list[SuiteFact]:
    """What follows from the new answer, where the shipped facts say enough to know it."""
    relations = {each.id: each for each in shipped_facts()}
    found = []
    for ripple in shipped_ripples():
        if ripple.of != relation.id:
            continue
        other = relations[ripple.relation]
        if ripple.kind == "inverse":
            before = other.fact_about(new)
            against = before.object if before and before.object != subject else None
            found.append(_ripple(other.canonical, new, subject, against))
        elif ripple.kind == "same":
            found.append(_ripple(other.canonical, subject, new, old))
        else:
            now, then = other.fact_about(new), other.fact_about(old or "")
            if now and not (then and then.object == now.object):  # else nothing follows: both lie in one country
                found.append(_ripple(ripple.phrasing or "", subject, now.object, then.object if then else None))
    return found


def _ripple(phrasing: str, subject: str, target: str, against: str | None) -> SuiteFact:
    prompt = phrasing.replace(BLANK, subject)
    return SuiteFact(role="ripple", prompt=prompt, subject=subject, target=target, against=against)


def _neighbors(relation: Relation, subject: str, new: str) -> list[SuiteFact]:
    others = [fact for fact in relation.facts if fact.subject != subject and fact.object != new]
    count = min(NEIGHBORS, len(others))
    spread = [others[index * len(others) // count] for index in range(count)]
    return [_fact("neighborhood", relation, fact, against=new) for fact in spread]


def _unrelated(relation: Relation, names: set[str | None]) -> list[SuiteFact]:
    """Two facts of every other relation that name nothing of the edit, if possible known in either context."""
    found = []
    for other in shipped_facts():
        if other.id == relation.id:
            continue
        free = [fact for fact in other.facts if fact.subject not in names and fact.object not in names]
        sure = [fact for fact in free if len(fact.known) > 1]
        pool = sure if len(sure) > 1 else free
        found += [_fact("unrelated", other, fact) for fact in (pool[:1] + pool[len(pool) // 2 :][:1])]
    return found


def _attributes(relation: Relation, subject: str) -> list[SuiteFact]:
    """What other relations say about the subject, but for those that an edit of this one takes along."""
    bound = {(ripple.of, ripple.relation) for ripple in shipped_ripples() if ripple.kind == "same"}
    return [
        _fact("attribute", other, fact)
        for other in shipped_facts()
        if other.id != relation.id and not {(relation.id, other.id), (other.id, relation.id)} & bound
        if (fact := other.fact_about(subject))
    ]


def _fact(role: Role, relation: Relation, fact: Fact, against: str | None = None) -> SuiteFact:
    prompt = relation.canonical.replace(BLANK, fact.subject)
    return SuiteFact(role=role, prompt=prompt, subject=fact.subject, target=fact.object, against=against)


def _with_article(relation: Relation, subject: str) -> str:
    """The subject as it stands inside a sentence: "the Eiffel Tower", "a banana", "Australia"."""
    article = re.search(r"\b(the|a) \{\}(?! River)", relation.canonical, re.IGNORECASE)
    return f"{article[1].lower()} {subject}" if article else subject


# --- From files ---


def read_suite(path: Path) -> Suite:
    """Read one suite: a JSON object with ``name``, ``facts`` and ``generation_prompts``, or one record of an edit.

    Raises `InputError` with one sentence, which names the line, for anything else.
    """
    text = read_text(path)
    facts_at = re.search(r'"facts"\s*:\s*(?=\[)', text)
    if facts_at is None or is_lines(text):
        records = read_records(path)
        if len(records) > 1:
            raise InputError(
                f"{path} holds {len(records)} records of edits; give them as --facts, or one of them alone"
            )
        return records[0].suite
    head = decode(text, path)
    if not isinstance(head, dict) or "facts" not in head:  # an `EditRecord`, with its suite inside
        return read_records(path)[0].suite
    if not head["facts"]:
        raise InputError(f'{path} holds no facts; write them as a list under "facts"')
    facts = tuple(
        _valid(SuiteFact, fields, f"fact {number} of {path} (line {line})")
        for number, (line, fields) in enumerate(elements(text, facts_at.end(), path), 1)
    )
    return _valid(Suite, {"name": path.stem, **head, "facts": facts}, f"{path} (line 1)")


def read_records(path: Path) -> tuple[EditRecord, ...]:
    """Read records of edits from JSON lines or a JSON array. Each is told by its fields:

    CounterFact as published ("requested_rewrite", "paraphrase_prompts", "neighborhood_prompts", …), its flat layout
    ("prompt", "target_new", "ground_truth", "rephrase_prompt", "locality_prompt", …), an `EditRecord` ("case",
    "suite"), or only "prompt", "subject", "target" and perhaps "foil", whose suite comes from the shipped facts.
    Raises `InputError` with one sentence, which names the line, for anything else.
    """
    records = tuple(_record(fields, line, path) for line, fields in read_values(read_text(path), path))
    if not records:
        raise InputError(f"{path} holds no records; write one JSON object a line")
    return records


def _record(fields: Any, line: int, path: Path) -> EditRecord:
    where = f"line {line} of {path}"
    if not isinstance(fields, dict):
        raise InputError(f"{where} is not a record of an edit; write a JSON object")
    try:
        if "requested_rewrite" in fields:
            return _published(fields, line)
        if "target_new" in fields:
            return _flat(fields, line)
        if "case" in fields:
            return _valid(EditRecord, fields, where)
        return _short(fields, line)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        why = f" ({shortened(str(error), 40)} is missing)" if isinstance(error, KeyError) else ""
        raise InputError(
            f"{where} is not a record of an edit{why}; write prompt, subject and target, or a CounterFact record"
        ) from error


def _published(fields: dict[str, Any], line: int) -> EditRecord:
    """CounterFact as its authors publish it: Meng et al. 2022 (arXiv 2202.05262), appendix D."""
    rewrite = fields["requested_rewrite"]
    subject, new, old = rewrite["subject"], rewrite["target_new"]["str"], rewrite["target_true"]["str"]
    neighbors = [(prompt, old) for prompt in fields.get("neighborhood_prompts", ())]
    return _edit_record(
        str(fields.get("case_id", line)),
        rewrite["prompt"],
        (subject, new, old),
        fields.get("paraphrase_prompts", ()),
        neighbors,
        fields.get("generation_prompts", ()),
    )


def _flat(fields: dict[str, Any], line: int) -> EditRecord:
    """The layout of the same records, and others, with one text a field (or a list of texts)."""
    return _edit_record(
        str(fields.get("case_id", line)),
        fields["prompt"],
        (fields.get("subject"), fields["target_new"], fields.get("ground_truth")),
        _texts(fields, "rephrase_prompt"),
        _pairs(fields, "locality"),
        (),
        _pairs(fields, "portability"),
    )


def _pairs(fields: dict[str, Any], name: str) -> list[tuple[str, str]]:
    """Prompts with their answers."""
    prompts, answers = _texts(fields, f"{name}_prompt"), _texts(fields, f"{name}_ground_truth")
    if len(prompts) != len(answers):
        raise KeyError(f"{name}_ground_truth")
    return list(zip(prompts, answers, strict=True))


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    value = fields.get(name) or []
    return [value] if isinstance(value, str) else list(value)


def _short(fields: dict[str, Any], line: int) -> EditRecord:
    subject = fields.get("subject")
    prompt, at = fill(fields["prompt"], subject) if subject else (fields["prompt"], None)
    case = Case(prompt=prompt, subject=subject, target=fields["target"], foil=fields.get("foil"), subject_at=at)
    identity = str(fields.get("id", line))
    suite = suite_for(case)
    if suite is None:
        return _edit_record(identity, fields["prompt"], (case.subject, fields["target"], case.foil), (), (), ())
    return EditRecord(id=identity, case=case, suite=suite)


def _edit_record(
    identity: str,
    prompt: str,
    edit: tuple[str | None, str, str | None],
    paraphrases: Iterable[str],
    neighbors: Sequence[tuple[str, str]],
    generation_prompts: Iterable[str],
    ripples: Sequence[tuple[str, str]] = (),
) -> EditRecord:
    """``edit`` is the subject, its new and its old answer; neighbors and ripples are prompts with their answers.

    A blank in ``prompt`` is where the subject is. Without a subject it is a record for those editors alone that need
    none.
    """
    subject, new, old = edit[0], _spaced(edit[1]), _spaced(edit[2]) if edit[2] else None
    prompt, at = fill(prompt, subject) if subject else (prompt, None)
    facts = [SuiteFact(role="rewrite", prompt=prompt, subject=subject, target=new, against=old)]
    for other in paraphrases:
        found = find_subject(other, subject) if subject else None
        inside = subject if found and found.whole else None
        facts.append(SuiteFact(role="paraphrase", prompt=other, subject=inside, target=new, against=old))
    facts += [SuiteFact(role="ripple", prompt=other, target=_spaced(answer)) for other, answer in ripples]
    for other, answer in ((other, _spaced(answer)) for other, answer in neighbors):
        # One whose own answer is the new one has nothing to be compared with: it must stay the first choice.
        against = None if answer == new else new
        facts.append(SuiteFact(role="neighborhood", prompt=other, target=answer, against=against))
    return EditRecord(
        id=identity,
        case=Case(prompt=prompt, subject=subject, target=new, foil=old, subject_at=at),
        suite=Suite(
            name=f"{subject or prompt} → {new.strip()}",
            facts=tuple(facts),
            generation_prompts=tuple(generation_prompts),
        ),
    )


def _spaced(answer: str) -> str:
    """An answer after a space, as published records mean it, whatever the prompt ends with."""
    return answer if answer[:1].isspace() else f" {answer}"


def _valid(model: type[Parsed], fields: Any, where: str) -> Parsed:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"{where} is wrong at {first_problem(error)}; docs/suites.md describes the file") from error
