"""Probes tell apart what can be told apart, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.editing.editors.erasure.probes import Held, largest_coefficient, linear, majority, nonlinear

RANDOM = np.random.RandomState(0)
CLASSES = np.arange(600) % 2
NOISE = RANDOM.randn(600, 8)


def moved_apart() -> np.ndarray:
    states = NOISE.copy()
    states[:, 3] += 6 * CLASSES
    return states


def exclusive_or() -> tuple[np.ndarray, np.ndarray]:
    """The class is whether two features have the same sign: class means are equal."""
    return NOISE, (NOISE[:, 0] * NOISE[:, 1] > 0).astype(int)


def test_a_linear_probe_finds_a_direction() -> None:
    states = moved_apart()
    probe = linear(states[:400], CLASSES[:400])
    assert Held((states[400:], CLASSES[400:]), None).score(probe).texts > 0.97
    assert largest_coefficient(probe) > 1
    assert abs(probe[-1].coef_).argmax() == 3


def test_a_linear_probe_sees_nothing_where_class_means_are_equal() -> None:
    states = np.concatenate([NOISE[:300], NOISE[:300]])
    probe = linear(states, np.repeat([0, 1], 300))
    assert largest_coefficient(probe) < 1e-6


def test_only_the_nonlinear_probe_reads_an_exclusive_or() -> None:
    states, classes = exclusive_or()
    held = Held((states[400:], classes[400:]), None)
    assert held.score(linear(states[:400], classes[:400])).texts < 0.65
    probe = nonlinear(states[:400], classes[:400], seed=0)
    assert held.score(probe).texts > 0.85


def test_the_nonlinear_probe_is_the_same_with_the_same_seed() -> None:
    states, classes = exclusive_or()
    first, second = (nonlinear(states, classes, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(states), second.predict_proba(states))


def test_guessing_has_the_share_of_the_most_frequent_class() -> None:
    classes = np.array([0] * 30 + [1] * 70)
    guess = majority(NOISE[:100], classes)
    held = Held((NOISE[:10], np.array([1] * 6 + [0] * 4)), (NOISE[:4], np.array([1, 0, 0, 0])))
    assert held.score(guess).texts == pytest.approx(0.6)
    assert held.score(guess).templates == pytest.approx(0.25)
    assert held.share(guess, 1) == 1.0


def test_unseen_templates_are_scored_only_where_there_are_some() -> None:
    states = moved_apart()
    probe = linear(states, CLASSES)
    assert Held((states, CLASSES), None).score(probe).templates is None
    # The same states with the other class each: what is right here is wrong there.
    both = Held((states, CLASSES), (states, 1 - CLASSES)).score(probe)
    assert both.texts == pytest.approx(1 - (both.templates or 0))
