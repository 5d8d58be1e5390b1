"""Patchscopes against plain hooks on the plain model, and what is said of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.tiny import telling, tiny_loaded
from workbench.case import Case
from workbench.errors import InputError
from workbench.loading import LoadedModel
from workbench.methods.lens import patchscope
from workbench.methods.lens.patchscope import IDENTITY, PatchscopeRequest, PatchscopeResult, patchscope_figures
from workbench.models.anatomy import tensor_of
from workbench.models.tokens import encode, token_text
from workbench.protocol import silent

CASE = Case(prompt="The capital of Australia is", target="the", foil="city")


def scope(model: LoadedModel, **asked: Any) -> PatchscopeResult:
    return patchscope.run(model, PatchscopeRequest(case=CASE, **asked), silent)


def by_hooks(model: LoadedModel, ids: tuple[int, ...], layer: int, position: int) -> torch.Tensor:
    """The probabilities after the identity prompt whose last state after a layer is the prompt's at a token."""
    identity = encode(model.tokenizer, Case(prompt=IDENTITY, prepend="separator")).ids
    kept: list[torch.Tensor] = []
    block = model.block_modules[layer]
    hook = block.register_forward_hook(lambda _m, _a, output: kept.append(tensor_of(output)[0, position].clone()))
    with torch.no_grad():
        model.hf(input_ids=torch.tensor([ids]))
    hook.remove()

    def put(_module: Any, _args: Any, output: Any) -> Any:
        tensor_of(output)[0, -1] = kept[0]
        return output

    hook = block.register_forward_hook(put)
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([identity])).logits[0, -1]
    hook.remove()
    return logits.softmax(dim=-1)


@pytest.mark.parametrize("architecture", telling())
@pytest.mark.parametrize(("layer", "position"), [(0, -1), (1, 2)])
def test_the_identity_prompt_says_what_it_says_with_the_state_put_in(
    architecture: str, layer: int, position: int
) -> None:
    model = tiny_loaded(architecture)
    result = scope(model, layer=layer, position=position, top_k=7)
    p = by_hooks(model, result.encoded.ids, layer, position)
    best = p.topk(7)
    assert result.top_probabilities == pytest.approx(best.values.tolist(), abs=1e-5)
    assert result.top_tokens[0] == token_text(model.tokenizer, int(best.indices[0]))
    assert result.encoded.target is not None
    assert result.target == pytest.approx(float(p[result.encoded.target.id]), abs=1e-5)
    assert result.position == position % len(result.encoded.ids)
    assert (result.checks[0].name, result.checks[0].level) == ("patch parity", "ok")


@pytest.mark.parametrize("architecture", telling())
def test_after_the_last_layer_it_is_the_model_s_own_answer(architecture: str) -> None:
    model = tiny_loaded(architecture)
    result = scope(model, layer=model.info.layers - 1)
    with torch.no_grad():
        own = model.hf(input_ids=torch.tensor([result.encoded.ids])).logits[0, -1].softmax(dim=-1)
    assert result.top_probabilities == pytest.approx(own.topk(5).values.tolist(), abs=1e-5)
    assert result.kl == pytest.approx(0, abs=1e-5)


def test_the_embedding_is_put_before_the_first_block_and_tells_the_token_alone() -> None:
    model = tiny_loaded("llama")
    result = scope(model, layer=-1)
    identity = encode(model.tokenizer, Case(prompt=IDENTITY, prepend="separator")).ids
    with torch.no_grad():
        p = model.hf(input_ids=torch.tensor([(*identity[:-1], result.encoded.ids[-1])])).logits[0, -1].softmax(dim=-1)
    assert result.top_probabilities == pytest.approx(p.topk(5).values.tolist(), abs=1e-5)


@pytest.mark.parametrize("asked", [{"layer": 3}, {"layer": -2}, {"position": 9}, {"position": -10}])
def test_a_layer_or_token_that_does_not_exist_is_a_sentence(asked: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"there is no (layer|token) -?\d+: the (model|prompt) has"):
        scope(tiny_loaded("llama"), **asked)


def test_what_the_identity_prompt_would_say_anyway_is_a_warning_and_is_drawn() -> None:
    model = tiny_loaded("llama")
    result = scope(model, layer=0)
    same = result.model_copy(update={"unpatched": result.top_tokens[0]})
    warned = patchscope._checks(model, 0.0, same.top_tokens[0], same.unpatched)
    assert [check.level for check in warned] == ["ok", "warn"]
    assert [check.level for check in patchscope._checks(model, 1.0, "a", "b")] == ["warn"]
    table, lines, *_ = patchscope_figures(result)
    assert table.title == "Patchscope of layer 0 at “is” (token 8)"
    assert "KL to the final distribution" in lines.lines[0].text  # type: ignore[union-attr]
