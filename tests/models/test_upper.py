"""Runs from a late layer on, against unbroken runs of each text by itself."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_loaded
from workbench.models.forward.upper import UpperLayers

TEXTS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (5, 6, 7), (9, 8, 7, 6, 5))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_are_those_of_unbroken_runs_whatever_the_order_and_the_padding(architecture):
    loaded = tiny_loaded(architecture)
    for layer in range(loaded.info.layers):
        upper, order = UpperLayers(loaded, layer, TEXTS), (2, 0, 1)
        assert upper.resumed is (layer > 0)
        with torch.no_grad():
            states = upper.states(order)
            for at, row in enumerate(order):
                found = loaded.unembed(states[at : at + 1, : len(TEXTS[row])])
                expected = loaded.hf(input_ids=torch.tensor([TEXTS[row]]), use_cache=False).logits
                assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max())


def test_gradients_are_those_of_unbroken_runs_and_only_upper_blocks_run():
    loaded, ran = tiny_loaded("llama"), []
    upper = UpperLayers(loaded, 2, TEXTS)
    for layer in range(2):
        loaded.mlp(layer).register_forward_hook(lambda *_: ran.append(True))
    name = "model.layers.2.mlp.down_proj.weight"
    found, expected = (loaded.hf.get_parameter(name).clone().requires_grad_() for _ in range(2))
    upper.states([0, 1], {name: found})[1, :3].square().sum().backward()
    assert not ran
    UpperLayers(loaded, 0, TEXTS).states([1], {name: expected})[0].square().sum().backward()
    assert ran
    assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-5)
    assert found.grad.abs().max() > 0


def test_where_resuming_is_off_every_run_is_an_unbroken_one():
    loaded = tiny_loaded("llama")
    block = loaded.block_modules[0]
    block.register_forward_hook(lambda _module, _args, output: output + 1)  # runs after a recorded input was put in
    upper = UpperLayers(loaded, 1, TEXTS)
    assert upper.resumed
    loaded.block_modules[1].register_forward_pre_hook(lambda _module, args: (args[0] + 1, *args[1:]))
    upper = UpperLayers(loaded, 1, TEXTS)
    expected = loaded.hf(input_ids=torch.tensor([TEXTS[1]]), use_cache=False).logits
    assert torch.allclose(loaded.unembed(upper.states([1])), expected, atol=1e-4)
