"""A question in other words: in shipped phrases around it, or as the model itself words it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.methods.cot.prompt import prompt_text
from workbench.methods.cot.reasoning import Sampling, reason
from workbench.models.forward.prefixes import Prefixes

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PHRASES = (
    "Please answer this question: {}",
    "I have a question for you. {}",
    "{} Think about it carefully.",
    "Somebody asked me this: {}",
    "Here is a question.\n\n{}",
    "Can you help me with this? {}",
)

ASKED = "Rewrite this question in other words, with the same meaning. Write only the new question.\n\n{}"

TEMPERATURE, TOP_P = 0.8, 0.95

TRIES = 3
"""So many rewordings are sampled for each that is wanted: small models repeat a question, or answer it."""


def in_phrases(question: str, n: int) -> tuple[str, ...]:
    """The question within the first ``n`` phrases."""
    return tuple(form.format(question.strip()) for form in PHRASES[:n])


def by_the_model(model: LoadedModel, question: str, n: int, seed: int) -> tuple[str, ...]:
    """Up to ``n`` rewordings that the model samples, each with random numbers of its own; see `other_words`."""
    length = len(model.tokenizer(question, add_special_tokens=False)["input_ids"])
    sampling = Sampling(temperature=TEMPERATURE, top_p=TOP_P, seed=seed, tokens=2 * length + 16)
    prompts = [prompt_text(model, ASKED.format(question.strip()))] * (n * TRIES)
    seeds = [(seed, number) for number in range(len(prompts))]
    written = reason(model, Prefixes(model), prompts, sampling, seeds=seeds) if prompts else []
    return other_words(question, [one.text for one in written])[:n]


def other_words(question: str, written: Sequence[str]) -> tuple[str, ...]:
    """Of what was written, the first lines that are another question: up to the question mark, where the question has
    one, and neither the same words nor given twice. Whether the meaning is the same nobody checks.
    """
    own = _plain(question)
    found: dict[str, str] = {}
    for text in written:
        line = next((line.strip(' "“”*') for line in text.splitlines() if line.strip(' "“”*')), "")
        if question.strip().endswith("?"):
            line = line[: line.find("?") + 1]
        if line and _plain(line) != own:
            found.setdefault(_plain(line), line)
    return tuple(found.values())


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
