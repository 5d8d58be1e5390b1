"""The one loop that generates, against texts that are continued one by one and run from their start every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import workbench
from tests.methods.cot_models import greedy, roomy
from tests.models.test_prefixes import truncations
from tests.tiny import ARCHITECTURES, tiny_loaded
from workbench.errors import Cancelled, NumericalError, OutOfMemory
from workbench.loading import LoadedModel
from workbench.models.forward import decoding
from workbench.models.forward.decoding import Ids, TextBatch, decode, generate, one_by_one
from workbench.models.forward.sampling import TOP_K, document_start, drawn, sample

ROWS: list[Ids] = [(5, 6, 7), (8,), (9, 10, 11, 12, 13, 14)]


def likeliest(_rows: Sequence[int], _at: Sequence[int], logits: torch.Tensor) -> list[int]:
    return logits.argmax(dim=-1).tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_texts_of_any_length_together_go_on_as_each_by_itself(architecture: str) -> None:
    model = roomy(architecture)
    stops = set(range(0, 300, 7))  # some rows end early

    def choose(row: int, at: int, logits: torch.Tensor) -> int:
        token = int(logits.argmax())
        return -1 if token in stops else token

    rows = truncations(model)[1]
    assert [list(new) for new in generate(model, rows, 9, one_by_one(choose))] == [
        greedy(model, list(row), 9, stops) for row in rows
    ]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_sampled_text_is_drawn_token_by_token_with_the_numbers_of_its_seed(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_loaded(architecture)
    monkeypatch.setattr("workbench.models.forward.sampling.NUMBERS", 2)
    monkeypatch.setattr("workbench.models.forward.decoding.ROWS", {"cpu": 1})
    random = np.random.RandomState(4)
    expected = []
    for rows in (2, 1):  # as many as go together
        chances = random.rand(5, rows)
        for row in range(rows):
            text = list(document_start(model))
            for chance in chances[:, row]:
                with torch.no_grad():
                    logits = model.hf(torch.tensor([text]), use_cache=False).logits[0, -1].float()
                top = logits.topk(TOP_K)
                sums = top.values.double().softmax(dim=-1).cumsum(dim=-1)
                text.append(next(int(i) for i, total in zip(top.indices, sums, strict=True) if total >= chance))
            expected.append(text)
    assert sample(model, 3, 5, seed=4).tolist() == expected


def test_a_token_is_drawn_by_its_share_of_the_probability_and_never_one_that_is_ruled_out() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert drawn(logits.expand(7, -1), 4, (0.0, 0.49, 0.51, 0.79, 0.81, 0.96, 1.0)) == [0, 0, 1, 1, 2, 3, 3]
    assert drawn(logits.expand(3, -1), 2, (0.62, 0.63, 1.0)) == [0, 1, 1]  # 0.5 of 0.8 is 0.625
    assert drawn(logits.expand(2, -1), 2, (0.66, 0.67), never=[0]) == [1, 2]


def test_what_is_wanted_of_a_text_that_stops_can_be_kept_and_its_last_token_is_run() -> None:
    model = tiny_loaded("llama")
    heard: list[tuple[Ids, Ids, int]] = []
    batch = TextBatch(model, ROWS)

    def stopped(place: int, row: int, new: Ids) -> None:
        heard.append((ROWS[row], new, int(batch.mask[place].sum())))

    new = decode(batch, [2, 4, 3], likeliest, stopped=stopped)
    assert [len(tokens) for tokens in new] == [2, 4, 3]
    assert sorted(heard) == sorted((row, more, len(row) + len(more)) for row, more in zip(ROWS, new, strict=True))
    assert batch.computed == 3 * max(map(len, ROWS)) + 2 + 4 + 3


def test_nothing_is_run_after_the_last_token_that_is_wanted() -> None:
    model = tiny_loaded("llama")
    batch, reports = TextBatch(model, ROWS), list[int]()
    new = decode(batch, [2, 4, 0], likeliest, reports.append)
    assert [len(tokens) for tokens in new] == [2, 4, 0]
    assert batch.computed == 3 * max(map(len, ROWS)) + 1 + 3
    assert reports == [1, 2, 3]


def test_it_can_be_cancelled_before_every_run() -> None:
    model = tiny_loaded("llama")
    heard: list[int] = []

    def count(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
        heard.append(done)
        assert (total, stage) == (4 * len(ROWS), "writing")

    generate(model, ROWS, 4, likeliest, count, "writing")
    assert heard == [0, 3, 6, 9]
    for runs in range(4):
        ran: list[int] = []

        def stop(done: int, total: int, partial: object = None, *, stage: str = "", ran: list[int] = ran) -> None:
            ran.append(done)
            if len(ran) > runs:  # noqa: B023 - called within the loop
                raise Cancelled

        with pytest.raises(Cancelled):
            generate(model, ROWS, 4, likeliest, stop)


def test_memory_that_runs_out_makes_smaller_batches_that_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_loaded("llama")
    expected = generate(model, ROWS, 4, likeliest)

    class Small(TextBatch):
        most = 1

        def __init__(self, model: LoadedModel, rows: list[Ids]) -> None:
            if len(rows) > self.most:
                raise torch.OutOfMemoryError("full")
            super().__init__(model, rows)

    monkeypatch.setattr(decoding, "TextBatch", Small)
    assert generate(model, ROWS, 4, likeliest) == expected
    Small.most = 0
    with pytest.raises(OutOfMemory):
        generate(model, ROWS, 4, likeliest)


def test_logits_that_give_no_probabilities_are_an_error_and_a_token_that_cannot_come_is_none() -> None:
    model = tiny_loaded("gpt2")
    logits = torch.zeros(2, 5)
    logits[:, 3] = -torch.inf
    decoding.check_finite(model, logits)
    for wrong in (torch.inf, torch.nan):
        logits[1, 3] = wrong
        with pytest.raises(NumericalError, match="not finite in float32"):
            decoding.check_finite(model, logits)


def test_no_rows_give_no_texts() -> None:
    assert generate(tiny_loaded("gpt2"), [], 4, likeliest) == []


def test_nobody_else_generates() -> None:
    root = Path(workbench.__file__).parent
    caching = {str(file.relative_to(root)) for file in root.rglob("*.py") if "use_cache=True" in file.read_text()}
    one_run = {
        f"models/{name}.py" for name in ("forward/runs", "forward/resume", "forward/unembedding", "heads", "structure")
    }
    assert caching - one_run == {"models/forward/decoding.py"}
