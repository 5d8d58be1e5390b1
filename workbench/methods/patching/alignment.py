"""Which token of one prompt belongs to which of another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Annotated, Any

from pydantic import BeforeValidator

from workbench.errors import InputError

Pairs = tuple[tuple[int, int], ...]
"""A token of the prompt and one of the source each, counted from 0."""


def typed_pairs(text: Any) -> Any:
    """Pairs as in "3:4, 5:6" as a tuple; anything else as it is. Raises `InputError`."""
    if not isinstance(text, str):
        return text
    found: list[tuple[int, int]] = []
    for piece in text.replace(",", " ").split():
        one, _, other = piece.partition(":")
        try:
            found.append((int(one), int(other)))
        except ValueError:
            raise InputError(
                f"{piece!r} is no pair of tokens; write the prompt's and the source's, counted from 0, as in 3:4,5:6"
            ) from None
    return tuple(found)


TypedPairs = Annotated[Pairs, BeforeValidator(typed_pairs)]


def aligned(prompt: Sequence[int], source: Sequence[int], by_hand: Iterable[tuple[int, int]] = ()) -> Pairs:
    """Pairs of tokens of two prompts, given as ids, by the prompt's token; none is in two pairs.

    Prompts of the same length are aligned token by token; others by their longest common runs of tokens, with what
    stands between two such runs aligned from its end, as the last token of a name is where a model has read all of it.
    Pairs ``by_hand`` take the place of those of their tokens. Raises `InputError` where they make no sense, or where
    the prompts have nothing in common.
    """
    by_hand = tuple(by_hand)
    _check(by_hand, len(prompt), len(source))
    if len(prompt) == len(source):
        found = dict(zip(range(len(prompt)), range(len(source)), strict=True))
    else:
        found = _by_common_runs(prompt, source)
    if not found and not by_hand:
        raise InputError(
            "the prompt and the source have no token in common, so nothing says which belong together; name pairs of "
            "them, as in 3:4,5:6"
        )
    fixed = {theirs for _, theirs in by_hand}
    kept = {mine: theirs for mine, theirs in found.items() if theirs not in fixed}
    return tuple(sorted((kept | dict(by_hand)).items()))


def _by_common_runs(prompt: Sequence[int], source: Sequence[int]) -> dict[int, int]:
    matcher = SequenceMatcher(None, prompt, source, autojunk=False)
    found: dict[int, int] = {}
    if not matcher.find_longest_match().size:
        return found
    for _, start, stop, start_there, stop_there in matcher.get_opcodes():
        both = min(stop - start, stop_there - start_there)
        found |= zip(range(stop - both, stop), range(stop_there - both, stop_there), strict=True)
    return found


def _check(by_hand: Pairs, tokens: int, tokens_there: int) -> None:
    for place, n_tokens, whose in ((0, tokens, "prompt"), (1, tokens_there, "source")):
        named = [pair[place] for pair in by_hand]
        for token in named:
            if not 0 <= token < n_tokens:
                raise InputError(f"there is no token {token} in the {whose}: it has {n_tokens}, counted from 0")
            if named.count(token) > 1:
                raise InputError(f"token {token} of the {whose} is in two pairs; name each once")
