"""Texts carried through a model block by block have the states of the model's own forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_loaded
from workbench.errors import Cancelled, ModelError
from workbench.models.anatomy import tensor_of
from workbench.models.forward.layerwise import Layerwise

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

LENGTHS = (5, 9, 5, 12, 1, 9, 9)


def texts(seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, 300, (length,), generator=generator).tolist() for length in LENGTHS]


def own_states(model: LoadedModel, ids: Sequence[int]) -> list[torch.Tensor]:
    """The states after every block of one text, from the model's own forward."""
    seen: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _args, output: seen.append(tensor_of(output)[0].clone()))
        for block in model.block_modules
    ]
    with torch.no_grad():
        model.hf(input_ids=torch.tensor([list(ids)]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_layer_has_the_states_of_the_models_own_forward(architecture: str) -> None:
    model, given = tiny_loaded(architecture), texts()
    expected = [own_states(model, ids) for ids in given]
    walk = Layerwise(model, given)
    assert walk.parity < 1e-5
    for layer in range(model.info.layers):
        list(walk.advance())
        assert walk.layer == layer
        for batch, states in zip(walk.batches, walk.states, strict=True):
            for row, place in enumerate(batch.places):
                torch.testing.assert_close(states[row], expected[place][layer], rtol=1e-4, atol=1e-4)


def test_each_text_is_in_one_batch_with_texts_of_its_own_length() -> None:
    walk = Layerwise(tiny_loaded("llama"), texts())
    assert sorted(place for batch in walk.batches for place in batch.places) == list(range(len(LENGTHS)))
    assert all(LENGTHS[place] == batch.ids.shape[1] for batch in walk.batches for place in batch.places)
    assert walk.tokens == sum(LENGTHS)


def test_what_is_changed_at_one_layer_is_what_the_next_one_reads() -> None:
    model, ids = tiny_loaded("gpt2"), texts()[:1]
    walk = Layerwise(model, ids)
    list(walk.advance())
    kept = walk.fork()
    walk.map(lambda states: states * 2)
    list(walk.advance())
    with torch.no_grad():
        expected = tensor_of(model.block_modules[1](2 * kept.states[0]))
    torch.testing.assert_close(walk.states[0], expected)
    assert kept.layer == 0
    assert not torch.equal(kept.states[0], walk.states[0])


def test_the_blocks_are_themselves_again_afterwards() -> None:
    model = tiny_loaded("llama")
    before = own_states(model, range(1, 9))
    Layerwise(model, texts())
    assert all(torch.equal(a, b) for a, b in zip(before, own_states(model, range(1, 9)), strict=True))


def test_a_block_that_depends_on_more_than_its_arguments_is_noticed() -> None:
    model = tiny_loaded("llama")
    block = model.block_modules[1]
    forward, calls = block.forward, [0]

    def moody(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        output = forward(*args, **kwargs)
        return output * calls[0]

    block.forward = moody  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="are off by"):
        Layerwise(model, texts())


def test_a_job_that_is_cancelled_stops_before_the_next_block() -> None:
    model = tiny_loaded("llama")
    walk = Layerwise(model, texts())

    def stop(*_: object) -> None:
        raise Cancelled

    model.block_modules[0].register_forward_pre_hook(stop)
    with pytest.raises(Cancelled):
        list(walk.advance())
