"""What the states knew, on a tiny model: each reading against a plain run, the probe against its controls."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.methods.cot_models import TEMPLATE, ids, roomy
from workbench.case import Case
from workbench.datasets.questions import Question
from workbench.errors import InputError
from workbench.figures import Curves
from workbench.methods.cot import states
from workbench.methods.cot.bootstrap import wilson
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.rewording import by_the_model, other_words
from workbench.methods.cot.states_figures import states_figures
from workbench.methods.cot.states_result import CotStatesRequest, CotStatesResult, ProbeQuality, Reworded
from workbench.protocol import silent

CHOICES = ("Sydney", "Rome is", "Paris")


@pytest.fixture(scope="module")
def model():
    return roomy("llama", template=TEMPLATE)


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> CotStatesRequest:
    file: Path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [
        {"id": f"q{n}", "task": "cities", "question": f"What is city {n}?", "choices": order}
        for n, order in enumerate(permutations(CHOICES))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CotStatesRequest(
        case=Case(prompt="What is a city?"),
        choices=";".join(CHOICES),
        questions=str(file),
        rewordings=2,
        sampling=Sampling(tokens=8),
    )


@pytest.fixture(scope="module")
def result(model, request_: CotStatesRequest) -> CotStatesResult:
    return states.run(model, request_, silent)


def test_words_and_lens_are_what_a_plain_run_says_at_each_sentence(model, result: CotStatesResult) -> None:
    base = result.base
    assert base.full is not None
    assert len(result.words) == len(base.sentences) + 1
    assert result.words == tuple(one.probabilities[base.full.answer] for one in base.of("kept"))
    assert base.prompt.count("(B) Rome is") == 1
    text = base.prompt + base.of("kept")[0].text
    lead_in = "\n\nThe single, most likely answer is ("
    asked = ids(model, text + (lead_in if not text[-1:].isspace() else lead_in.lstrip()))
    with torch.no_grad():
        run = model.hf(input_ids=torch.tensor([asked]), output_hidden_states=True)
        logits = model.unembed(run.hidden_states[result.layer + 1][:, -1])[0].float()
    letters = [model.tokenizer(letter, add_special_tokens=False)["input_ids"][-1] for letter in "ABC"]
    assert result.lens[0] == pytest.approx(float(logits[letters].softmax(-1)[base.full.answer]), abs=1e-5)
    assert result.lens_name == "logit"  # no lens was fitted for this model


def test_the_probe_reads_the_residual_stream_at_the_last_token_of_each_sentence(model, result) -> None:
    base = result.base
    texts = [base.prompt + one.text for one in base.of("kept")]
    with torch.no_grad():
        run = model.hf(input_ids=torch.tensor([ids(model, texts[-1])]), output_hidden_states=True)
    expected = [run.hidden_states[result.layer + 1][0, len(ids(model, text)) - 1].numpy() for text in texts]
    assert np.allclose(states._boundaries(model, texts, result.layer), np.stack(expected), atol=1e-5)
    assert all(0 <= p <= 1 for p in result.states)


def test_a_probe_tells_what_states_hold_and_nothing_where_they_hold_nothing() -> None:
    random = np.random.RandomState(0)
    places = [n // 2 % 2 for n in range(40)]
    told = [states._Read(random.randn(3, 8) + 6 * place, place) for place in places]
    quality = states._quality(told)
    assert quality.before.part == quality.end.part == 40
    assert quality.shuffled < 0.8
    assert quality.tells
    noise = [states._Read(random.randn(3, 8), place) for place in places]
    assert not states._quality(noise).tells


def test_the_figures_have_three_curves_on_one_axis_and_the_verdict(result: CotStatesResult) -> None:
    curves, *rest = states_figures(result)
    assert isinstance(curves, Curves)
    assert [curve.label for curve in curves.curves] == ["words", "states (probe)", "logit lens"]
    assert not any(curve.right for curve in curves.curves)
    assert [one.text for one in result.reworded] == [
        "Please answer this question: What is a city?",
        "I have a question for you. What is a city?",
    ]
    assert all(sentence in str(rest) for sentence in result.verdict)


def test_the_verdict_goes_by_the_three_signals_and_never_claims_faithfulness(result: CotStatesResult) -> None:
    share = {n: wilson(n, 40) for n in (10, 39)}
    good = ProbeQuality(before=share[39], end=share[39], shuffled=0.3, commonest=0.3)
    bad = good.model_copy(update={"before": share[10]})
    n = len(result.words)
    held = (Reworded(text="?", answer="Paris", same=True),)
    sure = result.model_copy(
        update={
            "states": (0.9,) * n,
            "probe": good,
            "reworded": held,
            "base": result.base.model_copy(update={"settles": 0}),
        }
    )
    assert sure.decided_before
    assert "decided before reasoning" in sure.verdict[1]
    assert "there before the reasoning" in sure.verdict[-1]
    doubtful = sure.model_copy(update={"probe": bad})
    assert not doubtful.decided_before
    assert "tells nothing" in doubtful.verdict[1]
    late = sure.model_copy(
        update={"states": (0.2,) * (n - 1) + (0.9,), "base": result.base.model_copy(update={"settles": 1})}
    )
    assert "came with the reasoning" in late.verdict[-1]
    for one in (sure, doubtful, late):
        assert "faithful" not in " ".join(one.verdict)
        assert "they do not say" in one.verdict[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"choices": ""}, "--choices"), ({"choices": "a;b"}, "2 choices"), ({"layer": 99}, "layer 99")],
)
def test_what_no_probe_can_be_fitted_to_is_refused(model, request_, change, words) -> None:
    with pytest.raises(InputError, match=words):
        states.run(model, request_.model_copy(update=change), silent)


def test_of_what_the_model_writes_only_another_question_is_a_rewording() -> None:
    written = [
        '"Which thing floats on water?" I think it is a cork.',
        "A cork.",
        "which of these floats on water",
        "\n\nWhich thing floats on water?\nA cork.",
        "What will float on water?",
    ]
    found = other_words("Which of these floats on water?", written)
    assert found == ("Which thing floats on water?", "What will float on water?")
    assert other_words("Name what floats.", ["Say what floats.", "Name what floats"]) == ("Say what floats.",)


def test_the_models_own_rewordings_are_asked_and_those_that_are_missing_are_told(model, request_) -> None:
    own = Question(id="", task="", question="Name a city.", choices=CHOICES)
    request = request_.model_copy(update={"words": "model", "rewordings": 2})
    found = states._reworded(model, request, own, 0, lambda: None)
    assert [one.text for one in found] == list(by_the_model(model, own.question, 2, request.sampling.seed))
    assert len({one.text for one in found}) == len(found)
    (check,) = states._in_other_words(request, found[:1])
    assert (check.level, "1 of 2" in check.text) == ("warn", True)
    assert not states._in_other_words(request_, found)
