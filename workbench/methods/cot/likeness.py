"""Whether two sentences say the same, told by the model's own states, so that no other has to be fetched; or by one.

A sentence is the mean of its tokens' states after one layer, less the mean over all sentences below; two are as alike
as the cosine between them. That does not see numbers: "the answer is 12" and "the answer is 20" are at 0.96 in the
default model. Sentences with other numbers in them therefore say something else, whatever their states. From which
cosine on the others say the same is learned from half of the pairs below, and how often all of it is right is counted
on the other half. A sentence encoder that is there already does the same better. (arXiv 2506.19143 uses one, and 0.8.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from workbench.lazy import torch
from workbench.methods.cot.quantities import WORDS
from workbench.models.encoders import SentenceEncoder
from workbench.models.forward.layerwise import states_after
from workbench.models.forward.sampling import document_start

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

DEPTH = 2 / 3
"""The layer whose states are compared, as a part of all: late enough for meaning, before the next word takes over."""

UNLIKE = -1.0

SAME = (
    ("So the answer is 12.", "Therefore, the answer must be 12."),
    ("He has 3 + 4 = 7 apples.", "That means he has 7 apples, because 3 + 4 = 7."),
    ("Let's break it down step by step.", "Let us go through this one step at a time."),
    ("She gave half of them to her brother.", "Half of them she gave to her brother."),
    ("First, we need to find the total cost.", "To begin with, the total cost has to be found."),
    ("An umbrella keeps you dry in the rain.", "In the rain you stay dry under an umbrella."),
    ("There are 24 hours in a day.", "A day has 24 hours."),
    ("Next, subtract 5 from 20 to get 15.", "Then we take 5 away from 20, which gives 15."),
    ("Wait, that is not right.", "Hold on, that is wrong."),
    ("The train travels at 60 miles per hour.", "The speed of the train is 60 miles per hour."),
    ("Butter melts in the sun.", "When it lies in the sun, butter melts."),
    ("It would be wrong to lie to her.", "Lying to her would be wrong."),
)
"""Pairs that say the same in other words."""

OTHER = (
    ("So the answer is 12.", "So the answer is 20."),
    ("He has 3 + 4 = 7 apples.", "He has 3 + 7 = 10 apples."),
    ("Let's break it down step by step.", "Tom has 3 apples and buys 4 more."),
    ("She gave half of them to her brother.", "She bought a new bag at the market."),
    ("First, we need to find the total cost.", "The remaining cookies are shared by five children."),
    ("An umbrella keeps you dry in the rain.", "A candle gives light in the dark."),
    ("There are 24 hours in a day.", "The car needs a new engine."),
    ("Next, subtract 5 from 20 to get 15.", "Next, multiply 6 by 8 to get 48."),
    ("Wait, that is not right.", "The final answer is a bicycle."),
    ("The train travels at 60 miles per hour.", "The baker makes 40 loaves of bread."),
    ("Butter melts in the sun.", "A stone does not melt in the sun."),
    ("It would be wrong to lie to her.", "It would be kind to help her."),
)
"""Pairs that say something else, often in the same words."""


class Likeness:
    """Compares sentences. ``layer`` is where, ``threshold`` the cosine from which on they say the same.

    ``right`` of ``tested`` pairs that the threshold was not learned from are told right. An ``encoder`` takes the place
    of states, by its name or folder.
    """

    def __init__(self, model: LoadedModel, encoder: str = "") -> None:
        self.layer = max(0, round(DEPTH * model.info.layers) - 1)
        self._model = model
        self._encoder = SentenceEncoder(encoder) if encoder else None
        self._known: dict[str, torch.Tensor] = {}
        pairs = [*SAME, *OTHER]
        own = self._states(sorted({sentence for pair in pairs for sentence in pair}))
        self._center = torch.stack(list(own.values())).mean(dim=0) * (self._encoder is None)  # which has none
        cosines = [self.between(*pair) for pair in pairs]
        alike = [True] * len(SAME) + [False] * len(OTHER)
        self.threshold = best_threshold(cosines[::2], alike[::2])
        told = [(cosine >= self.threshold) == same for cosine, same in zip(cosines, alike, strict=True)][1::2]
        self.right, self.tested = sum(told), len(told)

    def between(self, one: str, other: str) -> float:
        """The cosine between two sentences, 1 for the same words, and −1 where there are other numbers in them."""
        if one.split() == other.split():
            return 1.0
        if numbers_in(one) != numbers_in(other):
            return UNLIKE
        states = self._states([one, other])
        a, b = (states[sentence] - self._center for sentence in (one, other))
        return float(torch.nn.functional.cosine_similarity(a, b, dim=0))

    def _states(self, sentences: Sequence[str]) -> dict[str, torch.Tensor]:
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in self._known]
        if new and self._encoder is not None:
            self._known |= dict(zip(new, self._encoder.vectors([one.strip() or "." for one in new]), strict=True))
        elif new:
            self._read(new)
        return {sentence: self._known[sentence] for sentence in sentences}

    def _read(self, sentences: Sequence[str]) -> None:
        """Run these sentences through the model, those of one length together."""
        start = document_start(self._model)
        by_length: dict[int, list[tuple[str, list[int]]]] = {}
        for sentence in sentences:
            ids = self._model.tokenizer(sentence.strip() or ".", add_special_tokens=False)["input_ids"]
            by_length.setdefault(len(ids), []).append((sentence, [*start, *ids]))
        for some in by_length.values():
            states = states_after(self._model, torch.tensor([ids for _, ids in some]), self.layer).float()
            # The first token's state is of another size than all others, whatever the token.
            first = len(start) or min(1, states.shape[1] - 1)
            for (sentence, _), state in zip(some, states, strict=True):
                self._known[sentence] = state[first:].mean(dim=0)


def numbers_in(sentence: str) -> frozenset[str]:
    """The numbers of a sentence, in digits, without that of an item in a list; "one" is too often none."""
    sentence = re.sub(r"^\s*\d+[.)]\s", "", sentence)
    digits = {number.replace(",", "") for number in re.findall(r"\d+(?:[.,]\d+)*", sentence)}
    words = (WORDS.get(word, 0) for word in re.findall(r"[a-z]+", sentence.casefold()))
    return frozenset(digits | {str(number) for number in words if number > 1})


def best_threshold(cosines: Sequence[float], same: Sequence[bool]) -> float:
    """The middle between two cosines at which most pairs are told right, the highest where several are as good."""
    ordered = sorted(set(cosines))
    between = [(a + b) / 2 for a, b in pairwise(ordered)] or ordered
    right = {at: sum((cosine >= at) == alike for cosine, alike in zip(cosines, same, strict=True)) for at in between}
    best = max(between, key=lambda at: (right[at], at))
    return round(float(best), 3)
