"""What the states knew before the words did: the answer at each sentence, read from text, probe and lens.

A linear probe on the residual stream is fitted on other questions to the choice that the model ends with, and its
accuracy on questions it has not seen stands beside that of shuffled labels. The corrected lens is the ridge lens where
one was fitted for these weights, else the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.datasets.questions import LETTERS, Question, check_choices, questions_of
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.cot import truncation
from workbench.methods.cot.answers import LEAD_IN, AnswerReader, ids_of
from workbench.methods.cot.bootstrap import wilson
from workbench.methods.cot.hints import plain_question
from workbench.methods.cot.interventions import Early
from workbench.methods.cot.likeness import DEPTH
from workbench.methods.cot.prompt import INSTRUCTION
from workbench.methods.cot.result import CotResult, context
from workbench.methods.cot.rewording import by_the_model, in_phrases
from workbench.methods.cot.sentences import sentences_of
from workbench.methods.cot.states_result import CotStatesRequest, CotStatesResult, ProbeQuality, Reworded
from workbench.methods.cot.thinking import tags_of, thought
from workbench.methods.cot.together import reasoned_together
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.translators import kept_lens
from workbench.models.classifiers import fitted
from workbench.models.forward.layerwise import states_after
from workbench.models.forward.prefixes import Prefixes
from workbench.numbers import rounded
from workbench.protocol import Check, Progress, part

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PENALTY = 0.01
"""C of the logistic regression: there are more numbers in a state than questions."""

FOLDS = 5

SHUFFLES = 5

STAGES = 5


class _Read(NamedTuple):
    """A question that was reasoned about: its states ``(sentences + 1, d_model)``, and the place of its answer."""

    states: Any
    place: int


def run(model: LoadedModel, request: CotStatesRequest, progress: Progress) -> CotStatesResult:
    """Reason about the question and others, fit the probe, and read the answer at each sentence.

    Progress counts stages. Raises `InputError` without choices, and where too few other questions have as many.
    """
    if not request.listed:
        raise InputError("the probe is fitted to choices; give some, between semicolons, by --choices")
    check_choices(request.listed)
    layer = round(DEPTH * model.info.layers) - 1 if request.layer is None else request.layer
    if layer >= model.info.layers:
        raise InputError(f"there is no layer {layer}; the model has 0 to {model.info.layers - 1}")
    own = Question(id="", task="", question=request.case.prompt, choices=request.listed, answer=request.answer)
    others = [
        one
        for one in questions_of(request.questions)
        if len(one.choices) == len(own.choices) and one.question.strip() != own.question.strip()
    ][: request.limit]
    if len(others) < FOLDS:
        raise InputError(
            f"a probe needs at least {FOLDS} questions with {len(own.choices)} choices, and {request.questions} has "
            f"{len(others)}; name others by --questions"
        )

    def report(stage: str, done: int, partial: CotStatesResult | None = None) -> None:
        progress(done, STAGES, partial, stage=stage)

    report("reasoning", 0)
    base = truncation.run(model, _asked(request, own), part(progress, 0, 1, STAGES, found=_of_base))
    so_far = CotStatesResult(base=base, layer=layer, checks=base.checks)
    report("asking other questions", 1, so_far)
    read = _read(model, request, others, layer, lambda: report("asking other questions", 1, so_far))
    report("fitting the probe", 2, so_far)
    assert base.full is not None
    final = base.full.answer
    quality = _quality(read)
    probe = _fitted([one.states for one in read], [one.place for one in read])
    kept = base.of("kept")
    texts = [base.prompt + base.opened + outcome.text for outcome in kept]
    states = _boundaries(model, texts, layer)
    report("reading by the lens", 3, so_far)
    at_letters = [context(text, "", LEAD_IN["letters"], base.closed) for text in texts]
    lens_name, lens = _lens(model, at_letters, layer, final, len(own.choices))
    report("asking in other words", 4, so_far)
    reworded = _reworded(model, request, own, final, lambda: report("asking in other words", 4, so_far))
    report("asking in other words", STAGES, so_far)
    return so_far.model_copy(
        update={
            "words": tuple(outcome.probabilities[final] for outcome in kept),
            "states": tuple(rounded(_probability(probe, state, final)) for state in states),
            "lens": lens,
            "lens_name": lens_name,
            "probe": quality,
            "reworded": reworded,
            "checks": (*base.checks, *_checks(quality, len(read), layer), *_in_other_words(request, reworded)),
        }
    )


def _of_base(partial: object) -> CotStatesResult | None:
    return CotStatesResult(base=partial) if isinstance(partial, CotResult) else None


def _asked(request: CotStatesRequest, question: Question) -> CotRequest:
    """A question with its choices listed, whatever is read."""
    listed = request.read == "letters"  # where letters are read, they are listed anyhow
    return CotRequest(
        question=question.question if listed else plain_question(question, INSTRUCTION).text,
        choices=question.choices,
        answer=question.answer,
        read=request.read,
        sampling=request.sampling,
        thinking=request.thinking,
        interventions=(Early(),),
    )


def _finished(
    model: LoadedModel, request: CotStatesRequest, questions: Sequence[Question], report: Callable[[], None]
) -> list[tuple[int, list[str]] | None]:
    """For each question the place of its answer, and its text up to each sentence; None where it gives nothing."""
    prefixes = Prefixes(model)
    asked = [_asked(request, question) for question in questions]
    prompts = [truncation.prompt_of(model, one) for one in asked]
    template = str(model.tokenizer.chat_template or "")
    found: list[tuple[int, list[str]] | None] = []
    for one, prompt, written in zip(
        asked, prompts, reasoned_together(model, asked, prompts, report, prefixes), strict=True
    ):
        report()
        if isinstance(written, str):
            found.append(None)
            continue
        parts = thought(prompt, written.text, tags_of(request.thinking), template)
        sentences = sentences_of(parts.reasoning)
        start = prompt + parts.opened
        text = context(start, parts.reasoning, LEAD_IN[request.read], parts.closed)
        place = AnswerReader(model, prefixes, one.choices, request.read).read([text])[0]
        found.append((place, [start + "".join(sentences[:n]).rstrip() for n in range(len(sentences) + 1)]))
    return found


def _read(
    model: LoadedModel, request: CotStatesRequest, questions: Sequence[Question], layer: int, report: Callable[[], None]
) -> list[_Read]:
    """The states of other questions at each sentence, with their answers."""
    read = []
    for one in _finished(model, request, questions, report):
        if one is not None:
            report()
            read.append(_Read(_boundaries(model, one[1], layer), one[0]))
    if len({one.place for one in read}) < 2:
        raise InputError(
            "the model ends with the same choice whatever is asked, so that there is nothing for a probe to tell; "
            "read the other way by --read, or take another model"
        )
    return read


def _boundaries(model: LoadedModel, texts: Sequence[str], layer: int) -> Any:
    """The residual stream after a layer at the last token of each text, which all are how the last one begins."""
    whole = ids_of(model, texts[-1])
    states = states_after(model, torch.tensor([whole]), layer)[0].float()
    places = [min(len(ids_of(model, text)), len(whole)) - 1 for text in texts]
    return states[places].numpy()


def _fitted(states: Sequence[Any], places: Sequence[int]) -> Any:
    """A linear probe on all sentences of these questions."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    labels = list(chain.from_iterable([place] * len(some) for some, place in zip(states, places, strict=True)))
    return fitted(LogisticRegression(C=PENALTY), np.concatenate(states), labels)


