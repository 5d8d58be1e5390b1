"""What a ridge lens makes of the default model's middle layers, on text that it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.terminal import ROOT
from workbench.case import Case
from workbench.datasets.held_out import held_out_text
from workbench.methods.lens.fitting import FitLensRequest, FitLensResult, run
from workbench.methods.lens.patchscope import PatchscopeRequest
from workbench.methods.lens.patchscope import run as run_patchscope
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

LAYER = 16
PAGE = ROOT / "docs" / "diagnosis.md"


def test_it_is_nearer_to_the_answer_than_the_logit_lens_a_constant_and_a_shuffled_fit(
    default_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted on a page, measured on few tokens, to be quick; the documented figures are of 10,000 and 256."""
    monkeypatch.setattr("workbench.methods.lens.held_out.TOKENS", 6)
    monkeypatch.setattr("workbench.methods.lens.held_out.held_out_text", lambda: held_out_text()[:1000])
    fit = run(default_model, FitLensRequest(tokens=600, corpus=str(PAGE)), silent)
    assert isinstance(fit, FitLensResult)
    known, row = fit.about.held_out, LAYER + 1
    assert known.logit[row] > 10
    assert known.lens[row] < known.logit[row] / 5
    assert known.lens_median[row] < known.logit_median[row] / 5
    assert known.shuffled is not None
    for row in range(LAYER, len(known.lens) - 1):
        assert known.lens[row] < 0.8 * known.mean_state
        assert known.lens[row] < 0.8 * known.shuffled[row]
        assert fit.about.check(row - 1).level == "ok"
    some = known.lens[LAYER::4]
    assert list(some) == sorted(some, reverse=True)


def test_a_patchscope_of_a_late_layer_says_where_the_eiffel_tower_is(default_model: LoadedModel) -> None:
    case = Case(prompt="The Eiffel Tower is located in the city of", target="Paris", prepend="separator")
    late = run_patchscope(default_model, PatchscopeRequest(case=case, layer=28), silent)
    early = run_patchscope(default_model, PatchscopeRequest(case=case, layer=2), silent)
    assert late.target is not None
    assert early.target is not None
    assert late.top_tokens[0] == " Paris"
    assert late.target > 10 * early.target
    assert late.kl < early.kl
