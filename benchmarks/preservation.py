"""What single edits leave of a thousand facts that the model knows, and how far each is known in other words.

    OMP_NUM_THREADS=1 python -m benchmarks.preservation [--editors rome,memit] [--edits 5] [--facts 1000]

The suite is made of what ships: every shipped fact in its first phrasing, then in its second, until there are so many
prompts. An edit gives a shipped fact another answer of its relation; it is made by itself, tested, and taken back.
Generalization is the share of the edit's other phrasings to which the new answer is likelier than the old one.
Preservation is the share of the suite's prompts whose first choice was right and is right still, without those that
ask the relation that was edited about the subject that was edited; it is shown for prompts of that relation about
other subjects, and for all others, as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from rich.console import Console
from rich.table import Table

from workbench.case import Prepend
from workbench.datasets.facts import shipped_facts
from workbench.datasets.suites import EditRecord, Suite, SuiteFact
from workbench.editing.editors import editor
from workbench.editing.editors.mend.material import shipped_records
from workbench.editing.sequence import case_of
from workbench.editing.suite.regression import Measurement, SuiteRequest, SuiteResult, measure, run_suite
from workbench.errors import WorkbenchError
from workbench.loading import LoadedModel, load
from workbench.protocol import silent


@dataclass
class Found:
    """Counts over the edits of one editor: of how many prompts how many pass."""

    edits: int = 0
    paraphrases: list[bool] = field(default_factory=list)
    same_relation: list[bool] = field(default_factory=list)
    others: list[bool] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def main() -> None:
    """Print a row for each editor as its edits are tested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--editors", default="rome")
    parser.add_argument("--edits", type=int, default=5)
    parser.add_argument("--facts", type=int, default=1000)
    parser.add_argument("--prepend", default="separator", choices=("as-is", "separator"))
    parser.add_argument("--model", default="smollm2-135m")
    arguments = parser.parse_args()
    model, prepend = load(arguments.model), arguments.prepend
    relations, suite = suite_of(arguments.facts)
    unedited = measured(model, suite, prepend)
    known = sum(reading.answer.passes for reading in unedited.readings.values())
    Console().print(f"{len(suite.facts)} prompts, of which the unedited model knows {known}; prepended: {prepend}")
    records = shipped_records(0)
    records = records[len(records) // (2 * arguments.edits) :: max(1, len(records) // arguments.edits)]
    for name in arguments.editors.split(","):
        found = Found()
        for record in records[: arguments.edits]:
            began = time.process_time()
            try:
                test(model, name, record, found, suite, relations, unedited, prepend)
            except WorkbenchError as error:
                Console().print(f"{name}, {record.suite.name}: {error}")
                continue
            Console().print(f"{name} {record.suite.name}: {time.process_time() - began:.0f} processor s", style="dim")
        Console().print(table(name, found))


def suite_of(prompts: int) -> tuple[list[str], Suite]:
    """So many prompts of shipped facts, and the relation of each."""
    every = (
        (relation.id, fact, phrasing)
        for number in range(4)
        for relation in shipped_facts()
        for phrasing in relation.phrasings[number : number + 1]
        for fact in relation.facts
    )
    chosen = list(islice(every, prompts))
    facts = (
        SuiteFact(
            role="unrelated", prompt=phrasing.replace("{}", fact.subject), subject=fact.subject, target=fact.object
        )
        for _, fact, phrasing in chosen
    )
    return [relation for relation, _, _ in chosen], Suite(name=f"{prompts} shipped facts", facts=tuple(facts))


def measured(model: LoadedModel, suite: Suite, prepend: Prepend) -> Measurement:
    """What the model says to a suite now."""
    return measure(
        model, SuiteRequest(suite=suite, prepends=(prepend,), free=False, generate=False, held_out=False), silent
    )


def tested(model: LoadedModel, suite: Suite, prepend: Prepend, before: Measurement) -> SuiteResult:
    """A suite with the edits that are on."""
    return run_suite(model, suite, before=before, prepends=(prepend,), free=False, generate=False, held_out=False)


def test(
    model: LoadedModel,
    name: str,
    record: EditRecord,
    found: Found,
    suite: Suite,
    relations: list[str],
    unedited: Measurement,
    prepend: Prepend,
) -> None:
    """Make one record's edit and add to what is found what it does."""
    by = editor(name)
    edit = by.make(model, (case_of(record),), by.settings(), silent).edit
    own, relation, subject = record.suite, record.id.rsplit(" ", 1)[0], record.case.subject
    before = measured(model, own, prepend)
    with model.edits.only([edit]):
        new, kept = tested(model, own, prepend, before), tested(model, suite, prepend, unedited)
    found.edits += 1
    found.paraphrases += [
        outcome.after.passes for outcome in new.outcomes if own.facts[outcome.fact].role == "paraphrase"
    ]
    for outcome in kept.outcomes:
        fact, same = suite.facts[outcome.fact], relations[outcome.fact] == relation
        if not outcome.before.passes or (same and fact.subject == subject):
            continue
        (found.same_relation if same else found.others).append(outcome.after.passes)
        if not outcome.after.passes:
            found.lost.append(f"{own.name}: {fact.prompt} {fact.target} → {outcome.after.top.strip()}")


def table(name: str, found: Found) -> Table:
    """What an editor's edits came to, and some of what they lost."""
    rows = Table(f"{name}, {found.edits} single edits", "prompts", "pass", box=None, pad_edge=False)
    for what, passed in (
        ("generalization", found.paraphrases),
        ("preservation", [*found.same_relation, *found.others]),
        ("… of the same relation", found.same_relation),
        ("… of all others", found.others),
    ):
        rows.add_row(what, str(len(passed)), share(passed))
    rows.caption = "\n".join(("lost, among others:", *found.lost[:8])) if found.lost else ""
    return rows


def share(passed: Iterable[bool]) -> str:
    """In per cent."""
    each = list(passed)
    return f"{100 * sum(each) / len(each):.1f} %" if each else "–"


if __name__ == "__main__":
    main()
