"""Erasing a concept from the default model: what only a real model shows, that it was there and what the edit costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.editing.editors.erasure.effects import unrelated_facts
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import ErasureSettings
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

NURSE = Case(prompt="The nurse was late because", target=" she", foil=" he")


def test_pronoun_gender_is_read_before_and_not_after_and_little_else_changes(default_model: LoadedModel) -> None:
    settings = ErasureSettings(concept="pronoun-gender", layers=(12,), limit=300, above=False)
    request = EditRequest(editor="leace", case=NURSE, settings=settings, test=False)
    result = edit.run(default_model, request, silent)
    try:
        found = result.details
        assert isinstance(found, Erased)
        row = found.at(12)
        assert row is not None
        assert row.before.texts > 0.75
        assert row.after.texts <= found.majority.texts + 0.03
        assert row.after.templates is not None
        assert row.after.templates <= 0.53
        assert row.rank == 1
        assert row.class_means[1] < 1e-6 < 1e-2 < row.class_means[0]
        assert row.nonlinear_after.texts > 0.6  # the guarantee is about linear readers, and this shows it
        effects = found.effects
        assert effects is not None
        assert effects.perplexity_change < 0.03
        assert effects.known >= 30
        assert effects.kept >= effects.known - 3
        assert effects.case is not None
        assert effects.case.before.logit_difference is not None
        assert effects.case.after.logit_difference is not None
        assert effects.case.after.logit_difference[-1] < effects.case.before.logit_difference[-1]
        assert {check.name: check.level for check in result.checks}["in the model"] == "ok"
    finally:
        for entry in default_model.edits.entries:
            default_model.edits.remove(entry.info.id)


def test_the_unrelated_facts_are_forty_and_of_every_relation() -> None:
    suite = unrelated_facts()
    assert len(suite.facts) == 40
    assert len({fact.prompt for fact in suite.facts}) == 40
