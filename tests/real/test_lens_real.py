"""What the default model says, as the facts of this project are told in its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.methods.generation import continuation
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens import logit_lens
from workbench.methods.lens.logit_lens import LensColumn, LensRequest, LensResult
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
EIFFEL = Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower", target="Paris")


def last_column(result: LensResult) -> LensColumn:
    column = result.columns[-1]
    assert column is not None
    return column


@pytest.fixture(scope="module")
def hero(default_model: LoadedModel) -> LensResult:
    return logit_lens.run(default_model, LensRequest(case=HERO), silent)


def test_the_eiffel_tower_is_in_paris_and_the_last_layers_know(default_model: LoadedModel) -> None:
    result = logit_lens.run(default_model, LensRequest(case=EIFFEL), silent)
    column = last_column(result)
    assert column.top_tokens[-1][0] == " Paris"
    assert column.top_probabilities[-1][0] == pytest.approx(0.70, abs=0.02)
    assert column.target is not None
    assert column.target.rank[-1] == 1
    assert column.target.rank[0] > 10
    assert column.kl[0] > 1
    assert column.kl[-1] == 0


def test_sydney_is_above_canberra(hero: LensResult) -> None:
    column = last_column(hero)
    assert column.top_tokens[-1][:2] == (" Sydney", " Canberra")
    assert column.top_probabilities[-1][:2] == pytest.approx((0.362, 0.341), abs=0.005)
    assert column.target is not None
    assert column.foil is not None
    assert (column.target.rank[-1], column.foil.rank[-1]) == (2, 1)
    assert column.logit_difference is not None
    assert -0.2 < column.logit_difference[-1] < 0
    assert hero.encoded.subject == (3, 4)


def test_after_a_separator_canberra_leads_and_the_check_says_so(default_model: LoadedModel, hero: LensResult) -> None:
    separated = hero.after_separator
    assert separated is not None
    assert separated.token == " Canberra"
    assert (separated.target, separated.foil) == pytest.approx((0.456, 0.418), abs=0.005)
    check = next(check for check in hero.checks if check.name == "first position")
    assert check.level == "warn"
    assert "becomes “Canberra” 0.46" in check.text

    there = logit_lens.run(default_model, LensRequest(case=HERO.model_copy(update={"prepend": "separator"})), silent)
    assert there.encoded.texts[0] == "<|endoftext|>"
    assert last_column(there).top_tokens[-1][0] == " Canberra"
    assert last_column(there).top_probabilities[-1][0] == pytest.approx(separated.probability, abs=1e-4)
    assert there.after_separator is None


def test_the_lens_ends_in_the_model_s_own_logits(hero: LensResult) -> None:
    parity = hero.checks[0]
    assert (parity.name, parity.level) == ("lens parity", "ok")
    assert float(parity.text) < 1e-4


def test_every_layer_and_token_of_the_model_is_there(default_model: LoadedModel, hero: LensResult) -> None:
    assert hero.layers == default_model.info.layers == 30
    assert hero.encoded.texts == ("The", " capital", " of", " Australia", " is")
    for column in hero.columns:
        assert column is not None
        assert len(column.entropy) == 31
        assert all(0 <= bits <= 15.6 for bits in column.entropy)  # log2 of the vocabulary of 49,152


def test_the_greedy_continuation_begins_with_sydney(default_model: LoadedModel) -> None:
    result = continuation.run(default_model, ContinueRequest(case=HERO), silent)
    first = result.generated[0]
    assert (first.text, first.runner_up) == (" Sydney", " Canberra")
    assert (first.probability, first.runner_up_probability) == pytest.approx((0.362, 0.341), abs=0.005)
    assert result.text.startswith(" Sydney")
    assert len(result.generated) == 12
