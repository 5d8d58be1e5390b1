"""Diagnosis: variants, proposals and changed prompts against plain runs, and the rules against what was measured."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.tiny import telling, tiny_loaded
from workbench.case import Case
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult
from workbench.methods.diagnose.counterfactual import CounterfactualRequest, find_change
from workbench.methods.diagnose.diagnosis import (
    FEWEST_GRADIENTS,
    GRADIENT_TOKENS,
    DiagnoseRequest,
    DiagnoseResult,
    diagnose,
)
from workbench.methods.diagnose.evidence import Evidence, odds
from workbench.methods.diagnose.figures import changed_figures, finding_figures, stability_figures
from workbench.methods.diagnose.passage import names
from workbench.methods.diagnose.proposals import NEXT_CHOICE, known_fact, propose_answers, propose_subject
from workbench.methods.diagnose.rules import RULES, find
from workbench.methods.diagnose.stability import FollowedToken, StabilityRequest, StabilityResult, VariedAnswer, vary
from workbench.methods.diagnose.variants import Variant, reordered, variants
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.models.tokens import encode
from workbench.protocol import Request, silent
from workbench.registry import method

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PASSAGE = "Peter lives in Berlin. Emma lives in Oslo. Peter lives in"
SPOKEN = Case(prompt="The capital of Australia is", subject="Australia", target=" city", foil=" Tom")


@pytest.fixture(scope="module", params=telling())
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return tiny_loaded(request.param)


def logits_after(model: LoadedModel, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float()
    return found


# --- The same question in other words ---


def test_a_passage_is_put_into_another_order_and_a_single_sentence_is_not() -> None:
    sentences = ("Peter lives in Berlin. ", "Emma lives in Oslo. ", "Peter lives in")
    assert reordered(sentences) == "Emma lives in Oslo. Peter lives in Berlin. Peter lives in"
    assert reordered(sentences[1:]) is None


def test_a_prompt_of_a_shipped_relation_is_asked_in_its_other_phrasings() -> None:
    case = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
    found = list(variants(case, (case.prompt,), chat=True))
    phrasings = [each.case.prompt for each in found if each.kind == "phrasing"]
    assert len(phrasings) >= 3
    assert all("Australia" in prompt and prompt != case.prompt for prompt in phrasings)
    assert [each.case.prepend for each in found if each.kind == "start"] == ["separator", "newline"]
    assert [each.case.chat for each in found if each.kind == "template"] == [True]
    assert found[0].case == case


def test_any_other_prompt_is_asked_after_other_sentences() -> None:
    found = list(variants(Case(prompt="The cat sat on"), ("The cat sat on",), chat=False))
    phrasings = [each.case.prompt for each in found if each.kind == "phrasing"]
    assert all(prompt.casefold().endswith("the cat sat on") for prompt in phrasings)
    assert len(set(phrasings)) == len(phrasings) == 4
    assert not [each for each in found if each.kind in ("template", "order")]


def test_every_variant_is_answered_as_the_model_answers_it_alone(model: LoadedModel) -> None:
    result = vary(model, StabilityRequest(case=SPOKEN), silent)
    assert {answer.variant.kind for answer in result.answers} >= {"asked", "start", "phrasing"}
    for answer in result.answers:
        encoded = encode(model.tokenizer, answer.variant.case)
        logits = logits_after(model, encoded.ids)
        p = logits.softmax(dim=-1)
        assert encoded.target is not None
        assert encoded.foil is not None
        assert answer.target is not None
        assert answer.foil is not None
        assert answer.probability == pytest.approx(float(p.max()), abs=1e-5)
        assert answer.target.probability == pytest.approx(float(p[encoded.target.id]), abs=1e-5)
        assert answer.target.rank == int((logits > logits[encoded.target.id]).sum()) + 1
        assert answer.ahead == bool(logits[encoded.target.id] > logits[encoded.foil.id])
        assert answer.right == (int(logits.argmax()) == encoded.target.id)
    assert stability_figures(result)


# --- What is proposed ---


def test_the_shipped_facts_know_subject_and_target_of_their_own_phrasings() -> None:
    assert known_fact(Case(prompt="The capital of Australia is")) == ("Australia", "Canberra")
    assert known_fact(Case(prompt="The capital of Narnia is")) is None


def test_target_and_foil_come_from_the_facts_and_the_first_choice() -> None:
    case, found = propose_answers(Case(prompt="The capital of Australia is"), " Sydney", " Canberra")
    assert (case.target, case.foil) == ("Canberra", "Sydney")
    assert {each.part: each.origin for each in found}["target"] == "the shipped facts"


def test_the_target_of_a_passage_is_the_other_name_in_the_same_place() -> None:
    case, _ = propose_answers(Case(prompt=PASSAGE), " Oslo", " the")
    assert (case.target, case.foil) == ("Berlin", "Oslo")
    begun = "Paris is the capital of Italy. Rome is the capital of France. By this text the capital of France is"
    case, _ = propose_answers(Case(prompt=begun), " Paris", " the")
    assert (case.target, case.foil) == ("Rome", "Paris")


def test_the_foil_is_the_second_choice_where_the_first_is_wanted() -> None:
    case, _ = propose_answers(Case(prompt="I say", target="yes"), " yes", " no")
    assert case.foil == "no"


def test_the_subject_is_the_name_that_moves_the_answer_most() -> None:
    case, _ = propose_subject(Case(prompt=PASSAGE, target="Berlin", foil="Oslo"), {"Peter": 0.2, "Emma": -0.9})
    assert case.subject == "Emma"
    assert propose_subject(case, {})[0] == case


def test_words_that_only_begin_a_sentence_are_no_names() -> None:
    assert names("The Eiffel Tower is high. To see it, Anna Maria walks.") == ("Eiffel Tower", "Anna Maria")


# --- The smallest change ---


def test_a_changed_prompt_has_the_difference_that_a_plain_run_of_it_has(model: LoadedModel) -> None:
    result = find_change(model, CounterfactualRequest(case=SPOKEN, most=2, candidates=3), silent)
    encoded = result.encoded
    assert encoded.target is not None
    assert encoded.foil is not None
    plain = logits_after(model, encoded.ids)
    assert result.difference == pytest.approx(float(plain[encoded.target.id] - plain[encoded.foil.id]), abs=1e-4)
    assert result.changes
    assert result.turned == ((result.changes[-1].difference > 0) != (result.difference > 0))
    first = result.changes[0]
    assert encoded.subject is not None
    assert first.place not in range(*encoded.subject)
    sign = 1 if result.difference <= 0 else -1
    deletions = []
    for place in set(range(encoded.prepended, len(encoded.ids))) - set(range(*encoded.subject)):
        logits = logits_after(model, encoded.ids[:place] + encoded.ids[place + 1 :])
        deletions.append(sign * float(logits[encoded.target.id] - logits[encoded.foil.id]))
    assert sign * first.difference >= max(deletions) - 1e-4
    assert changed_figures(result)


def test_what_turns_the_answer_needs_two_answers() -> None:
    with pytest.raises(InputError, match="give a target and a foil"):
        find_change(tiny_loaded("llama"), CounterfactualRequest(case=Case(prompt="the cat")), silent)


# --- The rules ---


def answer(kind: Any, target: float, foil: float, rank: int = 0, prompt: str = "asked") -> VariedAnswer:
    """The first two choices are target and foil, unless a ``rank`` says otherwise."""
    rank = rank or (1 if target > foil else 2)
    return VariedAnswer(
        variant=Variant(kind=kind, label=kind, case=Case(prompt=prompt)),
        top=" Sydney",
        probability=max(target, foil),
        target=FollowedToken(probability=target, rank=rank),
        foil=FollowedToken(probability=foil, rank=1 if foil > target else 2),
    )


def evidence(*answers: VariedAnswer, prompt: str = "The capital of Australia is", foil: str = "Sydney") -> Evidence:
    model = tiny_loaded("llama")
    result = StabilityResult(encoded=model.encode(Case(prompt=prompt)), answers=answers)
    return Evidence(Case(prompt=prompt, target="Canberra", foil=foil), {"stability": (7, result)})


ASKED = answer("asked", 0.2, 0.5)
NAMED = "Canberra. Sydney. It is"


@pytest.mark.parametrize(
    ("found", "failure"),
    [
        (evidence(answer("asked", 0.6, 0.1, rank=1)), "right"),
        (evidence(ASKED, answer("start", 0.5, 0.2)), "prompt"),
        (evidence(ASKED, answer("start", 0.1, 0.2), answer("phrasing", 0.4, 0.1)), "prompt"),
        (evidence(ASKED, *[answer("phrasing", 0.4, 0.1), *[answer("phrasing", 0.1, 0.4)] * 2]), "recall"),
        (evidence(answer("asked", 0.0, 0.5, rank=5000), answer("phrasing", 0.0, 0.5, rank=900)), "knowledge"),
        (evidence(answer("asked", 0.0, 0.5, rank=400), answer("template", 0.02, 0.01, rank=300)), "knowledge"),
        (evidence(answer("asked", 0.0, 0.5, rank=50)), "uncertain"),
        (evidence(ASKED, answer("order", 0.5, 0.2), prompt=NAMED), "context"),
        (replace(evidence(ASKED, answer("start", 0.5, 0.2)), guessed=True), "unnamed"),
        (replace(evidence(ASKED, answer("order", 0.5, 0.2), prompt=NAMED), guessed=True), "context"),
        (replace(evidence(ASKED, prompt=NAMED), guessed=True), "unnamed"),
        (evidence(ASKED, prompt=NAMED), "context"),
    ],
)
def test_each_kind_of_failure_is_found_where_it_was_measured(found: Evidence, failure: str) -> None:
    rule = find(found)
    assert rule.failure == failure
    sentences = list(rule.says(found))
    assert sentences
    assert all(sentence.step == 7 for sentence in sentences)


def test_the_last_rule_always_holds_and_every_kind_has_one() -> None:
    assert RULES[-1].holds(Evidence(Case(prompt="x"), {}))
    assert len({rule.failure for rule in RULES}) == len(RULES)


# --- The whole ---


def test_of_a_target_that_nobody_has_named_it_is_not_said_that_the_answer_is_wrong() -> None:
    class Says(AskedHere):
        """A model that says Tom, and next city."""

        def __call__(self, request: Any, seen: Any = None) -> Any:
            answered = super().__call__(request)
            if request.kind == "continue":
                first = answered.result.generated[0].model_copy(update={"text": " Tom", "runner_up": " city"})
                answered.result = answered.result.model_copy(update={"generated": (first,)})
            return answered

    model = tiny_loaded("llama")
    result = diagnose(model, DiagnoseRequest(case=Case(prompt="the cat and the")), silent, Says(model))
    assert [each.origin for each in result.proposals if each.part == "target"] == [NEXT_CHOICE]
    assert (result.failure, result.fixes) == ("unnamed", ())
    assert result.sentences[0].text.startswith("the model says “Tom”; compared with “city”: ")


class AskedHere:
    """Runs what is asked at once, as the engine does, and numbers it."""

    def __init__(self, model: LoadedModel, refused: str = "") -> None:
        self.model, self.refused, self.asked = model, refused, list[Request]()
        self._numbers = itertools.count(1)

    def __call__(self, request: Request, seen: Any = None) -> Any:
        self.asked.append(request)
        number = next(self._numbers)

        class Answer:
            id, result, why = number, None, ""

        def progress(done: int, total: int, partial: Any = None, *, stage: str = "") -> None:
            if seen is not None and partial is not None:
                seen(partial)

        if request.kind == self.refused:
            Answer.why = "not to be had"
        else:
            try:
                Answer.result = method(request.kind).run(self.model, request, progress)
            except WorkbenchError as error:
                Answer.why = str(error)
        return Answer()


def test_a_bare_prompt_becomes_a_finding_with_steps_and_proposals() -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model)
    result = diagnose(model, DiagnoseRequest(case=Case(prompt=PASSAGE, target=" city", foil=" Tom")), silent, ask)
    assert [each.method for each in result.steps] == [
        *("continue", "stability", "attribution", "occlusion", "counterfactual", "lens", "heads", "trace")
    ]
    assert [each.step for each in result.steps] == [1, 2, 0, *range(3, 8)]  # too long for integrated gradients
    assert {each.part for each in result.proposals} == {"subject"}
    assert result.failure is not None
    assert 1 <= len(result.sentences) <= 5
    assert result.case.subject in PASSAGE
    trace = ask.asked[-1]
    assert getattr(trace, "case", None) == result.case
    assert finding_figures(result)


@pytest.mark.parametrize(("prompt", "computed"), [("Emma lives in", True), (PASSAGE, False)], ids=["short", "long"])
def test_integrated_gradients_are_computed_where_they_are_affordable(prompt: str, computed: bool) -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model)
    case = Case(prompt=prompt, target=" city", foil=" Tom")
    result = diagnose(model, DiagnoseRequest(case=case), silent, ask)
    (step,) = (each for each in result.steps if "gradients" in each.about)
    asked = [each for each in ask.asked if isinstance(each, AttributionRequest) and each.method != "occlusion"]
    affordable = GRADIENT_TOKENS // len(model.encode(case).ids)
    assert [each.limit for each in asked] == [min(affordable, AttributionRequest(case=case).limit)] * computed
    assert computed == (affordable >= FEWEST_GRADIENTS)
    assert ("takes too long" in step.why) == (not computed)
    assert any("takes too long" in check.text for check in result.checks) == (not computed)
    assert any(check.name == "agreement" for check in result.checks) == computed
    assert result.failure is not None


@pytest.mark.parametrize(
    ("prompt", "copied"), [("Tom lives in the city. Emma lives in", True), ("Emma lives in", False)]
)
def test_an_answer_that_is_copied_from_the_prompt_is_not_traced(prompt: str, copied: bool) -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model)
    case = Case(prompt=prompt, subject="Emma", target=" city", foil=" Tom")
    result = diagnose(model, DiagnoseRequest(case=case), silent, ask)
    (step,) = (each for each in result.steps if each.method == "trace")
    assert (result.failure == "context") == copied
    assert ("copied" in step.why) == copied
    assert [(check.name, check.level) for check in result.checks if "trace" in check.text] == [
        ("not asked", "info")
    ] * copied
    assert any(isinstance(each, TraceRequest) for each in ask.asked) == (not copied)


def test_what_did_not_converge_is_not_called_agreement() -> None:
    model = tiny_loaded("llama")
    asked = AttributionRequest(case=Case(prompt=PASSAGE, target=" city", foil=" Tom"), limit=48, tolerance=1e-9)
    found = method("attribution").run(model, asked, silent)
    assert isinstance(found, AttributionResult)
    incomplete = found.model_copy(update={"completeness_share": 0.9})
    assert not Evidence(asked.case, {"attribution": (1, incomplete)}).complete
    assert Evidence(asked.case, {"attribution": (1, found.model_copy(update={"completeness_share": 0.1}))}).complete


def test_what_cannot_be_had_is_named_with_its_reason_and_the_rest_goes_on() -> None:
    model = tiny_loaded("llama")
    result = diagnose(model, DiagnoseRequest(case=SPOKEN), silent, AskedHere(model, refused="heads"))
    assert [each.why for each in result.steps if each.method == "heads"] == ["not to be had"]
    assert result.failure is not None
    assert any(check.name == "not measured" and "heads" in check.text for check in result.checks)


def test_a_diagnosis_that_is_stopped_says_so_far() -> None:
    model, reported = tiny_loaded("llama"), list[DiagnoseResult]()

    def stopping(done: int, total: int, partial: Any = None, *, stage: str = "") -> None:
        reported.append(partial)
        if stage == "the layers":
            raise Cancelled

    with pytest.raises(Cancelled):
        diagnose(model, DiagnoseRequest(case=SPOKEN), stopping, AskedHere(model))
    assert [each.method for each in reported[-1].steps][:2] == ["continue", "stability"]
    assert reported[-1].failure is None


def test_a_prompt_that_cannot_be_read_is_refused_before_anything_is_asked() -> None:
    model = tiny_loaded("llama")
    ask = AskedHere(model)
    with pytest.raises(InputError, match="prompt is empty"):
        diagnose(model, DiagnoseRequest(case=Case(prompt=" ")), silent, ask)
    assert not ask.asked


def test_a_tiny_probability_is_not_written_as_none() -> None:
    assert odds(answer("asked", 9.2e-6, 0.3206)) == "9e-06 against 0.321"