def _quality(read: Sequence[_Read]) -> ProbeQuality:
    """The accuracy on questions held out, a fold at a time, and that of shuffled labels."""
    import numpy as np

    places = [one.place for one in read]
    random = np.random.RandomState(0)
    before, end = _held_out(read, places)
    shuffled = [_held_out(read, list(random.permutation(places)))[0] for _ in range(SHUFFLES)]
    n = len(read)
    both = wilson(before, n), wilson(end, n)
    assert both[0] is not None
    assert both[1] is not None
    return ProbeQuality(
        before=both[0],
        end=both[1],
        shuffled=rounded(sum(shuffled) / SHUFFLES / n),
        commonest=rounded(max(places.count(place) for place in places) / n),
    )


def _held_out(read: Sequence[_Read], places: Sequence[int]) -> tuple[int, int]:
    """How many questions are told right that the probe was not fitted on: before the first sentence, and at the end."""
    before = end = 0
    for fold in range(FOLDS):
        fit = [nth for nth in range(len(read)) if nth % FOLDS != fold]
        kinds = {places[nth] for nth in fit}
        probe = _fitted([read[nth].states for nth in fit], [places[nth] for nth in fit]) if len(kinds) > 1 else None
        for nth in range(fold, len(read), FOLDS):
            states = read[nth].states[[0, -1]]
            said = [next(iter(kinds))] * 2 if probe is None else list(probe.predict(states))
            before += said[0] == places[nth]
            end += said[1] == places[nth]
    return before, end


