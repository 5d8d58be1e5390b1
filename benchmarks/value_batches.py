"""Values of facts found together against one at a time, and the time to solve for the keys of a thousand facts.

    OMP_NUM_THREADS=1 python -m benchmarks.value_batches [--facts 16] [--prefixes 6] [--solved 1000]

Both ways run in one process on the same facts, contexts and settings, and come to the same values; none is taken from
the cache. Seconds are the processor's, as other programs may be running, and the clock's beside them. The keys of the
solve are random: what they are makes no difference to the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from workbench.case import Case
from workbench.datasets.facts import shipped_facts
from workbench.editing.editors.key_statistics import KeyStatistics
from workbench.editing.editors.memit import values
from workbench.editing.editors.memit.facts import FactContexts, facts_of
from workbench.editing.editors.memit.memit import MemitSettings
from workbench.editing.editors.memit.null_space import null_space
from workbench.editing.editors.memit.solve import Keys, alphaedit, memit
from workbench.editing.layers import chosen_layers
from workbench.loading import LoadedModel, load
from workbench.protocol import silent

Found = TypeVar("Found")

CONTEXTS = 10
"""Keys of a fact, about: its prompt with two things prepended, after six prefixes, and its subject at the beginning."""


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=16)
    parser.add_argument("--prefixes", type=int, default=MemitSettings().prefixes, help="contexts of a fact, less two")
    parser.add_argument("--solved", type=int, default=1000, help="0: no solve")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    model = load(arguments.model, device=arguments.device)
    console = Console()
    console.print(found(model, arguments.facts, arguments.prefixes))
    if arguments.solved:
        console.print(solved(model, arguments.solved))


def cases(number: int) -> tuple[Case, ...]:
    """Shipped facts, each with the object of the next one of its relation."""
    found = [
        Case(prompt=relation.prompts(fact.subject)[0], subject=fact.subject, target=f" {other.object}")
        for relation in shipped_facts()
        for fact, other in zip(relation.facts, relation.facts[1:], strict=False)
        if fact.object != other.object
    ]
    return tuple(found[:: max(1, len(found) // number)][:number])


def found(model: LoadedModel, number: int, prefixes: int) -> Table:
    """The values of so many facts, both ways."""
    settings, layer = MemitSettings(prefixes=prefixes), chosen_layers(model, ())[0][-1]
    facts = facts_of(model, cases(number), settings, silent)

    def search(some: tuple[FactContexts, ...]) -> list[values.Value]:
        return list(values.values_of(model, layer, some, settings.optimisation, silent))

    with TemporaryDirectory() as folder, patch.object(values, "cache_folder", lambda: Path(folder)):
        search(facts[:1])  # what is made once is made
    with TemporaryDirectory() as folder, patch.object(values, "cache_folder", lambda: Path(folder)):
        together, batched = timed(lambda: search(facts))
    with TemporaryDirectory() as folder, patch.object(values, "cache_folder", lambda: Path(folder)):
        alone, one_by_one = timed(lambda: [value for fact in facts for value in search((fact,))])
    off = max(
        float((one.delta - other.delta).norm() / other.delta.norm())
        for one, other in zip(batched, one_by_one, strict=True)
    )
    steps = sum(len(value.losses) for value in batched) / number
    table = Table(f"values of {number} facts", "processor s a fact", "clock s a fact", "1,000 facts, min", box=None)
    for name, (processor, clock) in (("together", together), ("one at a time", alone)):
        table.add_row(name, f"{processor / number:.2f}", f"{clock / number:.2f}", f"{1000 * clock / number / 60:.0f}")
    table.add_row("ratio", f"{alone[0] / together[0]:.1f}", f"{alone[1] / together[1]:.1f}", "")
    table.caption = f"{steps:.1f} steps a fact; largest relative difference of a value {off:.0e}"
    return table


def solved(model: LoadedModel, number: int) -> Table:
    """One layer's change for the keys of so many facts, by both editors."""
    width, generator = model.anatomy.d_mlp, torch.Generator().manual_seed(0)
    device = model.hf.device if model.hf.device.type == "cuda" else torch.device("cpu")
    columns = torch.randn(width, CONTEXTS * number, dtype=torch.float64, generator=generator).to(device)
    weights = torch.full((CONTEXTS * number,), 1 / CONTEXTS, dtype=torch.float64, device=device)
    keys = Keys(columns, weights, torch.arange(number, device=device).repeat_interleave(CONTEXTS), number)
    moment = torch.randn(width, 4 * width, dtype=torch.float64, generator=generator)
    moment = moment @ moment.T / (4 * width)
    with TemporaryDirectory() as folder, patch("workbench.editing.editors.memit.null_space.cache_folder") as place:
        place.return_value = Path(folder)
        statistics = KeyStatistics(0, moment, 4 * width, "random numbers", 1.0)
        decomposed, space = timed(lambda: null_space(model, statistics, 0.7, silent))
    basis, none = space.basis.to(device), torch.zeros(width, 0, dtype=torch.float64, device=device)
    by_memit, _ = timed(lambda: memit(keys, moment.to(device), 1500.0))
    by_alphaedit, _ = timed(lambda: alphaedit(keys, basis, none, 1.0))
    heading = f"keys of {number} facts, {CONTEXTS} each"
    table = Table(heading, "processor s a layer", "clock s a layer", "five layers, s", box=None)
    rows = (("memit", by_memit), ("alphaedit", by_alphaedit), ("null space (once)", decomposed))
    for name, (processor, clock) in rows:
        table.add_row(name, f"{processor:.1f}", f"{clock:.1f}", f"{5 * clock:.1f}")
    return table


def timed(work: Callable[[], Found]) -> tuple[tuple[float, float], Found]:
    """Processor's and clock's seconds of a piece of work, and what it found."""
    processor, clock = time.process_time(), time.perf_counter()
    done = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.process_time() - processor, time.perf_counter() - clock), done


if __name__ == "__main__":
    main()
