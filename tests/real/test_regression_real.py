"""The suite of the default case, as the unedited default model answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.datasets.suites import suite_for
from workbench.editing.suite.held_out import perplexity
from workbench.editing.suite.regression import run_suite

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")


def test_the_default_case_before_any_edit(default_model: LoadedModel) -> None:
    suite = suite_for(HERO)
    assert suite is not None
    result = run_suite(default_model, suite, generate=False, held_out=False)
    outcomes = {(outcome.fact, outcome.prepend): outcome for outcome in result.outcomes}

    rewrite = outcomes[0, "as-is"].after
    assert (rewrite.target, rewrite.against) == pytest.approx((0.341, 0.362), abs=0.005)
    assert (rewrite.top, rewrite.passes, rewrite.exact) == (" Sydney", False, False)
    after = outcomes[0, "separator"].after
    assert (after.target, after.against) == pytest.approx((0.456, 0.418), abs=0.005)
    assert after.passes
    assert after.exact

    # The phrasing that begins with its subject is lost as it stands, and known after BOS or separator.
    [first] = [index for index, fact in enumerate(suite.facts) if fact.prompt.startswith("Australia ")]
    assert outcomes[first, "as-is"].first_position
    assert not outcomes[first, "separator"].first_position

    for role in ("neighborhood", "unrelated", "attribute"):
        score = result.score(role, "separator")
        assert score is not None
        assert (score.score, score.exact) == (1.0, 1.0)
    assert all(outcome.before == outcome.after for outcome in result.outcomes)


def test_the_held_out_perplexity(default_model: LoadedModel) -> None:
    assert perplexity(default_model) == pytest.approx(23.94, abs=0.1)
