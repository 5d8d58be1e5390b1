"""Path patching against its definition, by complete runs with hooks: freeze everything, note the receivers, put in."""

from __future__ import annotations

import math
from contextlib import ExitStack

import pytest
import torch

from tests.methods.patching.test_patching import ALIKE, ALL, LONGER, any_gap, numbers, request
from tests.tiny import telling, tiny_loaded
from workbench.case import Case
from workbench.errors import InputError, ModelError
from workbench.figures import Lines
from workbench.methods.patching.figures import figures
from workbench.methods.patching.patching import run
from workbench.methods.patching.paths import typed_receivers
from workbench.models.forward import resume
from workbench.models.tokens import encode
from workbench.protocol import silent

__all__ = ["any_gap"]

RECEIVERS = (("mlp", 1), ("attention", 2), ("mlp", 2))
adding_up = pytest.mark.parametrize("architecture", telling(opt_norm_after="opt_projected"))


def by_hooks(loaded, asked, result):
    """``{kind: (layers, tokens)}``, two complete runs for every cell."""
    encoded, layers = encode(loaded.tokenizer, asked.case), loaded.info.layers
    ids = (encoded.ids, encode(loaded.tokenizer, Case(prompt=asked.source)).ids)
    into = 0 if asked.direction == "denoising" else 1
    tokens, kept = len(ids[into]), ({}, {})
    at = tokens - 1 if asked.receive_at is None else asked.receive_at
    places = {("states", layer): loaded.block_modules[layer] for layer in range(layers)}
    for layer in range(layers):
        places |= {("mlp", layer): loaded.mlp(layer), ("attention", layer): loaded.attention(layer)}

    def forward(of, hooks):
        with ExitStack() as stack, torch.no_grad():
            for place, hook in hooks.items():
                stack.callback(places[place].register_forward_hook(hook).remove)
            logits = loaded.hf(torch.tensor([ids[of]]), use_cache=False).logits[0, -1]
        return float(logits[encoded.target.id] - logits[encoded.foil.id])

    def states_of(output, of):
        return (output[0] if isinstance(output, tuple) else output).view(1, len(ids[of]), -1)

    def keep(of, place):
        return lambda _m, _a, output: kept[of].update({place: states_of(output, of).clone()})

    ends = [forward(of, {place: keep(of, place) for place in places}) for of in (0, 1)]

    def cell(kind, layer, token):
        if token not in result.partners:
            return math.nan
        width = asked.window if kind != "states" else 1
        senders = [(kind, each) for each in range(layer - width // 2, layer - (-width // 2)) if 0 <= each < layers]
        noted = {}

        def freeze(place):
            def hook(_module, _args, output):
                states = states_of(output, into)
                if place in asked.receivers:
                    noted[place] = states[0, at].clone()
                if place[0] != "states":
                    states[:] = kept[into][place]
                if place in senders:
                    change = kept[1 - into][place][0, result.partners[token]] - kept[into][place][0, token]
                    states[0, token] += change if place[0] != "states" else 0
                    if place[0] == "states":
                        states[0, token] = kept[1 - into][place][0, result.partners[token]]

            return hook

        def put(place):
            def hook(_module, _args, output):
                states_of(output, into)[0, at] = noted[place]

            return hook

        forward(into, {place: freeze(place) for place in places})
        value = forward(into, {place: put(place) for place in asked.receivers})
        return (value - ends[0]) / (ends[1] - ends[0])

    return ends, {
        kind: [[cell(kind, layer, token) for token in range(tokens)] for layer in range(layers)] for kind in ALL
    }


@adding_up
@pytest.mark.parametrize(("direction", "source", "at"), [("denoising", ALIKE, None), ("noising", LONGER, 14)])
@pytest.mark.usefixtures("any_gap")
def test_every_path_equals_two_plain_runs_with_hooks(architecture, direction, source, at):
    loaded = tiny_loaded(architecture)
    receivers = [receiver for receiver in RECEIVERS if receiver[1] < loaded.info.layers]
    asked = request(source, direction=direction, receivers=receivers, receive_at=at)
    result = run(loaded, asked, silent)
    ends, grids = by_hooks(loaded, asked, result)
    moved = 0.0
    for kind in ALL:
        found, expected = numbers(result.grid(kind)), torch.tensor(grids[kind])
        assert torch.equal(found.isnan(), expected.isnan())
        assert ((found - expected).nan_to_num().abs() * abs(ends[1] - ends[0])).max() < 1e-5
        moved = max(moved, float(expected.nan_to_num().std()))
    assert moved > 1e-3


def test_what_stands_after_the_receivers_reaches_none():
    result = run(tiny_loaded("llama"), request(receivers=(("mlp", 1),)), silent)
    values = numbers(result.grid("mlp"))
    assert (values[2] == 0).all()
    assert (values[0] != 0).any()
    assert not [check for check in result.checks if check.name in ("last state", "first picture")]
    lines = [line.text for figure in figures(result) if isinstance(figure, Lines) for line in figure.lines]
    assert any(line.endswith("by way of mlp 1 at “city” alone") or "by way of mlp 1" in line for line in lines)


def test_receivers_are_typed_as_parts_and_layers():
    assert typed_receivers("attention:1-2 mlp:2,4 mlp:2") == (
        ("attention", 1),
        ("attention", 2),
        ("mlp", 2),
        ("mlp", 4),
    )
    for text in ("heads:3", "mlp", "mlp:x"):
        with pytest.raises(InputError):
            typed_receivers(text)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"receivers": (("mlp", 3),)}, "there is no layer 3 to receive: the model has 3"),
        ({"receivers": (("mlp", 1),), "receive_at": 99}, "there is no token 99 to receive at"),
        ({"receive_at": 3}, "needs receivers"),
    ],
)
def test_receivers_that_are_not_there_are_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("llama"), request(**changes), silent)


@pytest.mark.usefixtures("any_gap")
def test_models_without_direct_paths_and_runs_that_cannot_be_resumed_are_refused(monkeypatch):
    with pytest.raises(ModelError, match="norms after its residual additions"):
        run(tiny_loaded("opt_norm_after"), request(receivers=(("mlp", 1),)), silent)
    monkeypatch.setattr(resume.Resumed, "parity", lambda self, token: 1.0)
    with pytest.raises(ModelError, match="paths are patched by runs that are resumed"):
        run(tiny_loaded("llama"), request(receivers=(("mlp", 1),)), silent)
