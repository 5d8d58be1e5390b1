"""What keys of a codebook reach.

    python -m benchmarks.codebook_reach RECORDS --limit 50
    python -m benchmarks.codebook_reach RECORDS --limit 300 --together --layers 3,5,8,12 --radii 0.25,0.3,0.35,0.4

For every layer and both choices of the key's token: the median distance from a fact's key to its paraphrase and from a
neighborhood prompt to the nearest key, and by radius the share of paraphrases within reach of their own key and of
neighborhood prompts within that of any. Prompts stand after BOS or separator, and every token of them is looked up.

``--together``: the keys of all records in one codebook, put together as codebooks in a queue are, key at the subject:
the share of paraphrases that reach their own answer, and of neighborhood prompts that any key reaches.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.suites import EditRecord, read_records
from workbench.editing.changes import Codebook
from workbench.editing.editors.grace.grace import label_of
from workbench.editing.editors.grace.prompts import prompts_of
from workbench.lazy import nnsight, torch
from workbench.loading import LoadedModel, load
from workbench.models.anatomy import tensor_of

if TYPE_CHECKING:
    from torch import Tensor

RADII = (0.1, 0.2, 0.3, 0.35, 0.4, 0.5)
"""In lengths of the key."""


def main() -> None:
    """Print one line for each token and layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--layers", default="3,5,8,12", help="of the codebook that is put together")
    parser.add_argument("--radii", default="0.25,0.3,0.35,0.4,0.45,0.5", help="of its keys, in their lengths")
    asked = parser.parse_args()
    model = load(asked.model, "float32", "cpu")
    records = tuple(read_records(asked.records))[: asked.limit]
    if asked.together:
        together(model, records, list(map(int, asked.layers.split(","))), list(map(float, asked.radii.split(","))))
        return
    print("token layer length to-paraphrase to-neighborhood", *(f"at-{radius}" for radius in RADII))
    prompts = [_states(model, record.case.prompt) for record in records]
    subjects = [model.encode(_after_start(record.case.prompt, record.case.subject)).subject for record in records]
    paraphrases, neighborhood = (_of(model, records, role) for role in ("paraphrase", "neighborhood"))
    for token in ("subject", "last"):
        places = [-1 if token == "last" or span is None else span[1] - 1 for span in subjects]
        for layer in range(model.info.layers):
            keys = torch.stack([states[layer, at] for states, at in zip(prompts, places, strict=True)])
            own = [float(_nearest(states[layer], keys[fact : fact + 1])) for fact, states in paraphrases]
            other = [float(_nearest(states[layer], keys)) for _, states in neighborhood]
            length = float(keys.norm(dim=-1).median())
            shares = [f"{_share(own, radius * length):.0f}/{_share(other, radius * length):.0f}" for radius in RADII]
            print(token, layer, *(f"{value:.1f}" for value in (length, median(own), median(other))), *shares)


def together(model: LoadedModel, records: tuple[EditRecord, ...], layers: list[int], radii: list[float]) -> None:
    """Print a line for each layer: own answer reached by paraphrases / reached by neighborhood prompts, by radius."""
    prompts = [prompts_of(model, record.case, "subject") for record in records]
    labels = [label_of(each[0].answers) for each in prompts]
    keys = [torch.stack([_states_of(model, one.ids)[layers, one.place] for one in each]) for each in prompts]
    paraphrases, neighborhood = (
        [(place, states[layers]) for place, states in _of(model, records, role)]
        for role in ("paraphrase", "neighborhood")
    )
    print("layer", *radii)
    for number, layer in enumerate(layers):
        shares = []
        for radius in radii:
            books = [_book(layer, own[:, number], radius, label) for own, label in zip(keys, labels, strict=True)]
            (book,) = Codebook.together(books)
            reached = [labels[fact] in _answers(book, states[number]) for fact, states in paraphrases]
            taken = [bool(_answers(book, states[number])) for _, states in neighborhood]
            shares.append(f"{100 * fmean(reached):.0f}/{100 * fmean(taken):.0f}")
        print(layer, *shares, flush=True)


def _book(layer: int, keys: Tensor, radius: float, label: int) -> Codebook:
    return Codebook(layer, keys, keys, radius * keys.norm(dim=-1), torch.full((len(keys),), label))


def _answers(book: Codebook, states: Tensor) -> set[int]:
    """The answers that any token of a prompt reaches, but for the first, where all words are alike."""
    nearest, distances = book.nearest(states[1:])
    return set(book.labels[nearest[distances <= book.radii[nearest]]].tolist())


def _after_start(prompt: str, subject: str | None = None) -> Case:
    return Case(prompt=prompt, subject=subject, prepend="separator")


def _states(model: LoadedModel, prompt: str) -> Tensor:
    """The residual stream after every layer at every token ``(layers, tokens, d_model)``."""
    return _states_of(model, model.encode(_after_start(prompt)).ids)


def _states_of(model: LoadedModel, tokens: tuple[int, ...]) -> Tensor:
    ids = torch.tensor([tokens], device=model.hf.device)
    with torch.no_grad(), model.nn.trace(input_ids=ids, use_cache=False):
        found = nnsight.save([])
        for block in model.nn.blocks:
            found.append(tensor_of(block.output)[0].clone())
    return torch.stack([each.float().cpu() for each in found])


def _of(model: LoadedModel, records: tuple[EditRecord, ...], role: str) -> list[tuple[int, Tensor]]:
    """The states of every record's prompts of a role, with the record's place."""
    facts = ((place, fact) for place, record in enumerate(records) for fact in record.suite.facts)
    return [(place, _states(model, fact.prompt)) for place, fact in facts if fact.role == role]


def _nearest(states: Tensor, keys: Tensor) -> Tensor:
    """The least distance of any token but the first, where all words are alike, to any key."""
    return torch.cdist(states[1:], keys).min()


def _share(distances: list[float], radius: float) -> float:
    return 100 * sum(each <= radius for each in distances) / len(distances)


if __name__ == "__main__":
    main()
