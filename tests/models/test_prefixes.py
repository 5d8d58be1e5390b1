"""Texts that begin alike give what each gives alone, with less computed."""

from __future__ import annotations

import pytest
import torch

from tests.methods.cot_models import greedy, ids, log_probabilities, roomy
from tests.tiny import ARCHITECTURES
from workbench.errors import NumericalError, OutOfMemory
from workbench.models.forward import prefixes as module
from workbench.models.forward.decoding import one_by_one
from workbench.models.forward.prefixes import Prefixes

TEXT = "The capital of Australia is Sydney. It is in the city of Rome. Paris is a city, and so is Sydney."


def truncations(model):
    """The text and its beginnings, each with something else after it, of different lengths."""
    tokens = ids(model, TEXT)
    after = ids(model, "So, what?")
    return tokens, [(*tokens[:n], *after[: 2 + n % 5]) for n in (2, 9, 15, 22, len(tokens))]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_truncations_read_as_if_each_were_run_by_itself(architecture: str) -> None:
    model = roomy(architecture)
    tokens, rows = truncations(model)
    prefixes = Prefixes(model)
    prefixes.keep(tuple(tokens))
    found = prefixes.logits(rows, wanted=[1, 3, 2, 1, 1])
    for row, wanted, logits in zip(rows, [1, 3, 2, 1, 1], found, strict=True):
        expected = log_probabilities(model, list(row))[-wanted:]
        assert logits.shape == expected.shape
        torch.testing.assert_close(logits.log_softmax(dim=-1), expected, atol=2e-4, rtol=0)
    assert prefixes.reuses
    assert prefixes.parity is not None
    assert prefixes.parity < 1e-4
    assert prefixes.computed < len(tokens) + sum(map(len, rows))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_going_on_together_is_greedy_as_each_alone(architecture: str) -> None:
    model = roomy(architecture)
    tokens, rows = truncations(model)
    prefixes = Prefixes(model)
    prefixes.keep(tuple(tokens))
    stops = set(range(0, 300, 7))  # some rows end early

    def choose(row: int, at: int, logits: torch.Tensor) -> int:
        token = int(logits.argmax())
        return -1 if token in stops else token

    steps: list[int] = []
    found = prefixes.go_on(rows, 12, one_by_one(choose), steps.append, keep=True)
    assert [list(new) for new in found] == [greedy(model, list(row), 12, stops) for row in rows]
    assert max(steps) == max(map(len, found))
    computed = prefixes.computed
    again = prefixes.logits([(*row, *new) for row, new in zip(rows, found, strict=True)])
    assert prefixes.computed - computed <= 2 * len(rows) + max(len(row) + 12 for row in rows)  # and the check
    for row, new, logits in zip(rows, found, again, strict=True):
        expected = log_probabilities(model, [*row, *new])[-1]
        torch.testing.assert_close(logits[0].log_softmax(dim=-1), expected, atol=2e-4, rtol=0)


def test_a_model_whose_prefixes_do_not_hold_is_run_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    model = roomy("llama")
    tokens, rows = truncations(model)
    monkeypatch.setattr(module, "PARITY", {"float32": -1.0})
    prefixes = Prefixes(model)
    prefixes.keep(tuple(tokens))
    found = prefixes.logits(rows)
    assert not prefixes.reuses
    for row, logits in zip(rows, found, strict=True):
        torch.testing.assert_close(
            logits[0].log_softmax(dim=-1), log_probabilities(model, list(row))[-1], atol=1e-5, rtol=0
        )
    before = prefixes.computed
    prefixes.logits(rows)
    assert prefixes.computed - before == sum(map(len, rows))


@pytest.mark.parametrize("holds", [True, False])
def test_texts_are_gone_on_from_what_they_begin_with_where_that_holds(
    monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    model = roomy("llama")
    tokens, rows = truncations(model)
    if not holds:
        monkeypatch.setattr(module, "PARITY", {"float32": -1.0})
    prefixes = Prefixes(model)
    prefixes.keep(tuple(tokens))
    found = prefixes.go_on(rows, 3, lambda _rows, _at, logits: logits.argmax(dim=-1).tolist())
    assert [list(new) for new in found] == [greedy(model, list(row), 3, set()) for row in rows]
    assert prefixes.reuses == holds
    assert prefixes.parity is not None


def test_texts_that_share_nothing_are_run_all_the_same() -> None:
    model = roomy("gpt2")
    rows = [tuple(ids(model, text)) for text in ("Rome is big.", "A city of many cities in Australia", "So")]
    for row, logits in zip(rows, Prefixes(model).logits(rows), strict=True):
        expected = log_probabilities(model, list(row))[-1]
        torch.testing.assert_close(logits[0].log_softmax(dim=-1), expected, atol=2e-4, rtol=0)


def test_what_is_kept_beyond_the_budget_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = roomy("llama")
    tokens, rows = truncations(model)
    monkeypatch.setattr(module, "KEPT_BUDGET", 1)
    prefixes = Prefixes(model)
    prefixes.keep(tuple(tokens))
    prefixes.logits(rows, keep=True)
    assert len(prefixes._trunks) == 2
    for row, logits in zip(rows, prefixes.logits(rows), strict=True):
        expected = log_probabilities(model, list(row))[-1]
        torch.testing.assert_close(logits[0].log_softmax(dim=-1), expected, atol=2e-4, rtol=0)


def test_memory_that_runs_out_makes_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = roomy("llama")
    rows = truncations(model)[1]
    start = Prefixes._start

    def small(self: Prefixes, rows: list[tuple[int, ...]], wanted: int) -> object:
        if len(rows) > 1:
            raise torch.OutOfMemoryError("full")
        return start(self, rows, wanted)

    monkeypatch.setattr(Prefixes, "_start", small)
    prefixes = Prefixes(model)
    found = prefixes.go_on(rows, 3, lambda _rows, _at, logits: logits.argmax(dim=-1).tolist())
    assert [list(new) for new in found] == [greedy(model, list(row), 3, set()) for row in rows]

    def never(self: Prefixes, rows: list[tuple[int, ...]], wanted: int) -> object:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Prefixes, "_start", never)
    with pytest.raises(OutOfMemory):
        prefixes.logits(rows)


def test_logits_that_are_not_finite_are_an_error() -> None:
    model = roomy("llama")
    model.embedding.weight.data[:] = float("nan")
    with pytest.raises(NumericalError, match="not finite"):
        Prefixes(model).logits([(1, 2, 3)])
    with pytest.raises(NumericalError, match="not finite"):
        Prefixes(model).go_on([(1, 2, 3)], 2, lambda _rows, _at, logits: logits.argmax(dim=-1).tolist())
