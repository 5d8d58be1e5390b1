"""Every kind of method on Gemma 3 270M, against plain transformers: `make test-models`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.conftest import REAL_MODELS
from tests.test_edits import digest
from workbench.loading import LoadedModel, load
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request

pytestmark = pytest.mark.model

PROMPT = "The Eiffel Tower is located in the city of"
CASE = {"prompt": PROMPT, "subject": "Eiffel Tower", "target": "Paris", "foil": "Rome"}


@pytest.fixture(scope="module")
def gemma() -> Iterator[LoadedModel]:
    yield load(str(REAL_MODELS / "gemma3-270m"), "float32", "cpu")
    gc.collect()


def ask(model: LoadedModel, kind: str, **asked: Any) -> Any:
    return method(kind).run(model, request(kind, **asked), silent)


def test_its_logits_are_plain_ones_and_it_knows_the_eiffel_tower(gemma: LoadedModel) -> None:
    result = ask(gemma, "lens", case=CASE)
    ids = gemma.tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    assert tuple(ids[0].tolist()) == result.encoded.ids
    assert result.encoded.texts[0] == "<bos>"
    states = []
    handles = [
        layer.register_forward_hook(lambda _m, _a, output: states.append(output)) for layer in gemma.hf.model.layers
    ]
    with torch.no_grad():
        logits = gemma.hf(ids, use_cache=False).logits[0, -1]
        for handle in handles:
            handle.remove()
        lens = gemma.hf.lm_head(gemma.hf.model.norm(states[9]))[0, -1].softmax(-1)
    p = logits.softmax(-1)
    paris = result.encoded.target.id
    assert float(p[paris]) == pytest.approx(0.76, abs=0.01)
    column = result.columns[-1]
    assert column.target.probability[-1] == pytest.approx(float(p[paris]), abs=1e-5)
    assert column.target.probability[10] == pytest.approx(float(lens[paris]), abs=1e-5)


def test_a_traced_cell_is_that_of_plain_hooks(gemma: LoadedModel) -> None:
    result = ask(gemma, "trace", case=CASE, kinds=("states", "mlp"), samples=2, estimate=False)
    assert result.noise_std == pytest.approx(3.0928, abs=0.01)
    assert result.window == 6  # a third of 18 layers, and not ten
    start, stop = result.encoded.subject
    ids = torch.tensor([result.encoded.ids])
    import numpy as np

    noise = torch.zeros(2, ids.shape[1], 640)
    drawn = np.random.RandomState(1).randn(2, stop - start, 640) * result.noise_std
    noise[:, start:stop] = torch.from_numpy(drawn).float()
    clean: list[torch.Tensor] = []
    layer, token = 5, stop - 1
    block = gemma.hf.model.layers[layer]
    with torch.no_grad():
        handle = block.register_forward_hook(lambda _m, _a, output: clean.append(output[0, token]))
        gemma.hf(ids, use_cache=False)
        handle.remove()

        def restore(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[:, token] = clean[0]
            return output

        handles = [
            gemma.hf.model.embed_tokens.register_forward_hook(lambda _m, _a, output: output + noise),
            block.register_forward_hook(restore),
        ]
        logits = gemma.hf(ids.expand(2, -1), use_cache=False).logits[:, -1]
        for handle in handles:
            handle.remove()
    expected = float(logits.softmax(-1)[:, result.encoded.target.id].mean())
    (states,) = [grid for grid in result.grids if grid.kind == "states"]
    assert states.values[layer][token] == pytest.approx(expected, abs=1e-5)


def test_an_edit_says_paris_is_rome_and_is_undone_to_the_bit(gemma: LoadedModel, shared_statistics: None) -> None:
    case = {**CASE, "target": "Rome", "foil": "Paris"}
    before = gemma.down_projection(8).weight.clone()
    result = ask(gemma, "edit", case=case, editor="rome", settings={"layer": 8, "prefixes": 2}, test=False)
    assert result.after[0].target > 0.8
    gemma.edits.remove(result.edit.id)
    assert torch.equal(gemma.down_projection(8).weight, before)


@pytest.mark.parametrize(
    ("editor", "settings"),
    [
        ("memit", {"layers": "7-9", "prefixes": 1}),
        ("alphaedit", {"layers": "7-9", "prefixes": 1}),
        ("ft-l", {"layer": 8}),
        ("ft-m", {"layer": 8}),
        ("ft-batch", {"layer": 12}),
        ("in-context", {}),
        ("steer-answer", {}),
    ],
)
def test_every_other_editor_makes_rome_likelier_and_is_undone_to_the_bit(
    gemma: LoadedModel, shared_statistics: None, editor: str, settings: dict[str, Any]
) -> None:
    case, before = {**CASE, "target": "Rome", "foil": "Paris"}, digest(gemma)
    result = ask(gemma, "edit", case=case, editor=editor, settings=settings, test=False)
    try:
        assert result.after[0].target > 2 * result.before[0].target
        ids = gemma.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
        assert gemma.hf(ids).logits.isfinite().all()
    finally:
        gemma.edits.remove(result.edit.id)
    assert digest(gemma) == before


def test_that_a_key_of_another_models_radius_reaches_every_token_is_warned_of(gemma: LoadedModel) -> None:
    """Gemma's states are long in the same few directions, so that a share of their length reaches all of them."""
    case = {**CASE, "target": "Rome", "foil": "Paris"}
    result = ask(gemma, "edit", case=case, editor="grace", settings={"layer": 9}, test=False)
    gemma.edits.remove(result.edit.id)
    assert result.after[0].target > 0.5
    assert "held-out perplexity" in [check.name for check in result.checks if check.level == "warn"]


