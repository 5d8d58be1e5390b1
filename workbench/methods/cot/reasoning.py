"""The model reasons: token by token after a prompt, many prompts together, greedily or by seeded sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.cot.answers import ids_of
from workbench.methods.cot.prompt import PLAIN_END
from workbench.models.forward.decoding import Ids, one_by_one
from workbench.models.forward.prefixes import Prefixes
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import token_text
from workbench.protocol import Frozen

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


SORTED = 512
"""Tokens that are sorted at first, where so many probably have all of ``top_p``."""


class Sampling(Frozen):
    """How tokens are chosen: the most probable one at ``temperature`` 0, else drawn among the most probable ones.

    Those drawn from have ``top_p`` of the probability together. ``seed`` is that of a
    ``numpy.random.RandomState``, from which each continuation draws the same numbers. ``tokens`` is the limit.
    """

    temperature: Annotated[float, Field(description="0 is greedy.")] = 0.0
    top_p: Annotated[float, Field(description="Sample among the tokens that have this much probability.")] = 1.0
    seed: Annotated[int, Field(description="Of the sampling.")] = 1
    tokens: Annotated[int, Field(description="Most tokens of reasoning.")] = 256

    def check(self) -> None:
        """Raise `InputError` for numbers that make no sense."""
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"the temperature must be 0 (greedy) or more, not {self.temperature:g}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top-p is a share of the probability, above 0 and at most 1, not {self.top_p:g}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"the seed must be between 0 and {2**32 - 1}, not {self.seed}")
        if self.tokens < 1:
            raise InputError(f"the reasoning needs at least 1 token, not {self.tokens}")


class ReasonedToken(Frozen):
    """One token of the reasoning: its display text, and the probability that the model gave it."""

    text: str
    probability: float


class Reasoned(Frozen):
    """What the model wrote. ``ended``: by itself, and not at the limit of tokens or of the context."""

    text: str
    tokens: tuple[ReasonedToken, ...]
    ended: bool

    def tokens_of(self, reasoning: str) -> tuple[ReasonedToken, ...]:
        """The tokens of a part of the text, without those of the tags around it."""
        if reasoning == self.text or not self.tokens:
            return self.tokens
        start = self.text.find(reasoning)
        after = len(self.text) - start - len(reasoning)
        # Counted from both ends, where there are only tags: in between a token may be shown longer than it is.
        ends = accumulate(len(token.text) for token in self.tokens)
        dropped = sum(end <= start for end in ends)
        backwards = accumulate(len(token.text) for token in reversed(self.tokens))
        kept = len(self.tokens) - sum(end <= after for end in backwards)
        return self.tokens[dropped:kept]


def reason(
    model: LoadedModel,
    prefixes: Prefixes,
    prompts: Sequence[str],
    sampling: Sampling,
    report: Callable[[int, Reasoned], None] = lambda _done, _first: None,
    reserve: int = 0,
    tags: Sequence[tuple[str, str]] = (),
    seeds: Sequence[Sequence[int]] | None = None,
) -> list[Reasoned]:
    """Continue each prompt (of `prompt_text`, maybe with reasoning after it) to the end of the reasoning.

    ``report`` is given the number of tokens so far, and what the first prompt was continued by. What was run stays
    in ``prefixes``, and ``reserve`` tokens of the context stay free. A text ends with the second of a pair of ``tags``.
    ``seeds``, one for each prompt, take the place of the sampling's own, by which all draw the same numbers.
    Raises `InputError` for a prompt that leaves no room.
    """
    rows = [ids_with_room(model, prompt, reserve) for prompt in prompts]
    choose = _Chooser(model, sampling, seeds or [(sampling.seed,)] * len(rows), tags)
    prefixes.go_on(
        rows, sampling.tokens, one_by_one(choose), lambda done: report(done, choose.reasoned(0)), True, reserve
    )
    return [choose.reasoned(row) for row in range(len(rows))]


def ids_with_room(model: LoadedModel, prompt: str, reserve: int) -> Ids:
    """The tokens of a prompt. Raises `InputError` where the context holds nothing but it and the answer."""
    ids = ids_of(model, prompt)
    if len(ids) + reserve >= model.info.context:
        raise InputError(
            f"the question fills the context of {model.info.context} tokens, so that there is no room to reason; "
            "shorten the question"
        )
    return ids


def _most_probable(p: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities ``(vocabulary,)`` from the highest on, with their tokens, at least until their sum is ``share``.

    Equal ones stand by token. To sort a whole vocabulary takes a fifth of the time of a small model on a CPU.
    """
    if share < 1 and len(p) > SORTED:
        (some,) = (p > p.topk(SORTED).values[-1]).nonzero(as_tuple=True)
        values, order = p[some].sort(descending=True, stable=True)
        if len(values) and values.cumsum(dim=-1)[-1] >= share:
            return values, some[order]
    return p.sort(descending=True, stable=True)


