"""Truncated reasoning on tiny models: what is read is what each text gives alone; bad input gets one sentence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch

from tests.methods.cot_models import TEMPLATE, greedy, ids, log_probabilities, log_probability, roomy
from tests.tiny import telling
from workbench.case import Case
from workbench.errors import Cancelled, InputError
from workbench.methods.cot import answers as cot_answers
from workbench.methods.cot import truncation as cot
from workbench.methods.cot.interventions import Cue, Early, Filler, LeaveOneOut, Mistake, Paraphrase
from workbench.methods.cot.readings import answer_in
from workbench.methods.cot.reasoning import SORTED, Sampling, _most_probable
from workbench.methods.cot.result import CotResult, Outcome, area_over_curve, settles_at
from workbench.methods.cot.truncation import CotRequest
from workbench.models.forward.prefixes import Prefixes
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import encode
from workbench.protocol import Result, silent
from workbench.session import Step

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

QUESTION = "What is the capital?"
REASONING = "Rome is a city. Sydney is 1 of 2. The capital is in Australia.\n\nSo it is Sydney."
CHOICES = ("Sydney", "Rome is", "Paris")
EVERYTHING = (
    Early(),
    LeaveOneOut(),
    Filler(),
    Mistake(sentence=1),
    Paraphrase(sentence=0, text="A city it is."),
    Cue(answer="Paris"),
)


def ask(model: LoadedModel, **fields: object) -> CotResult:
    fields = {"question": QUESTION, "reasoning": REASONING, "sampling": Sampling(tokens=8), **fields}
    return cot.run(model, CotRequest.model_validate(fields), silent)


def choice_probabilities(model: LoadedModel, result: CotResult, outcome: Outcome) -> list[float]:
    """The slow obvious way: one run from the start for each choice."""
    logs = [log_probability(model, result.context(outcome), candidate.text) for candidate in result.candidates]
    return torch.tensor(logs).softmax(dim=-1).tolist()


@pytest.mark.parametrize("architecture", telling())
def test_every_outcome_reads_as_if_its_text_were_run_by_itself(architecture: str) -> None:
    model = roomy(architecture)
    result = ask(model, choices=CHOICES, interventions=EVERYTHING)
    assert len(result.sentences) == 4
    assert [outcome.what for outcome in result.outcomes] == (
        ["kept"] * 5 + ["dropped"] * 4 + ["filler"] * 4 + ["mistake", "paraphrase", "cue"]
    )
    for outcome in result.outcomes:
        expected = choice_probabilities(model, result, outcome)
        assert outcome.probabilities == pytest.approx(expected, abs=2e-4), outcome
        best = sorted(expected)
        if best[-1] - best[-2] > 1e-3:
            assert outcome.answer == expected.index(best[-1])
    assert next(check for check in result.checks if check.name == "path").level == "ok"


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "mistral", "bloom", "gemma2"])
def test_free_answers_are_the_greedy_ones_of_each_text_by_itself(architecture: str) -> None:
    model = roomy(architecture)
    result = ask(model, interventions=(Early(), LeaveOneOut()))
    stops = stop_ids(model)
    for outcome in result.outcomes:
        tokens = greedy(model, ids(model, result.context(outcome)), cot_answers.ANSWER_TOKENS, stops)
        kept = next((n for n, token in enumerate(tokens) if n and "\n" in model.tokenizer.decode([token])), len(tokens))
        written = model.tokenizer.decode(tokens[:kept], skip_special_tokens=True)
        text, reading = answer_in(written)
        candidate = result.candidates[outcome.answer]
        assert candidate.reading == reading.said
        assert reading.kind == "nothing" or candidate.text == text


def test_a_free_answer_that_begins_another_one_does_not_count_it() -> None:
    model = roomy("llama")
    answers = cot_answers.AnswerReader(model, Prefixes(model), (), "texts")
    answers.candidates += [cot_answers.Candidate(name=text, text=text) for text in (" c", " ca", " cap")]
    context = "The capital is"
    own = [math.exp(log_probability(model, context, text)) for text in (" ca", " cap")]
    found = answers.probabilities(context)
    assert found[1] == pytest.approx(max(0.0, own[0] - own[1]), abs=1e-6)
    assert found[2] == pytest.approx(own[1], abs=1e-6)


@pytest.mark.parametrize("what", ["mistake", "paraphrase", "cue"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama", "mistral"])
def test_the_model_reasons_on_greedily_after_what_was_changed(architecture: str, what: str) -> None:
    model = roomy(architecture, template=TEMPLATE)
    result = ask(model, choices=CHOICES, interventions=EVERYTHING)
    (outcome,) = result.of(what)  # type: ignore[arg-type]
    written = outcome.written
    assert written is not None
    before = (outcome.prompt or result.prompt) + outcome.text[:written]
    expected = greedy(model, ids(model, before), 8, stop_ids(model))
    assert outcome.text[written:] == model.tokenizer.decode(expected, skip_special_tokens=True)
    assert ("Paris" in before) == (what == "cue")


def test_the_reasoning_is_the_greedy_continuation_of_the_prompt() -> None:
    model = roomy("llama", template=TEMPLATE)
    result = ask(model, reasoning=None, choices=CHOICES, sampling=Sampling(tokens=12))
    assert result.prompt == f"<user>{QUESTION}\n\nLet's think step by step.</user><assistant>\n"
    expected = greedy(model, ids(model, result.prompt), 12, stop_ids(model))
    assert result.reasoning == model.tokenizer.decode(expected, skip_special_tokens=True)
    assert len(result.tokens) == len(expected)
    first = math.exp(log_probability(model, result.prompt, model.tokenizer.decode(expected[:1])))
    assert result.tokens[0].probability == pytest.approx(first, rel=1e-4)
    assert not result.ended
    assert any(check.name == "reasoning" and check.level == "warn" for check in result.checks)


def test_a_recorded_reasoning_gives_what_it_gave_when_it_was_written() -> None:
    model = roomy("llama", template=TEMPLATE)
    written = ask(model, reasoning=None, choices=CHOICES)
    recorded = ask(model, reasoning=written.reasoning, choices=CHOICES)
    assert recorded.sentences == written.sentences
    for one, other in zip(written.outcomes, recorded.outcomes, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_sampling_is_the_same_for_a_seed_and_another_for_another() -> None:
    model = roomy("gpt2", template=TEMPLATE)
    texts = {
        seed: ask(model, reasoning=None, sampling=Sampling(temperature=1.0, top_p=0.9, seed=seed, tokens=10)).reasoning
        for seed in (1, 2)
    }
    again = ask(model, reasoning=None, sampling=Sampling(temperature=1.0, top_p=0.9, seed=1, tokens=10))
    assert texts[1] == again.reasoning != texts[2]
    # So little of the probability holds the top token alone.
    narrow = ask(model, reasoning=None, sampling=Sampling(temperature=1.0, top_p=1e-9, tokens=10))
    assert narrow.reasoning == ask(model, reasoning=None, sampling=Sampling(tokens=10)).reasoning


@pytest.mark.parametrize(("spread", "share"), [(6.0, 0.95), (0.1, 0.95), (6.0, 1.0), (0.0, 0.5)])
def test_the_most_probable_tokens_are_those_of_a_whole_vocabulary_sorted(spread: float, share: float) -> None:
    random = torch.Generator().manual_seed(3)
    logits = (spread * torch.randn(4 * SORTED, generator=random)).round(decimals=1)  # so that some are equal
    p = logits.double().softmax(dim=-1)
    values, tokens = _most_probable(p, share)
    expected, order = p.sort(descending=True, stable=True)
    kept = int((expected.cumsum(dim=-1) < share).sum()) + 1
    assert values[:kept].tolist() == expected[:kept].tolist()
    assert tokens[:kept].tolist() == order[:kept].tolist()
    assert (len(values) <= SORTED) == (spread > 1 > share)


def test_letters_are_read_after_a_bracket_and_listed_in_the_question() -> None:
    model = roomy("llama")
    result = ask(model, choices=CHOICES, read="letters", interventions=(Early(), Cue(answer="Paris", by="position")))
    assert [candidate.text for candidate in result.candidates] == ["A", "B", "C"]
    assert "(B) Rome is" in result.prompt
    assert result.lead_in.endswith("(")
    (cue,) = result.of("cue")
    assert "usually (C)" in (cue.prompt or "")
    assert cue.suggested == 2
    for outcome in result.outcomes:
        assert outcome.probabilities == pytest.approx(choice_probabilities(model, result, outcome), abs=2e-4)


def test_the_lead_in_is_recorded_and_can_be_another() -> None:
    model = roomy("gpt2")
    result = ask(model, choices=CHOICES, lead_in=" So the best is")
    assert result.lead_in == " So the best is"
    assert result.context(result.outcomes[1]).endswith("Rome is a city. So the best is")
    typed = ask(model, choices=CHOICES, lead_in="The best is")
    assert typed.context(typed.outcomes[1]).endswith("Rome is a city.\n\nThe best is")


def test_a_model_without_a_chat_template_is_asked_in_the_plain_format_and_that_is_said() -> None:
    result = ask(roomy("gpt2"), choices=CHOICES)
    assert result.prompt == f"Question: {QUESTION}\n\nLet's think step by step.\n\nAnswer: "
    assert any(check.name == "chat template" and check.level == "warn" for check in result.checks)


def test_the_summary_follows_from_the_outcomes() -> None:
    result = ask(roomy("llama"), choices=CHOICES, answer="Rome is")
    same = [outcome.same for outcome in result.of("kept")]
    assert same[-1]
    assert result.aoc == area_over_curve(same)
    assert result.settles == settles_at(same)
    assert result.necessary == tuple(o.sentence for o in result.of("dropped") if not o.same)
    assert result.right == 1
    assert result.full == result.of("kept")[-1]


def test_a_sentence_left_out_of_the_first_ones_is_compared_with_all_of_those() -> None:
    result = ask(roomy("llama"), interventions=(Early(), LeaveOneOut(within=2), LeaveOneOut(within=4)))
    base = result.of("kept")[2].answer
    assert result.full is not None
    assert base != result.full.answer
    first, every = result.of("dropped")[:2], result.of("dropped")[2:]
    for outcome in first:
        assert result.compared_with(outcome) == outcome.against == base
        assert outcome.same == (outcome.answer == base)
    assert [outcome.against for outcome in every] == [None] * 4
    assert {result.compared_with(outcome) for outcome in every} == {result.full.answer}


def test_the_context_of_an_outcome_is_a_case_with_the_two_answers() -> None:
    model = roomy("llama", template=TEMPLATE)
    result = ask(model, choices=CHOICES)
    assert result.full is not None
    for outcome in result.outcomes:
        case = result.case(outcome)
        assert (case.prepend, case.chat) == ("as-is", False)
        texts = [candidate.text for candidate in result.candidates]
        assert case.foil is not None
        assert case.prompt + (case.target or "") == result.context(outcome) + texts[result.full.answer]
        foil = (case.prompt + case.foil).removeprefix(result.context(outcome))
        assert foil in texts
        assert foil != texts[result.full.answer]
        assert outcome.same or foil == texts[outcome.answer]
        encoded = encode(model.tokenizer, case)
        assert encoded.target is not None
        logs = log_probabilities(model, list(encoded.ids))[-1]
        first = log_probability(model, case.prompt, model.tokenizer.decode([encoded.target.id]))
        assert float(logs[encoded.target.id]) == pytest.approx(first, abs=1e-4)


def test_a_start_token_that_the_tokenizer_adds_is_not_there_twice() -> None:
    model = roomy("llama", template="{{ bos_token }}" + TEMPLATE)
    plain = ask(model, choices=CHOICES).prompt
    assert plain.startswith("<|endoftext|><user>")  # this tokenizer adds none
    from tokenizers import processors

    start = "<|endoftext|>"
    model.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, 0)]
    )
    prompt = ask(model, choices=CHOICES).prompt
    assert prompt.startswith("<user>")
    assert encode(model.tokenizer, Case(prompt=prompt)).ids[:2].count(0) == 1


def test_partial_results_show_the_reasoning_as_it_is_written_and_then_the_outcomes() -> None:
    model = roomy("gpt2", template=TEMPLATE)
    seen: list[CotResult] = []

    def progress(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        assert isinstance(partial, CotResult)
        seen.append(partial)

    asked = (Early(), LeaveOneOut(), Cue(answer="Paris"))
    request = CotRequest(question=QUESTION, choices=CHOICES, sampling=Sampling(tokens=6), interventions=asked)
    final = cot.run(model, request, progress)
    lengths = [len(partial.tokens) for partial in seen]
    assert lengths[0] < lengths[-1]
    assert lengths == sorted(lengths)
    assert seen[0].full is None
    assert seen[-1] == final
    assert any(partial.writing and final.of("cue")[0].text.startswith(partial.writing) for partial in seen)
    assert final.writing == ""
    assert [bool(partial.of("kept")) for partial in seen].index(True) < len(seen) - 1  # early answers come first


def test_it_stops_where_progress_says_so() -> None:
    def progress(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        cot.run(roomy("gpt2"), CotRequest(question=QUESTION, sampling=Sampling(tokens=6)), progress)


def test_request_and_result_come_back_from_json() -> None:
    request = CotRequest(question=QUESTION, choices=CHOICES, reasoning=REASONING, interventions=EVERYTHING)
    assert CotRequest.model_validate_json(request.model_dump_json()) == request
    result = ask(roomy("gpt2"), choices=CHOICES, interventions=EVERYTHING)
    step = Step.model_validate(
        {"started": "2026-01-01T00:00:00Z", "seconds": 1, "status": "done", "request": request, "result": result}
    )
    assert Step.model_validate_json(step.model_dump_json()).result == result


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"question": "  "}, "no question"),
        ({"choices": ("ice", "Ice ")}, "twice"),
        ({"choices": ("ice", "ice cream")}, "told apart"),
        ({"choices": ("ice",)}, "2 to 26"),
        ({"choices": ("ice", " ")}, "empty"),
        ({"reasoning": " \n"}, "reasoning is empty"),
        ({"lead_in": " "}, "lead-in"),
        ({"read": "letters"}, "letters can be read only for choices"),
        ({"sampling": Sampling(temperature=-1)}, "temperature"),
        ({"sampling": Sampling(top_p=0)}, "top-p"),
        ({"sampling": Sampling(tokens=0)}, "at least 1 token"),
        ({"sampling": Sampling(seed=-1)}, "seed"),
        ({"reasoning": "Rome is a city. " * 80}, "at most 500"),
        ({"question": "Rome is a city. " * 80, "reasoning": None}, "at most 500"),
        ({"interventions": (Mistake(sentence=9, text="No."),)}, "no sentence 10"),
        ({"interventions": (Mistake(sentence=0),)}, "no number"),
        ({"interventions": (Paraphrase(sentence=-1),)}, "no sentence 0"),
        ({"interventions": (Cue(),)}, "needs an answer"),
        ({"choices": CHOICES, "interventions": (Cue(answer="Berlin"),)}, "none of the choices"),
        ({"choices": CHOICES, "interventions": (Cue(by="position"),)}, "no"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        ask(roomy("gpt2"), **fields)
    assert "\n" not in str(caught.value)


def test_a_model_that_ends_at_once_has_given_no_reasoning(monkeypatch: pytest.MonkeyPatch) -> None:
    model = roomy("gpt2", template=TEMPLATE)
    monkeypatch.setattr("workbench.methods.cot.reasoning.stop_ids", lambda _: set(range(300)))
    with pytest.raises(InputError, match="no reasoning"):
        ask(model, reasoning=None)


def test_a_chat_template_that_takes_no_message_is_one_sentence() -> None:
    model = roomy("gpt2", template="{{ raise_exception('no users here') }}")
    with pytest.raises(InputError, match="no users here"):
        ask(model)


def test_a_reasoning_that_never_ends_leaves_room_for_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.methods.cot.reasoning.stop_ids", lambda _: set())
    model = roomy("llama", template=TEMPLATE)
    result = ask(model, question=f"{QUESTION} " * 45, reasoning=None, choices=CHOICES, sampling=Sampling(tokens=4000))
    longest = max(result.outcomes, key=lambda outcome: len(outcome.text))
    assert 440 < len(ids(model, result.context(longest))) <= 500
    assert any("context's end" in check.text for check in result.checks)
