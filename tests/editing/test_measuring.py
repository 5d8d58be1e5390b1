"""Defaults by measure: candidates, the best layer kept by fingerprint, and a trace's window as a share of depth."""

from __future__ import annotations

from typing import Any

import pytest

from tests.methods.cot_models import roomy
from tests.tiny import tiny_loaded
from workbench.datasets.suites import Suite, suite_for
from workbench.editing import layers, measuring
from workbench.editing.carried import carried_over
from workbench.editing.editors import EDITORS, editor
from workbench.editing.layers import chosen_layer, chosen_layers, keep_layer, measured_layer
from workbench.editing.measuring import MeasureRequest, run
from workbench.errors import InputError, ModelError
from workbench.methods.tracing import sweep
from workbench.methods.tracing.setup import default_window
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request
from workbench.settings import filled


def short_suite(case: Any) -> Suite | None:
    """One fact of each role that is scored, instead of sixty."""
    whole = suite_for(case)
    assert whole is not None
    roles = ("rewrite", "paraphrase", "neighborhood")
    return whole.model_copy(update={"facts": tuple(next(f for f in whole.facts if f.role == role) for role in roles)})


def test_the_layer_at_which_edits_do_best_is_kept_as_the_default_of_these_weights(monkeypatch: Any) -> None:
    monkeypatch.setattr(measuring, "suite_for", short_suite)
    model = roomy("llama")
    assert chosen_layer(model, None) == (0, "20% of the depth, not measured: try --sweep")
    result = run(model, MeasureRequest(facts=2, records=1, layers=(0, 2), prefixes=0), silent)
    assert [score.layer for score in result.scores] == [0, 2]
    best = max(result.scores, key=lambda each: (each.score, -each.perplexity))
    assert result.best == best.layer == measured_layer(model.info.fingerprint)
    assert chosen_layer(model, None) == (best.layer, "measured on this model")
    assert chosen_layer(model, 1) == (1, "asked for")
    assert model.edits.entries == ()
    assert chosen_layer(roomy("llama", seed=1), None)[1] != "measured on this model"
    figures = method("measure").figures(result)
    assert any("edits do best" in str(figure) for figure in figures)


def test_layers_around_the_measured_one_are_the_default_of_edits_that_are_spread() -> None:
    model = tiny_loaded("llama")
    keep_layer(model.info.fingerprint, 2)
    assert chosen_layers(model, ()) == ((0, 1, 2), "around layer 2, measured on this model")


def test_candidates_are_spread_over_the_depth_with_the_one_that_a_trace_points_at() -> None:
    assert measuring._candidates(30, ()) == (3, 6, 9, 12, 16)
    effect = tuple(1.0 if layer == 20 else 0.0 for layer in range(30))
    assert measuring._candidates(30, effect) == (3, 6, 9, 12, 16, 20)
    assert measuring._candidates(2, ()) == (0, 1)


def test_the_facts_are_of_many_relations_and_each_new_answer_is_another() -> None:
    chosen = list(measuring._facts(10))
    assert len({relation.id for relation, _ in chosen}) == 10
    record = measuring._record(*chosen[0])
    assert record.case.target != record.case.foil
    assert record.case.foil == chosen[0][1].object


def test_what_cannot_be_measured_is_one_sentence() -> None:
    with pytest.raises(InputError, match="there is no layer 9"):
        run(tiny_loaded("llama"), MeasureRequest(layers=(9,)), silent)
    with pytest.raises(ModelError, match="mixture of experts"):
        run(tiny_loaded("mixtral"), MeasureRequest(), silent)


@pytest.mark.parametrize(("layers", "window"), [(48, 10), (30, 10), (18, 6), (12, 4), (3, 1), (2, 1)])
def test_a_trace_s_window_is_as_published_but_no_more_than_a_third_of_the_layers(layers: int, window: int) -> None:
    assert default_window(layers) == window


def test_a_window_is_clipped_at_both_ends_as_published() -> None:
    assert list(sweep.window(12, 10, 30)) == list(range(7, 17))
    assert list(sweep.window(2, 10, 30)) == list(range(7))
    assert list(sweep.window(28, 10, 30)) == list(range(23, 30))


def test_a_window_of_more_than_a_third_says_so() -> None:
    case = {"prompt": "The capital of Australia is ", "subject": "Australia", "target": "a"}
    for kinds, window, said in ((("mlp",), 2, True), (("mlp",), 1, False), (("states",), 2, False)):
        asked = request("trace", case=case, kinds=kinds, window=window, samples=2, estimate=False)
        checks = method("trace").run(tiny_loaded("llama"), asked, silent).checks
        assert any(check.name == "window" and "more than a third" in check.text for check in checks) == said


def test_what_was_measured_on_these_weights_goes_before_what_is_known_of_the_model(monkeypatch: Any) -> None:
    model = tiny_loaded("llama")
    info = model.info
    monkeypatch.setitem(layers.LAYERS, (info.architecture, info.layers, info.d_model), 1)
    assert chosen_layer(model, None) == (1, "known for this model")
    keep_layer(info.fingerprint, 2)
    assert chosen_layer(model, None) == (2, "measured on this model")


def test_of_equal_scores_the_layer_counts_that_the_table_has() -> None:
    found = [(3, 1.0, -0.01), (5, 1.0, 0.02), (8, 0.5, -0.1)]
    scores = [measuring.LayerScore(layer=layer, score=score, perplexity=change) for layer, score, change in found]
    assert measuring.best_of(scores, 5) == 5
    assert measuring.best_of(scores, None) == 3
    assert measuring.best_of(scores, 8) == 3


def test_a_default_that_was_measured_on_another_model_says_so(monkeypatch: Any) -> None:
    info = tiny_loaded("llama").info
    grace, memit = editor("grace"), editor("memit")
    (said,) = carried_over(memit, memit.settings(), info)
    assert said.text == "covariance 1500 as measured on the default model, not on this one"
    assert carried_over(memit, filled(memit.settings, {"covariance": "500"}), info) == ()
    assert carried_over(grace, grace.settings(), info)[0].text.startswith("radius as measured on the default model")
    assert grace.where(info) == "1, 28% of the depth, not measured on this model"
    monkeypatch.setattr(layers, "DEFAULT_MODEL", (info.architecture, info.layers, info.d_model))
    assert carried_over(memit, memit.settings(), info) == ()
    assert grace.where(info) == "1, 28% of the depth"


def test_every_default_that_an_editor_says_was_measured_is_one_of_its_settings() -> None:
    for by in map(editor, EDITORS):
        assert set(by.measured) <= set(by.settings.model_fields)
