"""Behaviour: a property of what a model replies to held-out prompts, before and after an edit, and what that costs.

Replies are greedy, through the chat template where the model has one. The effect is the mean difference of the property
over prompts, with a bootstrap interval; the cost is read from perplexity, of plain prose under the edited model and of
the replies under the unedited one, and from repetition.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Case
from workbench.datasets.contrasts import ContrastSet, HeldOut, Property
from workbench.editing.suite.held_out import held_out_perplexity
from workbench.editing.suite.repetition import repeated
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.cot.bootstrap import Estimate, estimate
from workbench.models.forward.decoding import Ids
from workbench.models.forward.prefixes import Prefixes, shared_beginning
from workbench.models.forward.stopping import stop_ids
from workbench.models.forward.unembedding import RowPosition, TextRow, read_predictions
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, silent
from workbench.wording import signed

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

PERPLEXITY_LIMIT = 0.1
"""Growth of the held-out perplexity, as a part of it, beyond which fluency is lost."""

REPLIES_LIMIT = 1.0
"""The same for the perplexity of the replies under the unedited model: replies of another kind surprise it more, and
twice as much is where they are seen to fall apart (docs/steering.md)."""

REPETITION_LIMIT = 0.05
"""Growth of the share of repeated 3-grams beyond which the model is said to repeat itself more."""

RESAMPLES = 2000

Perplexity = Annotated[float, Field(gt=0, allow_inf_nan=False)]

PROSE_WORK = 20
"""What the held-out perplexity counts for in the progress: about as long as so many tokens of the replies."""


@dataclass(frozen=True)
class ObservedReplies:
    """What a model says to the held-out prompts: ids of prompts and replies, the texts, the property of each.

    ``own`` is the perplexity of the replies under the model that gave them, None where no reply has a token, and
    ``perplexity`` that of plain prose. ``repeated`` is the mean share of repeated 3-grams.
    """

    prompts: tuple[Ids, ...]
    replies: tuple[Ids, ...]
    texts: tuple[str, ...]
    values: tuple[float, ...]
    own: float | None
    perplexity: float
    repeated: float


class Reply(Frozen):
    """What the model says to a held-out prompt before and after an edit, and the property of both."""

    prompt: str
    before: str
    after: str
    value_before: float
    value: float


class Behaviour(Frozen):
    """A property of replies before and after: the means, and the mean difference with its 95 % interval.

    ``perplexity`` is that of plain prose under the edited model, ``replies_perplexity`` that of its replies under the
    unedited one (None where no reply has a token), ``repeated`` the share of repeated 3-grams.
    """

    measure: str
    wanted: Literal["higher", "lower"]
    before: float
    after: float
    effect: Estimate
    perplexity_before: Perplexity
    perplexity: Perplexity
    replies_perplexity_before: Perplexity | None
    replies_perplexity: Perplexity | None
    repeated_before: float
    repeated: float
    replies: tuple[Reply, ...] = ()

    def works(self, sign: int = 1) -> bool:
        """Whether the whole interval of the effect lies on the wanted side, or with ``sign`` −1 on the other one."""
        towards = sign * (1 if self.wanted == "higher" else -1)
        return min(towards * self.effect.low, towards * self.effect.high) > 0

    @property
    def perplexity_growth(self) -> float:
        """Of plain prose, as a part of it."""
        return self.perplexity / self.perplexity_before - 1

    @property
    def replies_growth(self) -> float | None:
        """Growth of the replies' perplexity, as a part of it."""
        if self.replies_perplexity is None or self.replies_perplexity_before is None:
            return None
        return self.replies_perplexity / self.replies_perplexity_before - 1

    @property
    def fluent(self) -> bool:
        """Whether nothing grew beyond its limit: perplexities and repetition."""
        return (
            self.perplexity_growth <= PERPLEXITY_LIMIT
            and (self.replies_growth or 0.0) <= REPLIES_LIMIT
            and self.repeated - self.repeated_before <= REPETITION_LIMIT
        )


