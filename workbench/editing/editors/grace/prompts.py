"""The prompts of a fact, and the token of each whose state is the fact's key: the last one, or the subject's last.

A key is never taken in the model's first position: that is an attention sink, where the states of all words are
nearly the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.case import Case
from workbench.errors import InputError
from workbench.models.tokens import continuation_ids

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

KeyToken = Literal["subject", "last"]


@dataclass(frozen=True)
class Prompt:
    """A prompt and all of its answer but the last token, ``ids``; the key is at token ``place``.

    ``answers`` are the tokens wanted, the first of them after token ``last``, which is the prompt's.
    """

    ids: tuple[int, ...]
    place: int
    last: int
    answers: tuple[int, ...]


def prompts_of(model: LoadedModel, case: Case, key: KeyToken) -> tuple[Prompt, ...]:
    """The prompt as the case has it, and after BOS or separator where that is another one.

    Raises `InputError` where no key can be taken, as the model's first position is all there is.
    """
    cases = [case]
    if not case.chat and case.prepend != "separator":
        cases.append(case.model_copy(update={"prepend": "separator"}))
    found = dict.fromkeys(prompt for each in cases if (prompt := _prompt(model, each, key)).place > 0)
    if not found:
        word = "subject" if key == "subject" else "prompt"
        raise InputError(f"the {word} stands in the model's first position, where all words are alike; prepend a text")
    return tuple(found)


def _prompt(model: LoadedModel, case: Case, key: KeyToken) -> Prompt:
    answers = continuation_ids(model.tokenizer, case)
    encoded = model.encode(case, len(answers) - 1)
    last = len(encoded.ids) - 1
    if key == "last":
        place = last
    else:
        assert encoded.subject is not None
        place = encoded.subject[1] - 1
    return Prompt((*encoded.ids, *answers[:-1]), place, last, answers)
