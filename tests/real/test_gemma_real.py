"""Every kind of method on Gemma 3 270M, against plain transformers: `make test-models`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.conftest import REAL_MODELS
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


def test_an_edit_says_paris_is_rome_and_is_undone_to_the_bit(gemma: LoadedModel) -> None:
    case = {**CASE, "target": "Rome", "foil": "Paris"}
    before = gemma.down_projection(8).weight.clone()
    result = ask(gemma, "edit", case=case, editor="rome", settings={"layer": 8, "prefixes": 2}, test=False)
    assert result.after[0].target > 0.8
    gemma.edits.remove(result.edit.id)
    assert torch.equal(gemma.down_projection(8).weight, before)


@pytest.mark.parametrize("kind", ["dla", "heads", "continue", "counterfactual", "patch", "attribution"])
def test_other_methods_hold_their_own_checks(gemma: LoadedModel, kind: str) -> None:
    also = {"patch": {"source": PROMPT.replace("Eiffel Tower", "Colosseum")}, "attribution": {"method": "occlusion"}}
    case = {key: value for key, value in CASE.items() if kind != "patch" or key == "prompt"}
    result = ask(gemma, kind, case=case, **also.get(kind, {}))
    assert not [check for check in result.checks if check.level == "warn" and check.name in ("sum", "path", "parity")]