def uses_chat(model: LoadedModel) -> bool:
    """Whether prompts go through the model's chat template: where it has one."""
    return bool(model.tokenizer.chat_template)


def observe(model: LoadedModel, contrast: ContrastSet, tokens: int, progress: Progress = silent) -> ObservedReplies:
    """Let the model as it is now reply to the held-out prompts by at most ``tokens`` tokens each, and measure.

    Raises `InputError` for a prompt without room after it, `workbench.errors.NumericalError` for NaN logits.
    """
    total, chat = tokens + PROSE_WORK, uses_chat(model)
    prompts = tuple(_encoded(model, number, held, chat) for number, held in enumerate(contrast.held_out, 1))
    progress(0, total, stage="replies")
    stops = stop_ids(model)
    log_p: dict[tuple[int, int], float] = {}

    def greedy(rows: Sequence[int], so_far: Sequence[int], logits: Tensor) -> list[int]:
        best = logits.max(dim=-1)
        log_p.update(
            zip(zip(rows, so_far, strict=True), (best.values - logits.logsumexp(dim=-1)).tolist(), strict=True)
        )
        return [-1 if token in stops else token for token in best.indices.tolist()]

    prefixes = Prefixes(model)
    if len(prompts) > 1:  # a chat template begins them all alike
        prefixes.keep(prompts[0][: shared_beginning(min(prompts), max(prompts))])
    replies = prefixes.go_on(prompts, tokens, greedy, lambda n: progress(n, total, stage="replies"))
    progress(tokens, total, stage="fluency")
    texts = tuple(_decoded(model, reply) for reply in replies)
    return ObservedReplies(
        prompts=prompts,
        replies=tuple(replies),
        texts=texts,
        values=_values(model, contrast, texts, chat),
        own=_perplexity([log_p[row, at] for row, reply in enumerate(replies) for at in range(len(reply))]),
        perplexity=rounded(held_out_perplexity(model)),
        repeated=repeated(replies),
    )


def replies_perplexity(model: LoadedModel, observed: ObservedReplies) -> float | None:
    """exp of the mean −log p, in nats a token, of all replies under the model as it is now, each after its prompt."""
    pairs = [pair for pair in zip(observed.prompts, observed.replies, strict=True) if pair[1]]
    return _perplexity([log_p for some in log_probabilities(model, pairs) for log_p in some])


def _perplexity(log_p: Sequence[float]) -> float | None:
    """exp of the mean −log p; None of nothing."""
    return rounded(math.exp(-fmean(log_p))) if log_p else None


def compare(
    contrast: ContrastSet,
    before: ObservedReplies,
    after: ObservedReplies,
    replies: tuple[float | None, float | None],
    seed: int,
    shown: int | None = None,
) -> Behaviour:
    """What changed. ``replies`` are their perplexities under the unedited model; ``shown`` of the texts are kept."""
    differences = [new - old for old, new in zip(before.values, after.values, strict=True)]
    return Behaviour(
        measure=contrast.measure.name,
        wanted=contrast.measure.wanted,
        before=rounded(fmean(before.values)),
        after=rounded(fmean(after.values)),
        effect=estimate([(difference, 1.0) for difference in differences], RESAMPLES, seed),
        perplexity_before=before.perplexity,
        perplexity=after.perplexity,
        replies_perplexity_before=replies[0],
        replies_perplexity=replies[1],
        repeated_before=rounded(before.repeated),
        repeated=rounded(after.repeated),
        replies=tuple(
            Reply(
                prompt=held.prompt,
                before=before.texts[at],
                after=after.texts[at],
                value_before=rounded(before.values[at]),
                value=rounded(after.values[at]),
            )
            for at, held in enumerate(contrast.held_out[:shown])
        ),
    )


