"""The first-order effect is the slope of what is read, whatever is restored."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import telling, tiny_loaded
from workbench.models.forward import patching
from workbench.models.forward.corruption import no_noise
from workbench.models.forward.patching import first_order
from workbench.models.forward.resume import Branch, Resumed
from workbench.models.forward.runs import PARTS, record

IDS = (5, 17, 200, 3, 42, 99, 250, 8)
STEP = 0.004


def _read(logits):
    return logits[:, 7] - logits[:, 9]


def _first_order(loaded, runs):
    """Of the first row's values put into the others."""
    goals = {"states": torch.stack([states[0] for states in runs.states[1:]])}
    goals |= {part: torch.stack(runs.parts[part]) for part in PARTS}
    return first_order(loaded, runs.rows(slice(1, None)), goals, _read)


def _runs(loaded, rows):
    """A clean run and corrupted ones."""
    added = no_noise(loaded, rows, len(IDS))
    noise = torch.randn(rows - 1, 2, added.shape[-1], generator=torch.Generator().manual_seed(3))
    added[1:, 2:4] = 0.5 * noise
    return record(loaded, torch.tensor([IDS] * rows), added)


@pytest.mark.parametrize("architecture", telling())
def test_the_effect_is_the_slope_between_corrupted_and_clean(architecture):
    loaded = tiny_loaded(architecture)
    runs = _runs(loaded, 2)
    corrupted = runs.rows(slice(1, 2))
    parts = record(loaded, corrupted.ids, corrupted.added).parts
    effects = _first_order(loaded, runs)
    resumed = Resumed(loaded, corrupted)

    def slope(token, branch):
        up, down = (
            next(resumed.values(token, [branch(step)], lambda logits: _read(logits).double())) for step in (STEP, -STEP)
        )
        return (up[0][0] - down[0][0]) / (2 * STEP)

    layers, largest = loaded.info.layers, max(effect.abs().max() for effect in effects.values())
    assert largest > 0.01
    for token in (2, 5, len(IDS) - 1):
        for layer in range(layers):
            there, goal = runs.states[layer + 1][1, token], runs.states[layer + 1][0, token]
            found = slope(token, lambda step: Branch(layer + 1, state=there + step * (goal - there)))  # noqa: B023
            assert abs(found - effects["states"][layer, token]) < 0.01 * largest
            for part in PARTS:
                there, goal = parts[part][layer][token], runs.parts[part][layer][token]
                branch = lambda step: Branch(layer, outputs={(part, layer): there + step * (goal - there)})  # noqa: B023, E731
                assert abs(slope(token, branch) - effects[part][layer, token]) < 0.01 * largest


def test_the_effect_is_the_mean_over_runs_however_they_are_batched(monkeypatch):
    loaded = tiny_loaded("llama")
    runs = _runs(loaded, 4)
    together = _first_order(loaded, runs)
    monkeypatch.setattr(patching, "BUDGET", 1)
    alone = _first_order(loaded, runs)
    for place, effect in together.items():
        assert effect.shape == (3, len(IDS))
        assert torch.allclose(effect, alone[place], atol=1e-6)
        assert (effect[:, :2] == 0).all()  # nothing differs before the corrupted tokens


def test_the_model_keeps_no_gradients():
    loaded = tiny_loaded("llama")
    _first_order(loaded, _runs(loaded, 2))
    assert all(parameter.grad is None for parameter in loaded.hf.parameters())
    assert not torch.is_grad_enabled() or loaded.hf(torch.tensor([IDS])).logits.grad_fn is None
