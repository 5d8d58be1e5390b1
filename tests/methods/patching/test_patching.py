"""Patching between two prompts against plain hooks on the plain model: a complete forward for every cell."""

from __future__ import annotations

import math

import pytest
import torch

from tests.tiny import telling, tiny_loaded, tiny_tokenizer
from workbench.case import Case
from workbench.errors import Cancelled, InputError, NotConfirmed, NumericalError, OutOfMemory
from workbench.figures import Heatmap, Lines
from workbench.methods.patching import setup
from workbench.methods.patching.figures import figures
from workbench.methods.patching.patching import PatchRequest, PatchResult, run
from workbench.methods.tracing import sweep
from workbench.models.forward import resume
from workbench.models.tokens import encode
from workbench.protocol import silent

CASE = Case(prompt="The capital of France is the city", target=".", foil=",")
ALIKE = "The capital of Oslo is the city"
"""A source of as many tokens."""
LONGER = "The capital of Australia is not the city"
ALL = ("states", "mlp", "attention")


@pytest.fixture
def any_gap(monkeypatch):
    """Random models hardly prefer anything."""
    monkeypatch.setattr(setup, "NO_GAP", 0.01)


five = pytest.mark.parametrize("architecture", telling())


def request(source=ALIKE, **changes):
    return PatchRequest(**{"case": CASE, "source": source, "kinds": ALL, "window": 2, **changes})


