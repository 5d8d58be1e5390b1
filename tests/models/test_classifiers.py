"""Fitting classifiers on states."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from workbench.models.classifiers import fitted

STATES = np.random.RandomState(0).randn(60, 4) + 2 * (np.arange(60)[:, None] // 30)
CLASSES = np.arange(60) // 30


class Noting(LogisticRegression):  # type: ignore[misc]
    """Notes how many threads libraries may use while it is fitted."""

    def fit(self, *given: Any) -> Any:
        self.threads_ = threads()
        return super().fit(*given)


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info()}


def test_states_are_standardised_and_told_apart() -> None:
    probe, alone = fitted(LogisticRegression(), STATES, CLASSES), LogisticRegression()
    alone.fit((STATES - STATES.mean(axis=0)) / STATES.std(axis=0), CLASSES)
    np.testing.assert_allclose(probe[-1].coef_, alone.coef_, atol=1e-6)
    assert probe.score(STATES, CLASSES) > 0.8


def test_it_has_one_thread_and_leaves_the_others_to_the_rest() -> None:
    with threadpool_limits(2):
        before = threads()
        assert before == {2}
        assert fitted(Noting(), STATES, CLASSES)[-1].threads_ == {1}
        assert threads() == before
