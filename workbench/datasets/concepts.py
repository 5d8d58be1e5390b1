"""Labelled texts from which a concept is learnt and erased, and the sets of them that ship. No torch.

A set is made of templates and fillers (``data/concepts/*.json``, written for this project). Every combination is
there once for each class, so that nothing but the concept tells the classes apart.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import InputError

if TYPE_CHECKING:
    from numpy.random import RandomState

Split = Literal["train", "test", "held-out"]
"""What erasers and probes are fitted on; other texts of the same groups (templates); texts of other groups."""

TEST_SHARE = 0.25
"""Share of the texts that are kept from fitting, within the groups that are fitted on."""


@dataclass(frozen=True)
class Example:
    """A text and its class; ``group`` is what it has in common with others (a template)."""

    text: str
    label: str
    group: str = ""
    split: Split = "train"


@dataclass(frozen=True)
class ConceptData:
    """A concept's examples, no text twice with the same label.

    ``digest`` is of texts, labels and splits. ``prompts`` leave the concept open, and ``words`` are continuations
    of them that belong to a class; both are empty where the data do not say.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    prompts: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, split: Split) -> list[Example]:
        """The examples of one split."""
        return [example for example in self.examples if example.split == split]

    def limited(self, count: int, seed: int = 0) -> ConceptData:
        """About ``count`` of the examples, by chance. Neighbors, one of each class, go together."""
        from numpy.random import RandomState

        size = len(self.classes)
        blocks = [self.examples[begin : begin + size] for begin in range(0, len(self.examples), size)]
        chosen = sorted(RandomState(seed).permutation(len(blocks))[: max(1, count // size)])
        return replace(self, examples=tuple(example for at in chosen for example in blocks[at]))

    @property
    def digest(self) -> str:
        """By which it is seen that these are the same data."""
        rows = [[example.text, example.label, example.split] for example in self.examples]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


# --- The sets that ship with the workbench ---


@cache
def shipped_concepts() -> tuple[str, ...]:
    """Their names."""
    files = (resources.files("workbench") / "data" / "concepts").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


@cache
def shipped_concept(name: str) -> ConceptData:
    """One of them. Raises `InputError`, with their names, where there is none of this name."""
    if name not in shipped_concepts():
        raise InputError(f"there is no concept {name!r}; choose one of {', '.join(shipped_concepts())}")
    file = resources.files("workbench") / "data" / "concepts" / f"{name}.json"
    return render(json.loads(file.read_text(encoding="utf-8")))


def render(written: Mapping[str, Any]) -> ConceptData:
    """The texts of a set that is written as templates and fillers.

    A template is a text with fields in braces, or one such text for each class; ``by_class`` has for a field a list
    of fillers a class, of which those in the same place belong together, and ``shared`` a list for all classes. A
    field that is written with a capital letter begins with one. Which combinations are taken is the same always.
    """
    classes = tuple(written["classes"])
    examples: list[Example] = []
    for split, key in (("train", "templates"), ("held-out", "held_out_templates")):
        for template in written[key]:
            by_class = template if isinstance(template, dict) else dict.fromkeys(classes, template)
            examples += _rendered(by_class, written, "held-out" if split == "held-out" else "train")
    return ConceptData(
        name=written["id"],
        title=written["title"],
        classes=classes,
        examples=distinct(examples),
        prompts=tuple(written["prompts"]),
        words={label: tuple(words) for label, words in written["words"].items()},
    )


_FIELD = re.compile(r"(\b[Aa] )?\{([^{}]+)\}")


def _rendered(template: Mapping[str, str], written: Mapping[str, Any], split: Split) -> Iterator[Example]:
    """The examples of one template; of those fitted on, some are kept for testing, all classes together."""
    from numpy.random import RandomState

    first = next(iter(template.values()))
    names = sorted({_plain(name) for text in template.values() for _, name in _FIELD.findall(text)})
    sizes = [len(_fillers(written, name, next(iter(template)))) for name in names]
    random = RandomState(zlib.crc32(first.encode()))
    chosen = _sample(random, math.prod(sizes), written["pairs_per_template"])
    for number, combination in enumerate(chosen):
        places = _digits(combination, sizes)
        tested = split == "train" and number < TEST_SHARE * len(chosen)
        for label, text in template.items():
            fillers = {name: _fillers(written, name, label)[at] for name, at in zip(names, places, strict=True)}
            yield Example(_filled(text, fillers), label, first, "test" if tested else split)


def _fillers(written: Mapping[str, Any], name: str, label: str) -> list[str]:
    if name in written["by_class"]:
        found: list[str] = written["by_class"][name][label]
    else:
        found = written["shared"][name]
    return found


def _sample(random: RandomState, total: int, wanted: int) -> list[int]:
    """Up to ``wanted`` different numbers below ``total``, in a random order."""
    if total <= 4 * wanted:
        return [int(number) for number in random.permutation(total)[:wanted]]
    drawn = (int(number) for number in random.randint(total, size=4 * wanted))
    return list(dict.fromkeys(drawn))[:wanted]


def _digits(number: int, sizes: Sequence[int]) -> list[int]:
    """Which filler of each field a combination has."""
    places = []
    for size in sizes:
        number, place = divmod(number, size)
        places.append(place)
    return places


def _filled(text: str, fillers: Mapping[str, str]) -> str:
    def filler(match: re.Match[str]) -> str:
        article, name = match.groups()
        word = fillers[_plain(name)]
        if article and word[0] in "aeiou":
            article = f"{article[0]}n "
        return (article or "") + (_capital(word) if name[0].isupper() else word)

    return _capital(_FIELD.sub(filler, text))


def _plain(name: str) -> str:
    return name[0].lower() + name[1:]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def distinct(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Without those whose text was there before with the same label."""
    return tuple({(example.text, example.label): example for example in reversed(examples)}.values())[::-1]