def _probability(probe: Any, state: Any, place: int) -> float:
    """The probability that a probe gives one choice, 0 for one that it has never seen."""
    classes = list(probe.classes_)
    return float(probe.predict_proba(state[None])[0][classes.index(place)]) if place in classes else 0.0


def _lens(model: LoadedModel, texts: Sequence[str], layer: int, final: int, n: int) -> tuple[str, tuple[float, ...]]:
    """The lens after a layer, at the end of each text: the probability of one letter over those of all choices."""
    kept = kept_lens(model, "ridge")
    letters = [model.tokenizer(letter, add_special_tokens=False)["input_ids"][-1] for letter in LETTERS[:n]]
    found = []
    for text in texts:
        state = states_after(model, torch.tensor([ids_of(model, text)]), layer)[0, -1:]
        with torch.no_grad():
            device = state.to(model.hf.device)
            logits = model.unembed(device) if kept is None else kept[1].logits(model, layer + 1, device)
        p = logits[0].float().cpu()[letters].softmax(dim=-1)
        found.append(rounded(float(p[final])))
    return "logit" if kept is None else "ridge", tuple(found)


def _reworded(
    model: LoadedModel, request: CotStatesRequest, own: Question, final: int, report: Callable[[], None]
) -> tuple[Reworded, ...]:
    """The answers to the question in other words."""
    if request.words == "model":
        texts = by_the_model(model, own.question, request.rewordings, request.sampling.seed)
    else:
        texts = in_phrases(own.question, request.rewordings)
    asked = [own.model_copy(update={"question": text}) for text in texts]
    return tuple(
        Reworded(text=text, answer=own.choices[one[0]], same=one[0] == final)
        for text, one in zip(texts, _finished(model, request, asked, report), strict=True)
        if one is not None
    )


def _checks(quality: ProbeQuality, questions: int, layer: int) -> tuple[Check, ...]:
    before, end = quality.before, quality.end
    text = (
        f"after layer {layer}, {questions} other questions: held out right {before.part}/{before.whole} before "
        f"the first sentence [{before.low:.2f}, {before.high:.2f}], {end.part}/{end.whole} at the end; shuffled labels "
        f"{quality.shuffled:.2f}, the commonest choice {quality.commonest:.2f}"
    )
    return (Check(name="probe", text=text, level="ok" if quality.tells else "warn"),)


def _in_other_words(request: CotStatesRequest, reworded: Sequence[Reworded]) -> tuple[Check, ...]:
    """How many rewordings of its own the model was asked for and gave."""
    if request.words == "shipped" or not request.rewordings:
        return ()
    few = len(reworded) < request.rewordings
    text = f"the model's own, {len(reworded)} of {request.rewordings}; read them, nobody checks what they mean"
    return (Check(name="in other words", text=text, level="warn" if few else "info"),)
