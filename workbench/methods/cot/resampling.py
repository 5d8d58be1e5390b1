"""Resampling: which sentences of a reasoning turn what the model goes on to write, and so its answer.

Bogdan et al. 2025, "Thought Anchors" (arXiv 2506.19143): from each sentence on many continuations are sampled. Leaving
a sentence out asks what the text after it says without it; resampling asks what the model would have written instead.
Differences are total variations here, which need no smoothing for answers that occur on one side only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.methods.cot import truncation
from workbench.methods.cot.answers import AnswerReader, ids_of
from workbench.methods.cot.importance import difference, distance
from workbench.methods.cot.likeness import Likeness
from workbench.methods.cot.reasoning import reason
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult, Rollout, SentenceImportance
from workbench.methods.cot.result import CotResult, context
from workbench.methods.cot.sentences import sentences_of
from workbench.methods.cot.thinking import before_close, tags_of
from workbench.methods.cot.truncation import CotRequest
from workbench.models.forward.prefixes import ROWS_AT_ONCE, Prefixes
from workbench.protocol import Check, Progress, partly

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


def run(model: LoadedModel, request: ResampleRequest, progress: Progress) -> ResampleResult:
    """Reason, read the answers of shortened reasoning, then write it anew from each sentence on.

    Progress counts tokens while the model reasons, then rollouts. Raises `InputError` as a `CotRequest` does, and for
    greedy sampling, and for a sentence encoder that is not there.
    """
    request.sampling.check()
    if request.sampling.temperature == 0:
        raise InputError("greedy continuations are all the same; give a --temperature above 0, or none")
    asked = request.asked(request.sampling.tokens)
    likeness = Likeness(model, request.encoder)

    def of_base(partial: object) -> ResampleResult | None:
        return ResampleResult(base=partial) if isinstance(partial, CotResult) else None

    base = truncation.run(model, asked, partly(progress, of_base))
    return _Resampling(model, request, asked, base, likeness).run(progress)


class _Resampling:
    """One reasoning at work: the rollouts so far."""

    def __init__(
        self, model: LoadedModel, request: ResampleRequest, asked: CotRequest, base: CotResult, likeness: Likeness
    ) -> None:
        self._model = model
        self._request = request
        self._asked = asked
        self._base = base
        self._prefixes = Prefixes(model)
        known = truncation.known_answers(asked)
        self._reader = AnswerReader(model, self._prefixes, asked.choices, asked.read, known)
        self._tags = tags_of(request.thinking)
        self._rollouts: list[Rollout] = []
        self._order: list[int] = []
        self._likeness = likeness

    def run(self, progress: Progress) -> ResampleResult:
        n = len(self._base.sentences)
        jobs = [(after, number) for after in range(n + 1) for number in range(self._request.rollouts)]
        at_once = ROWS_AT_ONCE[self._model.hf.device.type]
        self._prefixes.keep(ids_of(self._model, self._text(n)))
        self._order = self._reader.answers([self._context(self._base.reasoning)])
        for first in range(0, len(jobs), at_once):

            def report(_tokens: int, _first: object, done: int = first) -> None:
                progress(done, len(jobs), stage="resampling")

            progress(first, len(jobs), self.found(len(jobs)), stage="resampling")
            some = jobs[first : first + at_once]
            seeds = [(self._request.sampling.seed, after, number) for after, number in some]
            reserve = truncation.reserve_of(self._model, self._asked)
            prompts = [self._text(after) for after, _ in some]
            written = reason(
                self._model, self._prefixes, prompts, self._request.sampling, report, reserve, self._tags, seeds
            )
            own = [before_close(one.text, self._tags) for one in written]
            whole = [self._kept(after) + text for (after, _), text in zip(some, own, strict=True)]
            answers = self._reader.answers([self._context(text) for text in whole])
            for (after, _), text, answer, one in zip(some, own, answers, written, strict=True):
                sentence = next(iter(sentences_of(text)), "").strip()
                likeness = None
                if after < n:
                    likeness = self._likeness.between(sentence, self._base.sentences[after].strip())
                self._rollouts.append(
                    Rollout(
                        after=after,
                        answer=answer,
                        sentence=sentence,
                        likeness=None if likeness is None else round(likeness, 4),
                        ended=one.ended,
                    )
                )
        progress(len(jobs), len(jobs), self.found(len(jobs)), stage="resampling")
        return self.found(len(jobs))

    def _kept(self, after: int) -> str:
        return "".join(self._base.sentences[:after]).rstrip()

    def _text(self, after: int) -> str:
        return self._base.prompt + self._base.opened + self._kept(after)

    def _context(self, reasoning: str) -> str:
        base = self._base
        return context(base.prompt + base.opened, reasoning, base.lead_in, base.closed)

    def found(self, asked: int) -> ResampleResult:
        """The result so far."""
        order = [*self._order, *(one.answer for one in self._rollouts)]
        places = {answer: place for place, answer in enumerate(dict.fromkeys(order))}
        rollouts = tuple(one.model_copy(update={"answer": places[one.answer]}) for one in self._rollouts)
        return ResampleResult(
            base=self._base,
            answers=tuple(self._reader.candidates[answer].name for answer in places),
            rollouts=rollouts,
            asked=asked,
            sentences=tuple(self._sentence(i, rollouts) for i in range(len(self._base.sentences))),
            layer=self._likeness.layer,
            threshold=self._likeness.threshold,
            checks=self._checks(),
        )

    def _sentence(self, i: int, rollouts: Sequence[Rollout]) -> SentenceImportance:
        base, seed = self._base, self._request.sampling.seed
        before, after = ([one for one in rollouts if one.after == kept] for kept in (i, i + 1))
        others = [one for one in before if one.likeness is not None and one.likeness < self._likeness.threshold]
        complete = len(after) == self._request.rollouts
        with_it = [one.answer for one in after] if complete else []
        resampling = difference([one.answer for one in before], with_it, seed)
        kept = base.of("kept")
        necessary = i in (base.necessary or ())
        return SentenceImportance(
            forced=distance(kept[i].probabilities, kept[i + 1].probabilities),
            resampling=resampling,
            counterfactual=difference([one.answer for one in others], with_it, seed),
            others=len(others),
            share=_share(after),
            share_before=_share(before),
            necessary=necessary,
            disagree=resampling is not None and resampling.beyond_chance != necessary,
        )

    def _checks(self) -> tuple[Check, ...]:
        request, told = self._request, self._likeness
        cut = sum(not one.ended for one in self._rollouts)
        drawn = f"T {request.sampling.temperature:g}, top-p {request.sampling.top_p:g}, seed {request.sampling.seed}"
        by = f"by {request.encoder}" if request.encoder else f"of states after layer {told.layer}"
        checks = [
            *self._base.checks,
            Check(name="rollouts", text=f"{request.rollouts} a sentence, {drawn}"),
            Check(
                name="something else",
                text=f"other numbers, or cosine below {told.threshold:.2f} {by}; "
                f"{told.right} of {told.tested} other pairs told right",
                level="info" if told.right >= 0.75 * told.tested else "warn",
            ),
        ]
        if cut:
            text = f"{cut} of {len(self._rollouts)} rollouts at the limit of tokens"
            checks.append(Check(name="cut off", text=text, level="warn" if cut > len(self._rollouts) / 4 else "info"))
        return tuple(checks)


def _share(rollouts: Sequence[Rollout]) -> float | None:
    """The share of rollouts that end with the answer of the reasoning."""
    return sum(one.answer == 0 for one in rollouts) / len(rollouts) if rollouts else None