def by_hooks(loaded, asked, pairs):
    """What is read in both runs, and ``{kind: (layers, tokens)}`` by one complete forward for every cell."""
    encoded = encode(loaded.tokenizer, asked.case)
    ids = [encoded.ids, encode(loaded.tokenizer, Case(prompt=asked.source)).ids]
    into = 0 if asked.direction == "denoising" else 1
    partner = {pair[into]: pair[1 - into] for pair in pairs}
    layers, kept = loaded.info.layers, {}

    def module(kind, layer):
        return {"states": loaded.block_modules.__getitem__, "mlp": loaded.mlp, "attention": loaded.attention}[kind](
            layer
        )

    def states_of(output, tokens):
        return (output[0] if isinstance(output, tuple) else output).view(1, tokens, -1)

    def forward(of, hooks):
        handles = [place.register_forward_hook(hook) for place, hook in hooks]
        try:
            with torch.no_grad():
                logits = loaded.hf(torch.tensor([ids[of]]), use_cache=False).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        return float(logits[encoded.target.id] - logits[encoded.foil.id])

    def keep(name, tokens):
        return lambda _m, _a, output: kept.update({name: states_of(output, tokens).clone()})

    def put(name, token):
        def hook(_module, _args, output):
            states_of(output, len(ids[into]))[0, token] = kept[name][0, partner[token]]

        return hook

    every = [(kind, layer) for kind in ALL for layer in range(layers)]
    forward(1 - into, [(module(*name), keep(name, len(ids[1 - into]))) for name in every])
    ends = forward(0, []), forward(1, [])

    def cell(kind, layer, token):
        if token not in partner:
            return math.nan
        width = asked.window if kind != "states" else 1
        at = range(max(0, layer - width // 2), min(layers, layer - (-width // 2)))
        value = forward(into, [(module(kind, each), put((kind, each), token)) for each in at])
        return (value - ends[0]) / (ends[1] - ends[0])

    grids = {
        kind: [[cell(kind, layer, token) for token in range(len(ids[into]))] for layer in range(layers)] for kind in ALL
    }
    return ends, grids


def numbers(grid):
    return torch.tensor([[math.nan if value is None else value for value in row] for row in grid.values])


@five
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize("source", [ALIKE, LONGER])
@pytest.mark.usefixtures("any_gap")
def test_every_cell_equals_a_plain_run_with_a_hook(architecture, direction, source):
    loaded = tiny_loaded(architecture)
    asked = request(source, direction=direction)
    result = run(loaded, asked, silent)
    (base, other), grids = by_hooks(loaded, asked, result.pairs)
    assert (result.base, result.source) == (pytest.approx(base, abs=1e-5), pytest.approx(other, abs=1e-5))
    for kind in ALL:
        grid = result.grid(kind)
        assert grid.complete
        found, expected = numbers(grid), torch.tensor(grids[kind])
        assert torch.equal(found.isnan(), expected.isnan())
        assert ((found - expected).nan_to_num().abs() * abs(other - base)).max() < 1e-5
        assert expected.nan_to_num().std() > 1e-3  # the cells differ, so a mistake would show
    checks = {check.name: check for check in result.checks}
    assert checks["path"].text.startswith("resumed")
    assert checks["last state"].level == "ok"


def test_tokens_without_a_partner_have_no_value_and_those_before_the_first_difference_that_of_the_run_itself():
    result = run(tiny_loaded("llama"), request(LONGER, direction="noising"), silent)
    grid, partners = result.grid("states"), result.partners
    assert len(result.changed.ids) == len(grid.values[0]) > len(result.encoded.ids)
    alone = [token for token in range(len(result.changed.ids)) if token not in partners]
    assert alone
    assert all(row[token] is None for row in grid.values for token in alone)
    assert all(row[0] == 1.0 for row in grid.values)
    assert grid.values[-1][-1] == pytest.approx(0, abs=1e-4)  # all that is read came from the other run


def test_pairs_by_hand_are_patched():
    loaded = tiny_loaded("gpt2")
    asked = request(LONGER, align="2:3")
    result = run(loaded, asked, silent)
    assert (2, 3) in result.pairs
    assert (2, 2) not in result.pairs
    _, grids = by_hooks(loaded, asked, result.pairs)
    found = numbers(result.grid("states"))
    assert (found - torch.tensor(grids["states"])).nan_to_num().abs().max() < 1e-4


def test_an_early_token_by_hand_is_patched_though_the_prompts_begin_alike():
    result = run(tiny_loaded("llama"), request(align=((0, 1), (1, 0))), silent)
    assert len({row[0] for row in result.grid("states").values}) > 1


def test_the_first_picture_is_the_gradient_times_the_difference_and_its_correlation_is_told_at_the_end():
    loaded, seen = tiny_loaded("llama"), []

    def watch(done, total, partial=None, *, stage=""):
        if partial is not None:
            seen.append(partial)

    result = run(loaded, request(), watch)
    first = seen[0]
    assert first.correlations == (None, None, None)
    assert not first.grids[0].complete
    assert next(check for check in first.checks if check.name == "cells").level == "warn"
    for kind, r in zip(ALL, result.correlations, strict=True):
        guessed, exact = first.grid(kind), result.grid(kind)
        cells = [(i, j) for i, row in enumerate(guessed.exact) for j, known in enumerate(row) if not known]
        both = torch.tensor([[grid.values[i][j] for i, j in cells] for grid in (guessed, exact)], dtype=torch.float64)
        assert r == pytest.approx(float(torch.corrcoef(both)[0, 1]), abs=1e-6)
    (said,) = [check.text for check in result.checks if check.name == "first picture"]
    assert said.startswith("gradient × difference: states r ")
    assert PatchResult.model_validate_json(first.model_dump_json()) == first
    assert PatchResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.usefixtures("any_gap")
def test_the_first_picture_is_the_slope_at_the_run_that_is_changed():
    """At a state so near to the other run's that the effect is linear."""
    loaded = tiny_loaded("gpt2")
    seen = []
    with pytest.raises(Cancelled):
        run(loaded, request(kinds=("states",)), _cancel_at_first(seen))
    estimate = numbers(seen[0].grid("states"))
    encoded, source = (encode(loaded.tokenizer, Case(prompt=text)) for text in (CASE.prompt, ALIKE))
    target, foil = seen[0].encoded.target.id, seen[0].encoded.foil.id
    states = {}

    def forward(ids, layer, hook):
        handle = loaded.block_modules[layer].register_forward_hook(hook)
        with torch.no_grad():
            logits = loaded.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].double()
        handle.remove()
        return float(logits[target] - logits[foil])

    for layer, token in ((0, 5), (1, 8), (1, len(encoded.ids) - 1)):
        for name, ids in (("base", encoded.ids), ("source", source.ids)):
            forward(ids, layer, lambda _m, _a, out: states.update({name: out[0, token].clone()}))  # noqa: B023

        def step(by):
            def hook(_module, _args, output):
                output[0, token] += by * (states["source"] - states["base"])  # noqa: B023

            return forward(encoded.ids, layer, hook)  # noqa: B023

        slope = (step(0.01) - step(-0.01)) / 0.02 / (seen[0].source - seen[0].base)
        assert slope == pytest.approx(float(estimate[layer, token]), abs=0.02 * max(1, abs(slope)))


def _cancel_at_first(seen):
    def progress(done, total, partial=None, *, stage=""):
        if partial is not None:
            seen.append(partial)
            raise Cancelled

    return progress


def test_without_target_and_foil_the_two_first_choices_are_compared():
    loaded = tiny_loaded("llama")
    result = run(loaded, request(LONGER, case=Case(prompt=CASE.prompt)), silent)
    assert (result.target, result.foil) == (result.source_top, result.base_top)
    assert result.base < 0 < result.source


def test_the_plain_way_gives_the_same_and_says_that_it_was_taken(monkeypatch):
    loaded, asked = tiny_loaded("gemma2"), request(LONGER)
    resumed = run(loaded, asked, silent)
    monkeypatch.setattr(resume.Resumed, "parity", lambda self, token: 1.0)
    plain = run(loaded, asked, silent)
    for kind in ALL:
        assert (numbers(resumed.grid(kind)) - numbers(plain.grid(kind))).nan_to_num().abs().max() < 1e-4
    assert [check.text for check in plain.checks if check.name == "path"] == ["plain, as resumed runs are off by 1e+00"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": CASE.prompt}, "the source is the prompt itself"),
        ({"source": "  "}, "the source is empty"),
        ({"source": "The city " * 60}, "the source: the prompt is .* tokens and the model reads at most 64"),
        ({"source": "?? 3"}, "no token in common"),
        ({"source": ALIKE, "align": ((0, 99),)}, "there is no token 99 in the source"),
        ({"window": 9}, "the window must be at most 3 layers"),
        ({"kinds": ()}, "name what is patched"),
        ({"source": CASE.prompt + " of"}, "differ at no aligned token"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("llama"), request(**changes), silent)


def test_a_target_and_foil_on_which_the_runs_do_not_differ_are_refused():
    loaded = tiny_loaded("gptj")
    head = loaded.hf.lm_head
    encoded = encode(loaded.tokenizer, CASE)
    with torch.no_grad():
        head.weight[encoded.target.id] = head.weight[encoded.foil.id]
    with pytest.raises(InputError, match=r"logits with the prompt and .* with the source, too close"):
        run(loaded, request(), silent)
    with torch.no_grad():
        head.bias[encoded.foil.id] += 100
    with pytest.raises(InputError, match="both prompts are continued by “,”"):
        run(loaded, request(case=CASE.model_copy(update={"target": None, "foil": None})), silent)


def test_logits_that_are_no_numbers_are_refused():
    loaded = tiny_loaded("llama")
    loaded.hf.lm_head.weight.data[:] = math.nan
    with pytest.raises(NumericalError, match="not finite"):
        run(loaded, request(), silent)


def test_hours_are_confirmed_first_and_little_memory_costs_no_more_than_the_first_picture(monkeypatch):
    loaded = tiny_loaded("llama")

    def refuse(*_):
        raise OutOfMemory("no room")

    with monkeypatch.context() as patched:
        patched.setattr(sweep, "LONG", 0.0)
        with pytest.raises(NotConfirmed, match="this would take about"):
            run(loaded, request(), silent)
        assert run(loaded, request(confirmed=True), silent).grids[0].complete
    monkeypatch.setattr(sweep, "first_order", refuse)
    result = run(loaded, request(), silent)
    assert result.grids[0].complete
    assert result.correlations == (None, None, None)
    assert ("first picture", "none, for want of memory") in [(c.name, c.text) for c in result.checks]


def test_figures_say_what_belongs_together_and_mark_the_peak():
    result = run(tiny_loaded("llama"), request(LONGER), silent)
    drawn = figures(result)
    pictures = [figure for figure in drawn if isinstance(figure, Heatmap)]
    assert [picture.title.split(" · ")[0] for picture in pictures] == [
        "Patched states",
        "Patched mlp",
        "Patched attention",
    ]
    lines = [line.text for figure in drawn if isinstance(figure, Lines) for line in figure.lines]
    assert lines[0].startswith("“.” − “,” is ")
    assert any(line.startswith("aligned (prompt:source) 0–") for line in lines)
    labels = pictures[0].rows.labels
    assert any("←" in label for label in labels)
    peak = result.grids[0].peak
    assert pictures[0].peaks == ((peak.token, peak.layer),)
    assert (pictures[0].scale.low, pictures[0].scale.high) == (0, 1)
    noising = figures(run(tiny_loaded("llama"), request(LONGER, direction="noising"), silent))
    (scale, *_) = [figure.scale for figure in noising if isinstance(figure, Heatmap)]
    assert (scale.low, scale.high) == (1, 0)


def test_the_tokenizer_is_the_tiny_one():
    """The sources have the lengths that the tests above mean."""
    lengths = [len(encode(tiny_tokenizer(), Case(prompt=text)).ids) for text in (CASE.prompt, ALIKE, LONGER)]
    assert lengths[0] == lengths[1] < lengths[2]