def behaviour_checks(found: Behaviour, sign: int = 1) -> tuple[Check, ...]:
    """The effect and what it costs, each with a warning where it is none, or too much."""
    growth, replies = found.perplexity_growth, found.replies_growth
    repetition = found.repeated - found.repeated_before
    checks = [
        Check(name="effect", text=effect_text(found.effect), level="ok" if found.works(sign) else "warn"),
        _cost("held-out perplexity", f"{signed(100 * growth, 1)} %", growth > PERPLEXITY_LIMIT),
        _cost("repetition", f"{signed(100 * repetition, 1)} points", repetition > REPETITION_LIMIT),
    ]
    if replies is not None:
        checks.append(_cost("perplexity of replies", f"{signed(100 * replies, 0)} %", replies > REPLIES_LIMIT))
    return tuple(checks)


def effect_text(effect: Estimate) -> str:
    """A difference with its interval."""
    value, low, high = (signed(each, 2) for each in (effect.value, effect.low, effect.high))
    return f"{value} ({low} … {high})"


def log_probabilities(model: LoadedModel, pairs: Sequence[tuple[Ids, Ids]]) -> list[list[float]]:
    """log p, in nats, of every token of each second text after the first, under the model as it is now."""
    rows = [
        TextRow(ids=(prompt + text)[:-1], positions=tuple(range(len(prompt) - 1, len(prompt) + len(text) - 1)))
        for prompt, text in pairs
    ]
    found: dict[RowPosition, float] = {}

    def read(places: Sequence[RowPosition], log_p: Tensor) -> None:
        following = [(pairs[row][0] + pairs[row][1])[position + 1] for row, position in places]
        at = torch.tensor(following, device=log_p.device)[:, None]
        found.update(zip(places, log_p.gather(1, at)[:, 0].tolist(), strict=True))

    for _ in read_predictions(model, rows, read):
        pass
    return [[found[row, position] for position in rows[row].positions] for row in range(len(rows))]


def measured(measure: Property, text: str) -> float:
    """The property of one reply, for those that are read from replies: see `workbench.datasets.contrasts.Kind`."""
    if measure.kind == "length":
        return float(len(text.split()))
    plain = " ".join(text.lower().replace("’", "'").split())
    if measure.kind == "phrases":
        return float(any(phrase.lower() in plain for phrase in measure.phrases))
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", plain)
    more, less = ({word.lower() for word in some} for some in (measure.more, measure.less))
    return 100 * sum((word in more) - (word in less) for word in words) / max(len(words), 1)


def _cost(name: str, text: str, too_much: bool) -> Check:
    return Check(name=name, text=text, level="warn" if too_much else "ok")


def _encoded(model: LoadedModel, number: int, held: HeldOut, chat: bool) -> Ids:
    try:
        return model.encode(Case(prompt=held.prompt, chat=chat), 1).ids
    except InputError as error:
        raise InputError(f"held-out prompt {number}: {error}") from None


def _decoded(model: LoadedModel, ids: Ids) -> str:
    return str(model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _values(model: LoadedModel, contrast: ContrastSet, texts: Sequence[str], chat: bool) -> tuple[float, ...]:
    if contrast.measure.kind != "completions":
        return tuple(measured(contrast.measure, text) for text in texts)
    pairs = []
    for held in contrast.held_out:
        for target in (held.positive, held.negative):
            case = Case(prompt=held.prompt, target=target, chat=chat)
            pairs.append((model.encode(case).ids, continuation_ids(model.tokenizer, case)))
    if longest := max(
        (len(prompt) + len(text) for prompt, text in pairs if len(prompt) + len(text) > model.info.context), default=0
    ):
        raise InputError(
            f"a held-out prompt with its completion has {longest} tokens and the model reads at most "
            f"{model.info.context}; shorten it"
        )
    sums = [math.fsum(some) for some in log_probabilities(model, pairs)]
    return tuple(positive - negative for positive, negative in zip(sums[::2], sums[1::2], strict=True))
