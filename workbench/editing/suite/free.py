"""Free generation: does the model come to say the target when it goes on by itself?

"Likelier than" is read with the answer put into the model's mouth; what it says on its own, token after token up to
its own stop, may be something else: of 96.8 % by the one measure Yang et al. 2025 (arXiv 2502.11177) found 38.5 % by
the other. So every rewrite and every paraphrase is continued greedily, and the target is looked for in that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workbench.case import Case, Prepend
from workbench.datasets.suites import Role, Suite
from workbench.editing.suite.answers import FactKey
from workbench.models.forward.decoding import generate
from workbench.models.forward.stopping import stop_ids
from workbench.protocol import Frozen, Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FREE_ROLES: tuple[Role, ...] = ("rewrite", "paraphrase")
"""The rewrite is the prompt that the edit saw; the paraphrases say whether it holds in other words."""

TOKENS = 12
"""A continuation is so long at most; a name that answers comes within these or is not the answer."""


class Continuation(Frozen):
    """How a model goes on by itself, and whether the target is in that as a word."""

    text: str
    says_target: bool


def continue_freely(
    model: LoadedModel, suite: Suite, prepends: Iterable[Prepend], progress: Progress = silent
) -> dict[FactKey, Continuation]:
    """Continue every rewrite and paraphrase after each thing prepended, greedily, with the model as it is now.

    Progress counts texts. Raises `InputError` for a prompt that cannot be encoded, `NumericalError` for NaN logits.
    """
    places = [place for place, fact in enumerate(suite.facts) if fact.role in FREE_ROLES]
    texts = {
        (place, prepend): model.encode(Case(prompt=suite.facts[place].prompt, prepend=prepend)).ids
        for prepend in prepends
        for place in places
    }
    stops, keys = stop_ids(model), list(texts)
    limit = min(TOKENS, model.info.context - max(map(len, texts.values()), default=0))

    def choose(_: Sequence[int], __: Sequence[int], logits: Tensor) -> list[int]:
        return [-1 if token in stops else token for token in logits.argmax(dim=-1).tolist()]

    continued: list[tuple[int, ...]] = [()] * len(keys)
    if limit > 0:
        continued = generate(model, list(texts.values()), limit, choose, progress, "free generation")
    found = {}
    for key, new in zip(keys, continued, strict=True):
        text = model.tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        found[key] = Continuation(text=text, says_target=says(text, suite.facts[key[0]].target))
    return found


def says(text: str, target: str) -> bool:
    """Whether the target stands in a text as whole words, capitals or not: "Rome" is not in "Romeo"."""
    wanted = " ".join(target.split()).casefold()
    before, after = (r"(?<!\w)" if _cased(wanted[:1]) else "", r"(?!\w)" if _cased(wanted[-1:]) else "")
    return re.search(before + re.escape(wanted) + after, " ".join(text.split()).casefold()) is not None


def _cased(letter: str) -> bool:
    """Whether words of this script stand between blanks: a Chinese one ends where the next begins."""
    return letter.isdigit() or letter.upper() != letter.lower()