@pytest.mark.parametrize("editor", ["leace", "orth"])
def test_a_concept_is_erased_so_that_no_linear_probe_reads_it(gemma: LoadedModel, editor: str) -> None:
    settings = {"concept": "pronoun-gender", "layers": "9", "limit": 160, "above": False}
    case = {"prompt": "The nurse was late because", "target": "she", "foil": "he"}
    result = ask(gemma, "edit", case=case, editor=editor, settings=settings, test=False)
    row = result.details.at(9)
    assert row.before.texts > 0.65
    assert row.after.texts < row.before.texts
    gemma.edits.remove(result.edit.id)


def test_a_contrast_is_told_apart_and_steers(gemma: LoadedModel) -> None:
    settings = {"contrast": "formality", "layers": "6", "strength": 0.5, "tokens": 12}
    result = ask(gemma, "edit", editor="contrast", settings=settings, test=False)
    assert result.details.directions[0].told_apart >= 0.8
    gemma.edits.remove(result.edit.id)


def test_a_head_that_is_knocked_out_is_what_a_run_with_a_hook_says(gemma: LoadedModel) -> None:
    result = ask(gemma, "knockout", case=CASE, heads="L12H1", made=False)
    ids, width = torch.tensor([result.encoded.ids]), gemma.hf.config.head_dim

    def without(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        read = args[0].clone()
        read[:, -1, width : 2 * width] = 0
        return (read, *args[1:])

    handle = gemma.hf.model.layers[12].self_attn.o_proj.register_forward_pre_hook(without)
    with torch.no_grad():
        logits = gemma.hf(ids, use_cache=False).logits[0, -1]
    handle.remove()
    expected = logits[result.encoded.target.id] - logits[result.encoded.foil.id]
    assert result.tried[0].difference == pytest.approx(float(expected), abs=1e-3)


def test_where_a_head_looks_is_where_plain_attention_looks(gemma: LoadedModel) -> None:
    result = ask(gemma, "attention", case=CASE, head="L12H1")
    ids = torch.tensor([result.encoded.ids])
    kernel = gemma.hf.config._attn_implementation
    gemma.hf.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            weights = gemma.hf(ids, use_cache=False, output_attentions=True).attentions[12][0, 1, -1]
    finally:
        gemma.hf.set_attn_implementation(kernel)
    assert result.weights == pytest.approx(weights.tolist(), abs=1e-4)


def test_the_reasoning_is_the_models_own_greedy_text_and_truncated(gemma: LoadedModel) -> None:
    question = "Tom has 3 apples and buys 4 more. How many apples does he have? Let's think step by step."
    result = ask(gemma, "cot", question=question, answer="7", sampling={"tokens": 24})
    ids = gemma.tokenizer(result.prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        written = gemma.hf.generate(ids, max_new_tokens=24, do_sample=False)
    assert gemma.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).startswith(result.reasoning)
    assert len(result.of("kept")) == len(result.sentences) + 1


OWN_CHECKS = ["dla", "heads", "continue", "counterfactual", "patch", "attribution", "watch", "patchscope", "stability"]


@pytest.mark.parametrize("kind", OWN_CHECKS)
def test_other_methods_hold_their_own_checks(gemma: LoadedModel, kind: str) -> None:
    also = {"patch": {"source": PROMPT.replace("Eiffel Tower", "Colosseum")}, "attribution": {"method": "occlusion"}}
    case = {key: value for key, value in CASE.items() if kind != "patch" or key == "prompt"}
    result = ask(gemma, kind, case=case, **also.get(kind, {}))
    assert not [check for check in result.checks if check.level == "warn" and check.name in ("sum", "path", "parity")]
