"""Which of the facts in `workbench/data/facts.json` a model knows, by relation, phrasing and what is prepended.

A fact counts as known where the first token of " " + object is the model's first choice after the phrasing. With
--write the file is written anew: every fact gets the contexts in which its canonical phrasing is known, and facts
known in none are left out. To add facts, put them into the file with an empty "known" and run

    python -m benchmarks.facts_known --write
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from workbench.case import Case, Prepend
from workbench.datasets.facts import Fact, Relation, read_relations
from workbench.loading import LoadedModel, load
from workbench.models.tokens import EncodedCase, encode

FILE = Path(__file__).parents[1] / "workbench" / "data" / "facts.json"
CONTEXTS: tuple[Prepend, ...] = ("as-is", "separator")
BATCH = 64  # prompts in one forward pass

Known = dict[tuple[int, Prepend], list[bool]]
"""By phrasing and context, whether each fact of a relation is known."""


def main() -> None:
    options = _options()
    relations = read_relations(options.file.read_text(encoding="utf-8"))
    model = load(options.model, dtype="float32")
    console = Console(width=None if Console().is_terminal else 140)
    measured = []
    for relation in relations:
        known = measure(model, relation)
        measured.append(with_known(relation, known))
        console.print(_table(relation, known))
        for group in colliding(model, relation):
            console.print(f"objects that begin with the same token: {', '.join(group)}")
    kept = [relation.model_copy(update={"facts": tuple(f for f in relation.facts if f.known)}) for relation in measured]
    console.print(_summary(relations, kept))
    if options.write:
        _write(options.file, kept)


def measure(model: LoadedModel, relation: Relation) -> Known:
    """Whether each fact is known, for every phrasing and context."""
    known: Known = {}
    for number in range(len(relation.phrasings)):
        for prepend in CONTEXTS:
            cases = [_encoded(model, relation, number, fact, prepend) for fact in relation.facts]
            known[number, prepend] = [
                case.target is not None and case.target.id == token
                for case, token in zip(cases, first_choices(model, [case.ids for case in cases]), strict=True)
            ]
    return known


def _encoded(model: LoadedModel, relation: Relation, number: int, fact: Fact, prepend: Prepend) -> EncodedCase:
    prompt = relation.prompts(fact.subject)[number]
    case = Case(prompt=prompt, subject=fact.subject, target=" " + fact.object, prepend=prepend)
    return encode(model.tokenizer, case)


@torch.inference_mode()
def first_choices(model: LoadedModel, prompts: Sequence[tuple[int, ...]]) -> list[int]:
    """The likeliest next token of each prompt.

    Prompts of similar length share a batch, padded on the right, where a causal model cannot see it.
    """
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    chosen = [-1] * len(prompts)
    for begin in range(0, len(by_length), BATCH):
        batch = by_length[begin : begin + BATCH]
        longest = len(prompts[batch[-1]])
        padded = [prompts[index] + (0,) * (longest - len(prompts[index])) for index in batch]
        ends, which = torch.unique(torch.tensor([len(prompts[index]) - 1 for index in batch]), return_inverse=True)
        device = model.hf.device
        logits = model.hf(torch.tensor(padded, device=device), logits_to_keep=ends.to(device), use_cache=False).logits
        last = logits[torch.arange(len(batch)), which]  # (batch, vocabulary), of (batch, ends, vocabulary)
        for index, token in zip(batch, last.argmax(-1).tolist(), strict=True):
            chosen[index] = token
    return chosen


def with_known(relation: Relation, known: Known) -> Relation:
    """The relation with its facts' ``known`` as measured for the canonical phrasing."""
    facts = tuple(
        fact.model_copy(update={"known": tuple(prepend for prepend in CONTEXTS if known[0, prepend][index])})
        for index, fact in enumerate(relation.facts)
    )
    return relation.model_copy(update={"facts": facts})


def colliding(model: LoadedModel, relation: Relation) -> list[list[str]]:
    """Groups of objects that begin with the same token, so that the first token cannot tell them apart."""
    by_token: dict[int, set[str]] = defaultdict(set)
    for fact in relation.facts:
        target = _encoded(model, relation, 0, fact, "as-is").target
        if target is not None:
            by_token[target.id].add(fact.object)
    return [sorted(group) for group in by_token.values() if len(group) > 1]


def _table(relation: Relation, known: Known) -> Table:
    table = Table(title=f"{relation.id}: {len(relation.facts)} facts", title_justify="left")
    table.add_column("phrasing", min_width=70)
    for heading in (*CONTEXTS, "either"):
        table.add_column(heading, justify="right")
    for number, phrasing in enumerate(relation.phrasings):
        columns = [known[number, prepend] for prepend in CONTEXTS]
        either = [any(facts) for facts in zip(*columns, strict=True)]
        table.add_row(phrasing, *(str(sum(column)) for column in (*columns, either)))
    return table


def _summary(before: Sequence[Relation], kept: Sequence[Relation]) -> Table:
    table = Table(title="canonical phrasings", title_justify="left")
    for heading in ("relation", "facts", "known", "as-is", "separator", "objects"):
        table.add_column(heading, justify="left" if heading == "relation" else "right")
    for old, new in zip(before, kept, strict=True):
        in_context = [sum(prepend in fact.known for fact in new.facts) for prepend in CONTEXTS]
        objects = len({fact.object for fact in new.facts})
        table.add_row(new.id, *map(str, (len(old.facts), len(new.facts), *in_context, objects)))
    return table


def _write(path: Path, relations: Sequence[Relation]) -> None:
    """One fact a line, so that a change of the data reads as one."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    blocks = ",\n".join(_block(relation) for relation in relations)
    ripples = ",\n".join(f"  {_json(ripple)}" for ripple in kept["ripples"])
    text = f'{{\n"about": {_json(kept["about"])},\n"relations": [\n{blocks}\n],\n"ripples": [\n{ripples}\n]\n}}\n'
    path.write_text(text, encoding="utf-8")


def _block(relation: Relation) -> str:
    phrasings = ",\n".join(f"    {_json(phrasing)}" for phrasing in relation.phrasings)
    facts = ",\n".join(f"    {_json(fact.model_dump(exclude={'relation'}))}" for fact in relation.facts)
    return (
        f'  {{"id": {_json(relation.id)}, "name": {_json(relation.name)},\n'
        f'   "phrasings": [\n{phrasings}],\n   "facts": [\n{facts}]}}'
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--write", action="store_true", help="write what is known back into the file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
