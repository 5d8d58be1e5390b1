"""Resampling on a tiny model: rollouts are what sampling alone writes, importance is the difference of answers."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.methods.cot_models import TEMPLATE, ids, log_probabilities, roomy
from tests.tiny import tiny_tokenizer
from workbench.case import Case
from workbench.errors import Cancelled, InputError
from workbench.figures import Table
from workbench.methods.cot import resampling, truncation
from workbench.methods.cot.importance import Difference, difference, distance
from workbench.methods.cot.likeness import OTHER, SAME, UNLIKE, Likeness, best_threshold, numbers_in
from workbench.methods.cot.reasoning import Sampling, _Chooser
from workbench.methods.cot.resample_figures import resample_figures
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult
from workbench.methods.cot.truncation import CotRequest
from workbench.models.encoders import SentenceEncoder
from workbench.protocol import silent

CHOICES = ("Sydney", "Rome is", "Paris")
REQUEST = ResampleRequest(
    case=Case(prompt="What is a city?"),
    choices=";".join(CHOICES),
    reasoning="Rome is 1 city. It is Sydney.",
    rollouts=4,
    sampling=Sampling(temperature=0.9, top_p=0.95, tokens=6),
)


@pytest.fixture(scope="module")
def model():
    return roomy("llama", template=TEMPLATE)


@pytest.fixture(scope="module")
def partials() -> list[ResampleResult]:
    return []


@pytest.fixture(scope="module")
def result(model, partials) -> ResampleResult:
    def note(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
        if isinstance(partial, ResampleResult):
            partials.append(partial)

    return resampling.run(model, REQUEST, note)


def test_there_are_so_many_rollouts_from_each_sentence_on(result: ResampleResult) -> None:
    assert [rollout.after for rollout in result.rollouts] == [0] * 4 + [1] * 4 + [2] * 4
    assert all((rollout.likeness is None) == (rollout.after == 2) for rollout in result.rollouts)
    assert (
        len({rollout.sentence for rollout in result.rollouts if rollout.after == 0}) > 1
    )  # each draws its own numbers


def test_a_rollout_is_what_is_sampled_alone_and_its_answer_that_of_the_whole_text(model, result) -> None:
    base = result.base
    start = base.prompt + base.sentences[0].rstrip()
    choose = _Chooser(model, REQUEST.sampling, [(REQUEST.sampling.seed, 1, 2)], ())
    written: list[int] = []
    while len(written) < REQUEST.sampling.tokens:
        logits = log_probabilities(model, [*ids(model, start), *written])[-1]
        token = choose(0, len(written), logits)
        if token < 0:
            break
        written.append(token)
    text = base.sentences[0].rstrip() + choose.reasoned(0).text
    alone = truncation.run(
        model,
        CotRequest(question=REQUEST.case.prompt, choices=CHOICES, reasoning=text, interventions=()),
        silent,
    )
    assert alone.full is not None
    rollout = [one for one in result.rollouts if one.after == 1][2]
    assert result.answers[rollout.answer] == CHOICES[alone.full.answer]


def test_importance_is_the_difference_of_the_answers_of_two_sets_of_rollouts(result) -> None:
    answers = [[one.answer for one in result.rollouts if one.after == after] for after in range(3)]
    for i, sentence in enumerate(result.sentences):
        kinds = {*answers[i], *answers[i + 1]}
        apart = sum(abs(answers[i].count(k) - answers[i + 1].count(k)) / 4 for k in kinds) / 2
        assert sentence.resampling is not None
        assert sentence.resampling.value == pytest.approx(apart)
        assert sentence.share == answers[i + 1].count(0) / 4
        kept = result.base.of("kept")
        forced = sum(abs(a - b) for a, b in zip(kept[i].probabilities, kept[i + 1].probabilities, strict=True)) / 2
        assert sentence.forced == pytest.approx(forced, abs=1e-5)
        others = [one for one in result.rollouts if one.after == i and one.likeness < result.threshold]
        assert sentence.others == len(others)
        assert sentence.disagree == (sentence.resampling.beyond_chance != sentence.necessary)


def test_what_is_found_can_be_drawn_on_the_way_and_cancelled(model, result, partials) -> None:
    assert [partial for partial in partials if partial.rollouts or partial.base.sentences]
    for partial in (partials[0], partials[-1]):
        assert resample_figures(partial)
    table = resample_figures(result)[0]
    assert isinstance(table, Table)
    assert [row[1].text for row in table.rows] == ["Rome is 1 city.", "It is Sydney."]

    def stop(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
        if stage == "resampling":
            raise Cancelled

    with pytest.raises(Cancelled):
        resampling.run(model, REQUEST, stop)


def test_a_difference_has_an_interval_and_what_chance_makes_of_it() -> None:
    clear = difference([0] * 20, [1] * 18 + [0] * 2, seed=1)
    assert clear is not None
    assert clear.value == pytest.approx(0.9)
    assert clear.low <= clear.value <= clear.high
    assert clear.beyond_chance
    same = difference([0, 1] * 10, [1, 0] * 10, seed=1)
    assert same is not None
    assert same.value == 0
    assert same.chance > 0.1
    assert not same.beyond_chance
    assert difference([0] * 3, [1] * 20, seed=1) is None


def test_where_leaving_out_and_resampling_disagree_a_sentence_says_which_way(result) -> None:
    found = Difference(value=0.8, low=0.6, high=0.9, chance=0.3)
    first = result.sentences[0].model_copy(update={"resampling": found, "necessary": False, "disagree": True})
    second = result.sentences[1].model_copy(
        update={"resampling": found.model_copy(update={"value": 0.1}), "necessary": True, "disagree": True}
    )
    drawn = str(resample_figures(result.model_copy(update={"sentences": (first, second)})))
    assert "sentence 1: left out the answer stays, but resampled the model goes elsewhere (0.80" in drawn
    assert "sentence 2: without it the answer is another one, but resampled the model gets there (0.10" in drawn


def test_what_distributions_lack_of_one_is_an_answer_more() -> None:
    assert distance((0.5, 0.5), (1.0, 0.0)) == pytest.approx(0.5)
    assert distance((0.2,), (0.7,)) == pytest.approx(0.5)


def test_the_threshold_is_where_most_pairs_are_told_right() -> None:
    assert best_threshold([0.9, 0.7, 0.4, 0.2], [True, True, False, False]) == pytest.approx(0.55)
    assert len(SAME) == len(OTHER)


def test_sentences_with_other_numbers_say_something_else_whatever_their_states(model) -> None:
    assert numbers_in("2. So 1,000 + 2.5 is seven, one more.") == {"1000", "2.5", "7"}
    likeness = Likeness(model)
    assert likeness.between("The answer is 7.", "The answer is 10.") == UNLIKE
    assert likeness.between("The answer is 7.", "It is 7.") > UNLIKE
    assert likeness.between("It is 7.", "It is  7.") == 1


@pytest.fixture
def encoder(tmp_path):
    """The folder of a tiny sentence encoder, with the tokenizer of the tiny models."""
    folder = tmp_path / "encoder"
    tokenizer = deepcopy(tiny_tokenizer())
    tokenizer.pad_token = tokenizer.eos_token
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=80,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_sentence_encoder_takes_the_place_of_the_models_states(model, encoder) -> None:
    bert, tokenizer = BertModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    pair = ("Butter melts in the sun.", "It would be kind to help her, and her brother too.")
    with torch.no_grad():
        means = [bert(**tokenizer(one, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for one in pair]
    likeness = Likeness(model, str(encoder))
    assert likeness.between(*pair) == pytest.approx(float(torch.cosine_similarity(*means, dim=0)), abs=1e-5)
    assert SentenceEncoder(str(encoder)).vectors(["very long " * 99]).shape == (1, 8)  # cut where it can read no more
    request = REQUEST.model_copy(update={"encoder": str(encoder), "rollouts": 2})
    (said,) = (one.text for one in resampling.run(model, request, silent).checks if one.name == "something else")
    assert f"by {encoder}" in said


@pytest.mark.parametrize("name", ["/nowhere", "all-minilm"])
def test_an_encoder_that_is_not_there_is_said_before_the_model_reasons(model, name, monkeypatch) -> None:
    monkeypatch.setattr("workbench.methods.cot.truncation.run", lambda *_: pytest.fail("the model reasons"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match="sentence encoder"):
        resampling.run(model, ResampleRequest(case=Case(prompt="?"), encoder=name), silent)


def test_an_encoder_that_does_not_take_means_is_refused(encoder) -> None:
    (encoder / "1_Pooling").mkdir()
    (encoder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": false}')
    with pytest.raises(InputError, match="does not take means"):
        SentenceEncoder(str(encoder))
