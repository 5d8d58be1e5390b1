"""All truncations of a reasoning with kept prefixes, against each of them run from its start, in the same process.

    python benchmarks/cot_tokens.py                     the default model, a reasoning of 10 sentences
    python benchmarks/cot_tokens.py --sentences 5       fewer of them

Both ways read the same choices after 0 … n sentences; the answers and the probabilities must be the same. Counted
are the tokens that go through the blocks. "kept" includes the run of the reasoning itself, which is free where the
model has just written it ("kept, reasoning just written"), and the check of one truncation against an unbroken run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from workbench.loading import LoadedModel, load
from workbench.methods.cot.answers import LEAD_IN, AnswerReader, ids_of
from workbench.methods.cot.interventions import kept
from workbench.methods.cot.result import context
from workbench.methods.cot.sentences import sentences_of
from workbench.methods.cot.truncation import CotRequest, prompt_of
from workbench.models.forward.prefixes import Prefixes
from workbench.models.store import DEFAULT_MODEL

QUESTION = "Mia has 3 boxes with 4 pens in each. She gives 5 pens to her brother and buys 2 more. How many are left?"
CHOICES = ("9", "7", "12", "14")
REASONING = (
    "Let's find out how many pens Mia has at first. There are 3 boxes, and each of them holds 4 pens. "
    "So we multiply the number of boxes by the number of pens. That gives 3 × 4 = 12 pens. "
    "Next, she gives 5 of these pens to her brother. We take them away from what she had. "
    "That leaves 12 − 5 = 7 pens. Then she goes to the shop and buys 2 more. "
    "We add them to the pens that were left. Now she has 7 + 2 = 9 pens."
)


@dataclass(frozen=True)
class Way:
    """One way of reading all truncations."""

    name: str
    tokens: int
    seconds: float
    found: list[tuple[float, ...]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--sentences", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    options = parser.parse_args()
    model = load(options.model)
    sentences = sentences_of(REASONING)[: options.sentences]
    prompt = prompt_of(model, CotRequest(question=QUESTION, choices=CHOICES))
    texts = [context(prompt, variant.text, LEAD_IN["texts"]) for variant in kept(sentences)]
    whole = ids_of(model, prompt + "".join(sentences).rstrip())
    ways: list[Way] = []
    for name in ("from the start", "kept", "kept, reasoning just written"):
        tries = [read(model, name, texts, whole) for _ in range(options.repeats)]
        ways.append(min(tries, key=lambda way: way.seconds))
    show(ways, len(sentences), len(whole))


def read(model: LoadedModel, name: str, texts: list[str], whole: tuple[int, ...]) -> Way:
    """The probabilities of the choices after each text, what they cost."""
    prefixes = Prefixes(model, reuse=name != "from the start")
    written = name.endswith("written")
    if written:
        prefixes.keep(whole)
    before, began = prefixes.computed, time.perf_counter()
    if not written:
        prefixes.keep(whole)
    found = []
    if prefixes.reuses:
        answers = AnswerReader(model, prefixes, CHOICES, "texts")
        answers.read(texts)
        found = [answers.probabilities(text) for text in texts]
    else:
        found = [alone(model, prefixes, text) for text in texts]
    return Way(name, prefixes.computed - before, time.perf_counter() - began, found)


def alone(model: LoadedModel, prefixes: Prefixes, text: str) -> tuple[float, ...]:
    """One truncation by itself: prompt and reasoning once, and after them what its choices have more than a token."""
    own = Prefixes(model)
    answers = AnswerReader(model, own, CHOICES, "texts")
    own.parity = 0.0  # without the check, which is not a part of this way
    answers.read([text])
    prefixes.computed += own.computed
    return answers.probabilities(text)


def show(ways: list[Way], sentences: int, tokens: int) -> None:
    """A row a way, with its share of the first."""
    first = ways[0]
    table = Table(title=f"{sentences + 1} truncations, {sentences} sentences, {tokens} tokens", title_justify="left")
    for heading in ("way", "tokens", "times fewer", "seconds", "times faster", "largest difference"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way in ways:
        pairs = zip(way.found, first.found, strict=True)
        off = max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
        numbers = (f"{first.tokens / way.tokens:.1f}", f"{way.seconds:.2f}", f"{first.seconds / way.seconds:.1f}")
        table.add_row(way.name, str(way.tokens), *numbers, f"{off:.0e}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
