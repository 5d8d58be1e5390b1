"""Attribution against slow obvious versions: plain captum, loops over tokens, orders drawn one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

from tests.tiny import telling, tiny_loaded, tiny_model, tiny_tokenizer
from workbench.case import Case
from workbench.errors import Cancelled, InputError, NumericalError, OutOfMemory
from workbench.loading import LoadedModel, wrap
from workbench.methods.attribution.attributed import ask
from workbench.methods.attribution.attribution import (
    AttributionRequest,
    AttributionResult,
    agreement,
    rank_correlation,
    run,
)
from workbench.methods.attribution.coalitions import EXACT, Coalitions, occlude, shapley, shapley_exact
from workbench.methods.attribution.integrated_gradients import FIRST_PIECES, STEPS, Path, PathIntegral, integrate
from workbench.models.tokens import encode
from workbench.protocol import Result, silent

Function = Callable[[torch.Tensor], torch.Tensor]

CASE = Case(prompt="The capital of Australia is", target=" the", foil=" city", prepend="separator")
CONTINUOUS = telling(mixtral="llama")


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return tiny_loaded("llama")


def attribute(model: LoadedModel, case: Case = CASE, **settings: Any) -> AttributionResult:
    return run(model, AttributionRequest(case=case, **settings), silent)


def pieces_of(
    function: Function, baseline: torch.Tensor, inputs: torch.Tensor, tolerance: float, limit: int = 2000
) -> list[PathIntegral]:
    path = Path(function, baseline, inputs)
    with torch.no_grad():
        difference = float(function(inputs[None]) - function(baseline[None]))

    def precise() -> Path:
        return Path(function, baseline.double(), inputs.double())

    return list(integrate(path, precise, difference, tolerance, limit, bytes_each=1, budget=10**9))


def integral(function: Function, baseline: torch.Tensor, inputs: torch.Tensor, tolerance: float) -> PathIntegral:
    return pieces_of(function, baseline, inputs, tolerance)[-1]


def spiky(embeddings: torch.Tensor) -> torch.Tensor:
    """Nearly a step, at 31.37 % of the path from zeros to ones; the first token counts twice the second."""
    weights = torch.tensor([[2.0], [1.0]], dtype=embeddings.dtype)
    return torch.tanh(100 * ((embeddings * weights).sum(dim=(1, 2)) / 6 - 0.3137))


# --- What is attributed ---


@pytest.mark.parametrize("architecture", CONTINUOUS)
def test_the_value_is_the_models_own_logit_difference_and_integrated_gradients_sum_to_it(architecture: str) -> None:
    model = tiny_loaded(architecture)
    result = attribute(model, tolerance=0.01, limit=2000)
    encoded = result.encoded
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([encoded.ids])).logits[0, -1]
    assert encoded.target is not None
    assert encoded.foil is not None
    assert result.value == pytest.approx(float(logits[encoded.target.id] - logits[encoded.foil.id]), abs=1e-5)
    difference = result.value - result.baseline_value
    assert result.completeness_error <= 0.01 * abs(difference)
    assert sum(result.scores) == pytest.approx(difference, abs=result.completeness_error + 1e-5)
    assert result.checks[0].level == "ok"


def test_without_a_foil_the_value_is_the_targets_log_probability(llama: LoadedModel) -> None:
    result = attribute(llama, CASE.model_copy(update={"foil": None}), method="input-x-gradient")
    with torch.no_grad():
        log_p = llama.hf(input_ids=torch.tensor([result.encoded.ids])).logits[0, -1].log_softmax(dim=-1)
    assert result.encoded.target is not None
    assert result.value == pytest.approx(float(log_p[result.encoded.target.id]), abs=1e-5)
    assert result.foil_text is None


def test_without_a_target_the_models_own_top_token_is_explained_and_the_trust_strip_says_so(
    llama: LoadedModel,
) -> None:
    result = attribute(llama, Case(prompt=CASE.prompt), method="input-x-gradient")
    with torch.no_grad():
        top = int(llama.hf(input_ids=torch.tensor([result.encoded.ids])).logits[0, -1].argmax())
    _, _, question = ask(llama, Case(prompt=CASE.prompt))
    assert question.compared.target.id == top
    assert any("own top token" in check.text for check in result.checks)


def test_what_is_prepended_stays_fixed_and_scores_nothing(llama: LoadedModel) -> None:
    result = attribute(llama)
    assert result.attributed == (1, len(result.encoded.ids))
    assert result.scores[0] == 0
    assert all(result.scores[1:])
    with torch.no_grad():  # every token but the separator at the mean embedding
        embeddings = llama.embedding(torch.tensor([result.encoded.ids]))
        embeddings[:, 1:] = llama.embedding.weight.mean(dim=0)
        logits = llama.hf(inputs_embeds=embeddings).logits[0, -1]
    target, foil = result.encoded.target, result.encoded.foil
    assert target is not None
    assert foil is not None
    assert result.baseline_value == pytest.approx(float(logits[target.id] - logits[foil.id]), abs=1e-5)


def test_a_chat_templates_head_and_tail_stay_fixed() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = "<|endoftext|>user: {{ messages[0]['content'] }}\nbot:"
    model = wrap(tiny_model("llama"), tokenizer, "tiny-chat")
    case = CASE.model_copy(update={"chat": True, "prepend": "as-is"})
    result = attribute(model, case, tolerance=0.01)
    encoded = result.encoded
    assert encoded.appended > 0
    assert result.attributed == (encoded.prepended, len(encoded.ids) - encoded.appended)
    assert not any(result.scores[: encoded.prepended])
    assert not any(result.scores[-encoded.appended :])
    assert sum(result.scores) == pytest.approx(
        result.value - result.baseline_value, abs=result.completeness_error + 1e-5
    )


def test_at_an_earlier_token_the_token_that_follows_is_explained_as_if_the_prompt_ended_there(
    llama: LoadedModel,
) -> None:
    whole = attribute(llama, Case(prompt="The capital of"), position=-2, tolerance=0.01)
    encoded = whole.encoded
    assert whole.position == len(encoded.ids) - 2
    assert whole.target_text == encoded.texts[-1]
    assert whole.foil_text is None
    assert whole.scores[-1] == 0
    before = llama.tokenizer.decode(encoded.ids[:-1])
    alone = attribute(llama, Case(prompt=before), target=llama.tokenizer.decode(encoded.ids[-1]), tolerance=0.01)
    assert alone.encoded.ids == encoded.ids[:-1]
    assert alone.target_text == whole.target_text
    assert alone.scores == pytest.approx(whole.scores[:-1], abs=1e-6)


def test_the_cases_target_belongs_to_the_end_and_a_named_one_to_any_token(llama: LoadedModel) -> None:
    inside = attribute(llama, position=3, method="input-x-gradient")
    assert inside.target_text == inside.encoded.texts[4]
    named = attribute(llama, position=3, target=" the", foil=" of", method="input-x-gradient")
    there, _, question = ask(llama, CASE, 3, target=" the", foil=" of")
    text = llama.tokenizer.decode(there.ids[1:4])
    expected = [llama.tokenizer(text + word)["input_ids"][3] for word in (" the", " of")]
    assert question.compared.foil is not None
    assert [question.compared.target.id, question.compared.foil.id] == expected
    assert named.value == pytest.approx(float(question.value(question.inputs[None])), abs=1e-5)


def test_a_prompt_of_one_token_is_attributed_to_it(llama: LoadedModel) -> None:
    case = Case(prompt="a", target=" the", foil=" city")
    for method in ("integrated-gradients", "occlusion", "shapley"):
        result = attribute(llama, case, method=method)
        (score,) = result.scores
        assert score == pytest.approx(result.value - result.baseline_value, abs=result.completeness_error + 1e-4)
        assert any(check.name == "first position" for check in result.checks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_model_is_attributed_in_float32_and_left_as_it_was(dtype: torch.dtype) -> None:
    half = tiny_loaded("gemma2", dtype=dtype)
    before = {name: tensor.clone() for name, tensor in half.hf.state_dict().items()}
    found = attribute(half)
    after = half.hf.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )

    full = wrap(tiny_model("gemma2", dtype=dtype).float(), tiny_tokenizer(), "the same weights in float32")
    expected = attribute(full)
    assert found.scores == pytest.approx(expected.scores, abs=2e-3)  # Gemma's factor on embeddings is rounded
    assert any(check.name == "dtype" and check.text == "float32" for check in found.checks)
    own = attribute(half, method="occlusion")
    assert own.value == pytest.approx(expected.value, abs=2e-3)


def test_a_half_precision_model_is_left_as_it_was_when_the_job_is_cancelled_in_mid_forward() -> None:
    model = tiny_loaded("llama", dtype=torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in model.hf.state_dict().items()}
    forwards: list[int] = []

    def stop(*_: Any) -> None:
        forwards.append(1)
        if len(forwards) == 5:
            raise Cancelled

    hook = model.block_modules[1].register_forward_pre_hook(stop)
    with pytest.raises(Cancelled):
        attribute(model)
    hook.remove()
    after = model.hf.state_dict()
    assert all(
        after[name].dtype == tensor.dtype and torch.equal(after[name], tensor) for name, tensor in before.items()
    )


def test_a_model_whose_float32_copy_does_not_fit_is_attributed_in_its_own_dtype_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_loaded("llama", dtype=torch.bfloat16)

    def no_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("workbench.methods.attribution.attributed._copies", no_memory)
    checks = {check.name: check for check in attribute(model).checks}
    assert checks["dtype"].level == "warn"
    assert checks["dtype"].text.startswith("bfloat16")


# --- Integrated gradients ---


def test_the_pieces_sum_to_captum_on_the_whole_path_where_that_converges(llama: LoadedModel) -> None:
    _, _, question = ask(llama, CASE)
    whole, delta = IntegratedGradients(question.value).attribute(
        question.inputs[None], question.baseline[None], n_steps=300, return_convergence_delta=True
    )
    assert abs(float(delta)) < 1e-4
    found = integral(question.value, question.baseline, question.inputs, tolerance=1e-3)
    assert found.pieces >= FIRST_PIECES
    torch.testing.assert_close(found.scores, whole[0].sum(dim=-1).double(), atol=2e-3, rtol=0)


def test_of_a_linear_function_the_pieces_find_the_exact_products() -> None:
    weights, inputs, baseline = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = integral(lambda x: (x * weights).sum(dim=(1, 2)), baseline, inputs, tolerance=1e-5)
    torch.testing.assert_close(found.scores.float(), (weights * (inputs - baseline)).sum(dim=-1))
    assert found.evaluations == FIRST_PIECES * STEPS  # nothing to cut


def test_a_narrow_spike_is_found_where_evenly_spread_steps_miss_it() -> None:
    baseline, inputs = torch.zeros(2, 2), torch.ones(2, 2)
    difference = float(spiky(inputs[None]) - spiky(baseline[None]))
    found = integral(spiky, baseline, inputs, tolerance=0.01)
    assert found.error <= 0.01 * difference
    assert found.scores.tolist() == pytest.approx([difference * 2 / 3, difference / 3], rel=0.01)
    _, delta = IntegratedGradients(spiky).attribute(
        inputs[None], baseline[None], n_steps=found.evaluations, return_convergence_delta=True
    )
    assert abs(float(delta)) > 0.01 * difference


def test_every_round_is_nearer_to_the_answer_and_the_limit_is_kept() -> None:
    rounds = pieces_of(spiky, torch.zeros(2, 2), torch.ones(2, 2), 1e-12, limit=101)
    assert rounds[-1].error < rounds[0].error
    assert [found.evaluations for found in rounds] == sorted({found.evaluations for found in rounds})
    assert 101 - 2 * STEPS < rounds[-1].evaluations <= 101


def test_steep_places_are_computed_in_float64() -> None:
    def steep(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(1e5 * (x.mean(dim=(1, 2)) - 0.3137))

    baseline, inputs = torch.full((2, 2), 0.1), torch.full((2, 2), 0.7)
    found = integral(steep, baseline, inputs, tolerance=1e-4)
    assert 0 < found.steep < found.pieces
    assert found.error <= 1e-4 * 2
    assert found.scores.tolist() == pytest.approx([1, 1], rel=1e-3)
    *_, single = integrate(
        Path(steep, baseline, inputs), lambda: None, 2.0, 1e-4, found.evaluations, bytes_each=1, budget=10**9
    )
    assert single.steep == 0
    assert single.error > 1e-4 * 2


@pytest.mark.parametrize("architecture", CONTINUOUS)
def test_a_question_in_float64_is_the_same_question(architecture: str) -> None:
    model = tiny_loaded(architecture)
    _, _, question = ask(model, CASE)
    precise = question.in_float64
    assert precise is not None
    with torch.no_grad():
        value = precise.value(precise.inputs[None])
        torch.testing.assert_close(value.float(), question.value(question.inputs[None]), atol=1e-4, rtol=0)
    assert value.dtype == torch.float64
    assert model.hf.dtype == torch.float32


def test_a_jump_is_left_as_an_error_and_ends_the_cutting() -> None:
    def jump(x: torch.Tensor) -> torch.Tensor:
        return x.sum(dim=(1, 2)) + (x[:, 0, 0] > 0.3137)

    rounds = pieces_of(jump, torch.zeros(2, 2), torch.ones(2, 2), 0.01, limit=10_000)
    assert rounds[-1].error == pytest.approx(1)
    assert rounds[-1].evaluations < 500


def test_a_mixture_of_experts_jumps_where_its_routing_changes_and_the_trust_strip_warns() -> None:
    result = attribute(tiny_loaded("mixtral"))
    missing = result.value - result.baseline_value - sum(result.scores)
    assert abs(missing) <= result.completeness_error + 1e-4
    assert result.checks[0].level == "warn"


def test_what_the_limit_leaves_undone_is_a_warning(llama: LoadedModel) -> None:
    result = attribute(llama, tolerance=1e-9, limit=STEPS)
    assert result.evaluations == STEPS
    assert result.checks[0].name == "completeness"
    assert result.checks[0].level == "warn"


def test_a_token_that_the_function_does_not_read_gets_nothing_from_any_method() -> None:
    baseline, inputs = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))

    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x[:, 0]).sum(dim=-1) * torch.cos(x[:, 2]).sum(dim=-1)

    coalitions = Coalitions(function, baseline, inputs, [(0, 1), (1, 2), (2, 3)], bytes_each=1, budget=100)
    *_, (_, effects) = occlude(coalitions)
    *_, (values, _) = shapley(coalitions, samples=5, seed=0)
    for scores in (integral(function, baseline, inputs, 1e-3).scores, effects, values):
        assert scores[1] == 0
        assert abs(scores[0]) > 1e-3
        assert abs(scores[2]) > 1e-3


# --- Input × gradient, occlusion and Shapley values ---


def test_input_x_gradient_is_the_gradient_at_the_prompt_times_the_way_from_the_baseline(llama: LoadedModel) -> None:
    result = attribute(llama, method="input-x-gradient", baseline="zero")
    embeddings = llama.embedding(torch.tensor([result.encoded.ids])).detach().requires_grad_()
    logits = llama.hf(inputs_embeds=embeddings).logits[0, -1]
    assert result.encoded.target is not None
    assert result.encoded.foil is not None
    (logits[result.encoded.target.id] - logits[result.encoded.foil.id]).backward()
    assert embeddings.grad is not None
    expected = (embeddings * embeddings.grad).sum(dim=-1)[0].tolist()
    assert result.scores[1:] == pytest.approx(expected[1:], abs=1e-5)


@pytest.mark.parametrize("unit", ["token", "word"])
def test_occlusion_is_what_is_lost_when_a_unit_is_replaced(llama: LoadedModel, unit: str) -> None:
    result = attribute(llama, method="occlusion", unit=unit, baseline="eos")
    ids = torch.tensor([result.encoded.ids])
    target, foil = result.encoded.target, result.encoded.foil
    assert target is not None
    assert foil is not None

    def difference(ids: torch.Tensor) -> float:
        with torch.no_grad():
            logits = llama.hf(input_ids=ids).logits[0, -1]
        return float(logits[target.id] - logits[foil.id])

    for start, stop in result.units:
        replaced = ids.clone()
        replaced[0, start:stop] = llama.tokenizer.eos_token_id
        assert sum(result.scores[start:stop]) == pytest.approx(difference(ids) - difference(replaced), abs=1e-4)
        assert len(set(result.scores[start:stop])) == 1


def test_words_are_the_tokens_between_blanks_and_punctuation(llama: LoadedModel) -> None:
    case = Case(prompt="Australia's capital is not Sydney, it is 悉尼", target=" a", prepend="separator")
    result = attribute(llama, case, method="occlusion", unit="word")
    ids = result.encoded.ids
    words = [llama.tokenizer.decode(ids[start:stop]) for start, stop in result.units]
    assert words[:10] == ["Australia", "'", "s", " capital", " is", " not", " Sydney", ",", " it", " is"]
    assert result.units[0][0] == 1
    assert [stop for _, stop in result.units[:-1]] == [start for start, _ in result.units[1:]]
    assert result.units[-1][1] == len(ids)


def test_shapley_values_of_few_units_are_the_mean_gain_over_every_order() -> None:
    baseline, inputs = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3))

    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x.sum(dim=(1, 2))) * x[:, 1, 0] + x[:, 0, 0] * x[:, 4, 2]

    spans = [(0, 1), (1, 3), (3, 4), (4, 5)]
    gains, orders = np.zeros(4), list(permutations(range(4)))
    for order in orders:
        present = baseline.clone()
        before = float(function(present[None]))
        for unit in order:
            present[slice(*spans[unit])] = inputs[slice(*spans[unit])]
            after = float(function(present[None]))
            gains[unit] += (after - before) / len(orders)
            before = after
    coalitions = Coalitions(function, baseline, inputs, spans, bytes_each=1, budget=3)
    *_, (valued, effects) = shapley_exact(coalitions)
    assert valued == coalitions.evaluations == 16
    assert effects.tolist() == pytest.approx(gains.tolist(), abs=1e-6)


def test_a_prompt_of_few_words_has_no_sampling_error_and_a_longer_one_says_its_own(llama: LoadedModel) -> None:
    few = attribute(llama, Case(prompt="The capital of", target=" the", foil=" city"), method="shapley", unit="word")
    assert len(few.units) <= EXACT
    assert few.errors is None
    assert few.evaluations == 2 ** len(few.units)
    many = attribute(llama, method="shapley", samples=3)
    assert len(many.units) > EXACT
    assert many.errors is not None
    assert len(many.errors) == len(many.scores)
    assert max(many.errors) > 0


def test_shapley_values_are_the_mean_gain_over_random_orders(llama: LoadedModel) -> None:
    case = Case(prompt="The capital of Australia", target=" the", foil=" city")
    result = attribute(llama, case, method="shapley", samples=3, seed=7)
    _, _, question = ask(llama, case)
    n_tokens = len(question.inputs)
    random = np.random.RandomState(7)
    gains = np.zeros(n_tokens)
    for _ in range(3):
        present = question.baseline.clone()
        before = float(question.value(present[None]))
        for token in random.permutation(n_tokens):
            present[token] = question.inputs[token]
            after = float(question.value(present[None]))
            gains[token] += (after - before) / 3
            before = after
    assert result.scores == pytest.approx(gains.tolist(), abs=1e-5)
    assert result.completeness_error < 1e-4
    assert attribute(llama, case, method="shapley", samples=3, seed=7) == result
    assert attribute(llama, method="shapley", seed=7).scores != attribute(llama, method="shapley", seed=8).scores


def test_no_coalition_is_computed_twice() -> None:
    seen: list[int] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x.sum(dim=(1, 2))

    coalitions = Coalitions(function, torch.zeros(2, 1), torch.ones(2, 1), [(0, 1), (1, 2)], bytes_each=1, budget=100)
    *_, (values, errors) = shapley(coalitions, samples=20, seed=0)
    assert values.tolist() == [1, 1]
    assert errors is not None
    assert errors.tolist() == [0, 0]
    assert sum(seen) == coalitions.evaluations == 4


# --- Memory, progress, cancelling ---


def short_of_memory(function: Function, most: int) -> Function:
    def short(x: torch.Tensor) -> torch.Tensor:
        if len(x) > most:
            raise torch.OutOfMemoryError
        return function(x)

    return short


def test_when_memory_runs_out_smaller_batches_give_the_same_scores() -> None:
    baseline, inputs = torch.zeros(2, 2), torch.ones(2, 2)
    expected = integral(spiky, baseline, inputs, tolerance=0.01)
    found = integral(short_of_memory(spiky, STEPS), baseline, inputs, tolerance=0.01)
    torch.testing.assert_close(found.scores, expected.scores)
    with pytest.raises(OutOfMemory):
        integral(short_of_memory(spiky, STEPS - 1), baseline, inputs, tolerance=0.01)

    coalitions = Coalitions(short_of_memory(spiky, 1), baseline, inputs, [(0, 1), (1, 2)], bytes_each=1, budget=100)
    *_, (_, effects) = occlude(coalitions)
    whole = float(spiky(inputs[None]))
    lost = [whole - float(spiky(torch.tensor([[[a, a], [b, b]]]))) for a, b in ((0.0, 1.0), (1.0, 0.0))]
    assert effects.tolist() == pytest.approx(lost, abs=1e-6)


def test_progress_brings_better_and_better_partial_results_and_can_cancel(llama: LoadedModel) -> None:
    partials: list[AttributionResult] = []

    def watch(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        if isinstance(partial, AttributionResult):
            partials.append(partial)
            assert done <= total
            if len(partials) == 3:
                raise Cancelled

    with pytest.raises(Cancelled):
        run(llama, AttributionRequest(case=CASE, tolerance=1e-6, limit=5000), watch)
    first, _, third = partials
    assert third.completeness_error < first.completeness_error

    partials.clear()
    with pytest.raises(Cancelled):
        run(llama, AttributionRequest(case=CASE, method="shapley"), watch)
    assert len(partials) == 3


# --- Bad input ---


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"position": 99}, "no token 99"),
        ({"position": 0}, "before the prompt"),
        ({"samples": 0}, "at least 1 sample"),
        ({"limit": 3}, "evaluations"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"baseline": "two words"}, "not one token"),
        ({"baseline": ""}, "not one token"),
        ({"foil": " the"}, "the same token"),
        ({"position": 1, "target": " x", "foil": " x"}, "the same token"),
        ({"unit": "word"}, "token"),
        ({"prompt": "  "}, "empty"),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(llama: LoadedModel, settings: dict[str, Any], says: str) -> None:
    case = CASE.model_copy(update={"prompt": settings.pop("prompt", CASE.prompt)})
    with pytest.raises(InputError, match=says):
        attribute(llama, case, **settings)


def test_a_foil_that_is_the_models_own_top_token_needs_a_target(llama: LoadedModel) -> None:
    for prompt in (
        "The capital",
        "The answer is",
        "Tom has",
        "What is",
        "The city",
    ):  # one whose answer can be typed
        _, _, question = ask(llama, Case(prompt=prompt))
        case = Case(prompt=prompt, foil=llama.tokenizer.decode(question.compared.target.id))
        foil = encode(llama.tokenizer, case).foil
        if foil is not None and foil.id == question.compared.target.id:
            break
    with pytest.raises(InputError, match="name another target or foil"):
        attribute(llama, case)


def test_weights_that_are_not_finite_are_a_numerical_error() -> None:
    model = tiny_loaded("llama")
    model.hf.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(NumericalError, match="not finite"):
        attribute(model)


# --- Agreement ---


def test_rank_correlation_is_spearmans() -> None:
    assert rank_correlation((1, 2, 3), (10, 20, 30)) == pytest.approx(1)
    assert rank_correlation((1, 2, 3), (3, 2, 1)) == pytest.approx(-1)
    assert rank_correlation((1, 2, 3), (1, 3, 2)) == pytest.approx(0.5)
    assert rank_correlation((1, 1, 2, 3), (1, 2, 3, 4)) == pytest.approx(0.9**0.5)  # ranks 1.5, 1.5, 3, 4
    assert rank_correlation((1, 1), (1, 2)) is None
    assert rank_correlation((1,), (1,)) is None


def test_agreement_is_between_answers_to_the_same_question_only(llama: LoadedModel) -> None:
    gradients, occlusion = attribute(llama), attribute(llama, method="occlusion")
    assert agreement(gradients, gradients) == pytest.approx(1)
    assert agreement(gradients, occlusion) == rank_correlation(gradients.scores[1:], occlusion.scores[1:])
    assert agreement(gradients, attribute(llama, position=2)) is None


def test_requests_and_results_survive_json(llama: LoadedModel) -> None:
    result = attribute(llama, method="shapley", unit="word", samples=2)
    assert AttributionResult.model_validate_json(result.model_dump_json()) == result
    request = AttributionRequest(case=CASE, method="occlusion", position=-1)
    assert AttributionRequest.model_validate_json(request.model_dump_json()) == request