class _Chooser:
    """Chooses tokens, and remembers them with their probabilities."""

    def __init__(
        self, model: LoadedModel, sampling: Sampling, seeds: Sequence[Sequence[int]], tags: Sequence[tuple[str, str]]
    ) -> None:
        import numpy as np

        rows = len(seeds)

        self._model = model
        self._sampling = sampling
        self._stops = stop_ids(model)
        self._plain = not model.tokenizer.chat_template
        one = [seed[0] if len(seed) == 1 else list(seed) for seed in seeds]
        self._chances = [np.random.RandomState(seed).rand(sampling.tokens) for seed in one]
        self._chosen: list[list[tuple[int, float]]] = [[] for _ in range(rows)]
        self._ended = [False] * rows
        self._closes = [closes for _, closes in tags]
        written = "".join(opens + closes for opens, closes in tags)
        added = getattr(model.tokenizer, "added_tokens_decoder", {})
        self._marks = {token for token, one in added.items() if one.special and one.content in written}

    def __call__(self, row: int, at: int, logits: torch.Tensor) -> int:
        chosen = self._chosen[row]
        del chosen[at:]
        p = logits.softmax(dim=-1)
        token = (
            int(p.argmax()) if self._sampling.temperature == 0 else self._drawn(logits, float(self._chances[row][at]))
        )
        self._ended[row] = token in self._stops or (self._plain and self._cut_question(row))
        if self._ended[row]:
            return -1
        chosen.append((token, float(f"{float(p[token]):.7g}")))
        if self._closes:
            text = self._text(row)
            self._ended[row] = any(closes in text for closes in self._closes)
        return -1 if self._ended[row] else token

    def reasoned(self, row: int) -> Reasoned:
        """What a row was continued by so far."""
        text = self._text(row)
        texts = (token_text(self._model.tokenizer, token) for token, _ in self._chosen[row])
        tokens = tuple(
            ReasonedToken(text=text, probability=p) for text, (_, p) in zip(texts, self._chosen[row], strict=True)
        )
        return Reasoned(text=text, tokens=tokens, ended=self._ended[row])

    def _drawn(self, logits: torch.Tensor, place: float) -> int:
        """A token drawn with the random number of its place in the text, among the top ones by sums in double."""
        p, order = _most_probable((logits.double() / self._sampling.temperature).softmax(dim=-1), self._sampling.top_p)
        sums = p.cumsum(dim=-1)
        kept = int((sums < self._sampling.top_p).sum()) + 1
        chance = place * float(sums[min(kept, len(sums)) - 1])
        return int(order[min(int((sums < chance).sum()), kept - 1, len(order) - 1)])

    def _cut_question(self, row: int) -> bool:
        """Whether the model has begun a question of its own, which is then taken away."""
        end = self._text(row).find(PLAIN_END)
        while end >= 0 and len(self._text(row)) > end:
            self._chosen[row].pop()
        return end >= 0

    def _text(self, row: int) -> str:
        """What was written, without special tokens but those that tags are made of."""
        parts: list[str] = []
        for marks, some in groupby((token for token, _ in self._chosen[row]), key=self._marks.__contains__):
            parts.append(
                self._model.tokenizer.decode(
                    list(some), skip_special_tokens=not marks, clean_up_tokenization_spaces=False
                )
            )
        return "".join(parts)
