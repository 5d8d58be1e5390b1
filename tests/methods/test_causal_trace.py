"""The causal trace against the published procedure, written out here: a complete forward for every cell."""

from __future__ import annotations

import math
import queue

import numpy as np
import pytest
import torch

from tests.tiny import telling, tiny_loaded, tiny_tokenizer
from workbench.case import Case
from workbench.datasets import facts
from workbench.engine import Engine
from workbench.errors import Cancelled, InputError, NotConfirmed, NumericalError, OutOfMemory
from workbench.events import Finished, Progressed
from workbench.methods.tracing import setup as trace_setup
from workbench.methods.tracing import sweep
from workbench.methods.tracing.causal_trace import Peak, TraceGrid, TraceRequest, TraceResult, run
from workbench.models.forward import resume
from workbench.models.tokens import encode
from workbench.protocol import silent

CASE = Case(prompt="The capital of France is the city", subject="France", target=".", foil=",")
SUBJECT = (4, 7)
ALL = ("states", "mlp", "attention")
REPLACEMENT = "Oslo"

five = pytest.mark.parametrize("architecture", telling())


def _published(loaded, request, other_ids=None):
    """Clean and corrupted values and ``{kind: (layers, tokens)}``.

    One forward a cell, of a clean row and corrupted rows, which are given the clean row's output at the restored
    places, as in the published code.
    """
    encoded = encode(loaded.tokenizer, request.case)
    start, stop = encoded.subject
    rows = 1 + (1 if other_ids else request.samples)
    ids = torch.tensor([encoded.ids] * rows)
    if other_ids:
        ids[1] = torch.tensor(other_ids)
    stream = np.random.RandomState(request.seed)

    def corrupt(_module, _args, output):
        if not other_ids:
            drawn = stream.randn(rows - 1, stop - start, output.shape[-1])
            output[1:, start:stop] += torch.from_numpy(drawn * request.noise_std)

    def read(logits):
        if request.read == "difference":
            return logits[:, encoded.target.id] - logits[:, encoded.foil.id]
        return logits.softmax(dim=-1)[:, int(logits[0].argmax())]

    def forward(places, token):
        def restore(_module, _args, output):
            states = output[0] if isinstance(output, tuple) else output
            states.view(rows, -1, states.shape[-1])[1:, token] = states.view(rows, -1, states.shape[-1])[0, token]

        stream.seed(request.seed)  # the same noise for every cell
        handles = [loaded.embedding.register_forward_hook(corrupt)]
        handles += [place.register_forward_hook(restore) for place in places]
        try:
            with torch.no_grad():
                values = read(loaded.hf(ids, use_cache=False).logits[:, -1])
        finally:
            for handle in handles:
                handle.remove()
        return float(values[0]), float(values[1:].mean())

    layers, width = loaded.info.layers, request.window
    modules = {
        "states": lambda layer: [loaded.block_modules[layer]],
        "mlp": lambda layer: [loaded.mlp(at) for at in _layers(layer, width, layers)],
        "attention": lambda layer: [loaded.attention(at) for at in _layers(layer, width, layers)],
    }
    grids = {
        kind: [
            [forward(modules[kind](layer), token)[1] for token in range(len(encoded.ids))] for layer in range(layers)
        ]
        for kind in request.kinds
    }
    return *forward([], 0), grids


def _layers(layer, width, layers):
    return range(max(0, layer - width // 2), min(layers, layer - (-width // 2)))


@five
@pytest.mark.parametrize("window", [2])
def test_every_cell_equals_the_published_procedure(architecture, window):
    loaded = tiny_loaded(architecture)
    noisy = TraceRequest(case=CASE, kinds=ALL, noise_std=0.5, samples=2, window=window)
    replaced = TraceRequest(case=CASE, kinds=ALL, replacement=REPLACEMENT, window=window, read="difference")
    other = encode(
        loaded.tokenizer, CASE.model_copy(update={"prompt": "The capital of Oslo is the city", "subject": None})
    )
    for request, ids in ((noisy, None), (replaced, other.ids)):
        result = run(loaded, request, silent)
        clean, corrupted, grids = _published(loaded, request, ids)
        assert result.clean == pytest.approx(clean, abs=1e-5)
        assert result.corrupted == pytest.approx(corrupted, abs=1e-5)
        for kind in ALL:
            grid = result.grid(kind)
            assert grid.complete
            found, expected = torch.tensor(grid.values), torch.tensor(grids[kind])
            assert (found - expected).abs().max() < 1e-5
            assert expected.std() > 1e-4  # the cells differ, so a mistake would show
        path = next(check for check in result.checks if check.name == "path")
        assert path.text.startswith("resumed")


def test_only_the_work_that_can_matter_is_done():
    """Blocks above the restored one alone, on tokens from the restored one on alone, and together in batches."""
    loaded, samples, layers, tokens = tiny_loaded("llama"), 3, 3, 10
    done, calls = 0, 0

    def count(_module, args):
        nonlocal done, calls
        rows, own = args[0].shape[:2]
        if rows % samples == 0:  # the check and the noting of arguments run one row or two
            done, calls = done + rows * own, calls + 1
        assert own == tokens or own <= tokens - SUBJECT[0]

    for block in loaded.block_modules:
        block.register_forward_pre_hook(count)
    request = TraceRequest(case=CASE, noise_std=0.5, samples=samples, estimate=False)
    result = run(loaded, request, silent)
    assert len(result.encoded.ids) == tokens
    suffixes = sum(tokens - token for token in range(SUBJECT[0], tokens))
    assert done == samples * suffixes * (2 + 1 + 0)  # restored after the first block: two blocks to go, and so on
    assert calls == (tokens - SUBJECT[0]) * (layers - 1)


@pytest.mark.parametrize("read", ["probability", "difference"])
def test_the_plain_way_gives_the_same_and_says_that_it_was_taken(monkeypatch, read):
    loaded = tiny_loaded("gpt_neox")
    request = TraceRequest(case=CASE, kinds=ALL, noise_std=0.5, samples=2, window=2, read=read)
    fast = run(loaded, request, silent)
    monkeypatch.setattr(resume.Resumed, "parity", lambda self, token: 1.0)
    plain = run(loaded, request, silent)
    for one, other in zip(fast.grids, plain.grids, strict=True):
        assert (torch.tensor(one.values) - torch.tensor(other.values)).abs().max() < 1e-5
    assert [check.text for check in plain.checks if check.name == "path"] == ["plain, as resumed runs are off by 1e+00"]


@pytest.mark.parametrize("width", [1, 2, 3])
def test_windows_of_every_width_are_clipped_as_published(width):
    loaded = tiny_loaded("llama")
    request = TraceRequest(case=CASE, kinds=("mlp",), noise_std=0.5, samples=1, window=width)
    expected = _published(loaded, request)[2]["mlp"]
    assert (torch.tensor(run(loaded, request, silent).grids[0].values) - torch.tensor(expected)).abs().max() < 1e-5


def test_the_default_noise_is_three_standard_deviations_of_the_shipped_subjects(monkeypatch):
    loaded = tiny_loaded("gemma2")  # which multiplies its embeddings
    monkeypatch.setattr(trace_setup, "subjects", lambda: ("Rome", "France"))
    ids = [*tiny_tokenizer()("Rome")["input_ids"], *tiny_tokenizer()("France")["input_ids"]]
    std = loaded.hf.model.embed_tokens.weight[ids].std().item() * math.sqrt(loaded.info.d_model)
    result = run(loaded, TraceRequest(case=CASE, samples=1), silent)
    assert result.noise_std == pytest.approx(3 * std, rel=1e-5)
    double = run(loaded, TraceRequest(case=CASE, samples=1, noise=6.0), silent)
    assert double.noise_std == pytest.approx(6 * std, rel=1e-5)


def test_the_seed_decides_the_noise():
    loaded = tiny_loaded("llama")
    one, again, other = (
        run(loaded, TraceRequest(case=CASE, noise_std=0.5, samples=2, seed=seed), silent) for seed in (1, 1, 2)
    )
    assert one == again
    assert one.corrupted != other.corrupted


def test_tokens_before_the_subject_have_the_corrupted_value():
    result = run(tiny_loaded("llama"), TraceRequest(case=CASE, kinds=ALL, noise_std=0.5, samples=2), silent)
    for grid in result.grids:
        assert all(value == result.corrupted for row in grid.values for value in row[: SUBJECT[0]])
        assert all(value is not None and value != result.corrupted for value in grid.values[0][SUBJECT[0] : 7])


def test_restoring_the_last_state_of_the_last_token_restores_everything():
    result = run(tiny_loaded("llama"), TraceRequest(case=CASE, noise_std=0.5, samples=2), silent)
    assert result.grids[0].values[-1][-1] == pytest.approx(result.clean, abs=1e-6)
    assert result.share(result.clean) == 1
    assert result.share(result.corrupted) == 0


def test_the_probability_of_the_target_is_read_when_that_is_asked_for():
    loaded = tiny_loaded("llama")
    encoded = encode(loaded.tokenizer, CASE)
    p = loaded.hf(torch.tensor([encoded.ids])).logits[0, -1].softmax(dim=-1)
    top = run(loaded, TraceRequest(case=CASE, noise_std=0.5, samples=1), silent)
    target = run(loaded, TraceRequest(case=CASE, noise_std=0.5, samples=1, answer="target"), silent)
    assert (top.clean, top.answer) == (pytest.approx(float(p.max()), abs=1e-6), top.top)
    assert target.clean == pytest.approx(float(p[encoded.target.id]), abs=1e-6)
    assert target.answer == encoded.target.text
    warning = next(check for check in top.checks if check.name == "clean answer")
    assert warning.level == "warn"
    assert f"not the target “{encoded.target.text}”" in warning.text


def test_a_clean_answer_that_is_the_target_needs_no_word():
    loaded = tiny_loaded("llama", seed=1)
    case = Case(prompt=f"{CASE.prompt} ", subject="France")
    bare = run(loaded, TraceRequest(case=case, samples=1), silent)
    result = run(loaded, TraceRequest(case=case.model_copy(update={"target": bare.top}), samples=1), silent)
    assert result.encoded.target.text == bare.top
    assert "clean answer" not in [check.name for check in result.checks]


def test_a_corruption_that_changes_nothing_is_said():
    loaded = tiny_loaded("llama")
    nothing = run(loaded, TraceRequest(case=CASE, noise_std=1e-9, samples=2), silent)
    something = run(loaded, TraceRequest(case=CASE, noise_std=2.0, samples=8), silent)
    floor = next(check for check in nothing.checks if check.name == "floor and ceiling")
    assert (floor.level, floor.text.endswith("the corruption changes nothing")) == ("warn", True)
    assert "nothing" not in next(c.text for c in something.checks if c.name == "floor and ceiling")


def test_a_corruption_that_raises_the_answer_is_said_and_peaks_downwards():
    loaded = tiny_loaded("llama")
    case = CASE.model_copy(update={"target": CASE.foil, "foil": CASE.target})
    for asked in (CASE, case):
        request = TraceRequest(case=asked, noise_std=2.0, samples=4, read="difference", kinds=("mlp",))
        result = run(loaded, request, silent)
        values = [value for row in result.grids[0].values for value in row[SUBJECT[0] :]]
        floor = next(check for check in result.checks if check.name == "floor and ceiling")
        if result.clean > result.corrupted:
            assert result.grids[0].peak.value == max(values)
            assert floor.level == "ok"
        else:
            assert result.grids[0].peak.value == min(values)
            assert floor.text.endswith("the corruption raises it")


def test_the_peak_of_the_states_leaves_out_the_last_token():
    grid = TraceGrid(kind="states", values=((0.1, 0.4, 0.2), (0.1, 0.3, 0.9)), exact=((True,) * 3,) * 2)
    assert grid.peak_among(range(2)) == Peak(layer=0, token=1, value=0.4)
    assert grid.peak_among(range(3)) == Peak(layer=1, token=2, value=0.9)
    assert grid.peak_among(range(3), rises=False) == Peak(layer=0, token=0, value=0.1)
    assert grid.peak_among([]) is None
    result = run(tiny_loaded("llama"), TraceRequest(case=CASE, noise_std=2.0, samples=4), silent)
    peak = result.grids[0].peak
    assert SUBJECT[0] <= peak.token < len(result.encoded.ids) - 1
    assert result.grids[0].values[peak.layer][peak.token] == peak.value


# --- The first picture ---


class _Watched:
    """Keeps every partial result; cancels after some."""

    def __init__(self, stop_after=None):
        self.partials, self.reports, self._stop_after = [], [], stop_after

    def __call__(self, done, total, partial=None, *, stage=""):
        self.reports.append((done, total, stage))
        if partial is not None:
            self.partials.append(partial)
        if self._stop_after is not None and len(self.partials) > self._stop_after:
            raise Cancelled


@pytest.mark.parametrize("kind", ALL)
def test_the_first_picture_is_close_for_a_small_corruption(kind):
    watched = _Watched()
    request = TraceRequest(case=CASE, kinds=(kind,), noise_std=0.01, samples=2, window=1, read="difference")
    result = run(tiny_loaded("gpt2"), request, watched)
    first, last = watched.partials[0].grids[0], result.grids[0]
    assert not any(first.exact[0][SUBJECT[0] :])
    effect = torch.tensor(last.values) - result.corrupted
    error = torch.tensor(first.values) - torch.tensor(last.values)
    assert error.abs().max() < 0.1 * effect.abs().max()


def test_exact_cells_replace_the_estimate_column_by_column_the_most_promising_first():
    watched = _Watched()
    result = run(tiny_loaded("llama"), TraceRequest(case=CASE, kinds=("mlp",), noise_std=0.5, samples=2), watched)
    first = watched.partials[0].grids[0]
    change = [max(abs(row[token] - result.corrupted) for row in first.values) for token in range(len(first.values[0]))]
    expected = sorted(range(SUBJECT[0], len(change)), key=lambda token: -change[token])
    order, known = [], first.exact[0]
    for partial in watched.partials[1:]:
        grid = partial.grids[0]
        new = [token for token, exact in enumerate(grid.exact[0]) if exact and not known[token]]
        order += new
        known = grid.exact[0]
        for row, exact, final, guess in zip(grid.values, grid.exact, result.grids[0].values, first.values, strict=True):
            assert [v for v, e in zip(row, exact, strict=True) if e] == [
                v for v, e in zip(final, exact, strict=True) if e
            ]
            assert [v for v, e in zip(row, exact, strict=True) if not e] == [
                v for v, e in zip(guess, exact, strict=True) if not e
            ]
    assert order == expected
    done = [report[0] for report in watched.reports if report[2] == "exact cells"]
    assert done == sorted(done)
    assert done[-1] == watched.reports[-1][1]


def test_a_partial_trace_says_how_much_of_it_is_exact():
    watched = _Watched(stop_after=2)
    with pytest.raises(Cancelled):
        run(tiny_loaded("llama"), TraceRequest(case=CASE, noise_std=0.5, samples=2), watched)
    cells = next(check for check in watched.partials[-1].checks if check.name == "cells")
    exact = sum(cell for row in watched.partials[-1].grids[0].exact for cell in row)
    assert cells.text == f"{exact} of {3 * 10} exact"
    assert cells.level == "warn"
    assert watched.partials[0].grids[0].peak is not None or exact > 0


def test_without_the_estimate_cells_are_missing_until_they_are_exact():
    watched = _Watched()
    request = TraceRequest(case=CASE, noise_std=0.5, samples=2, estimate=False)
    result = run(tiny_loaded("llama"), request, watched)
    assert result.grids[0].complete
    assert watched.partials[0].grids[0].values[0][-1] is None or watched.partials[0].grids[0].values[0][4] is None
    with_estimate = run(tiny_loaded("llama"), request.model_copy(update={"estimate": True}), silent)
    assert with_estimate.grids == result.grids


def test_too_little_memory_for_the_estimate_does_not_stop_the_trace(monkeypatch):
    def refuse(*_):
        raise OutOfMemory("no room")

    monkeypatch.setattr(sweep, "first_order", refuse)
    result = run(tiny_loaded("llama"), TraceRequest(case=CASE, noise_std=0.5, samples=2), silent)
    assert result.grids[0].complete
    assert ("first picture", "none, for want of memory") in [(c.name, c.text) for c in result.checks]


def test_a_result_survives_json_partial_or_not():
    watched = _Watched()
    request = TraceRequest(case=CASE, kinds=ALL, noise_std=0.5, samples=1, estimate=False)
    result = run(tiny_loaded("llama"), request, watched)
    for one in (*watched.partials, result):
        assert TraceResult.model_validate_json(one.model_dump_json()) == one


# --- What cannot be traced ---


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"case": Case(prompt="The city of Rome is")}, "needs a subject"),
        ({"case": Case(prompt="Rome", subject="Rome")}, "covers the whole prompt"),
        ({"case": Case(prompt="T", subject="T")}, "single token"),
        ({"case": Case(prompt="T")}, "single token"),
        ({"case": Case(prompt="The city", subject="Rome")}, "is not in the prompt"),
        ({"case": CASE.model_copy(update={"foil": CASE.target})}, "begin with the same token"),
        ({"case": CASE.model_copy(update={"foil": None}), "read": "difference"}, "needs a target and a foil"),
        ({"case": CASE.model_copy(update={"target": None}), "answer": "target"}, "there is no target"),
        ({"samples": 0}, "at least 1 sample, not 0"),
        ({"window": 4}, "must be 1 to 3 layers, all that the model has, not 4"),
        ({"window": 0}, "must be 1 to 3 layers"),
        ({"noise": 0.0}, "noise must be more than 0"),
        ({"noise_std": -1.0}, "noise must be more than 0"),
        ({"noise_std": math.inf}, "noise must be more than 0"),
        ({"seed": -1}, "seed must be between"),
        ({"kinds": ()}, "each kind once"),
        ({"kinds": ("states", "states")}, "each kind once"),
        ({"replacement": "France"}, "is the subject itself"),
        ({"replacement": "  "}, "replacement is empty"),
        ({"replacement": "Australia"}, r'"Australia" has 4 tokens here and the subject "France" has 3; try "'),
    ],
)
def test_what_cannot_be_traced_is_a_sentence(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("llama"), TraceRequest(**{"case": CASE, **changes}), silent)


def test_a_replacement_may_not_change_the_tokens_around_it():
    case = Case(prompt="in Paris is the city", subject="Paris")  # in · Par is, and with the other: in ·c a b
    with pytest.raises(InputError, match=r'"cab" changes tokens of the prompt outside the subject'):
        run(tiny_loaded("llama"), TraceRequest(case=case, replacement="cab"), silent)


def test_subjects_of_the_same_relation_are_proposed_first(monkeypatch):
    relation = next(relation for relation in facts.shipped_facts() if len(relation.facts) > 2)
    subject = relation.facts[-1].subject
    case = Case(prompt=relation.prompts(subject)[0], subject=subject)
    proposed = trace_setup._like_subjects(case)
    assert set(proposed) == set(facts.subjects())
    assert set(proposed[: len(relation.facts)]) == {fact.subject for fact in relation.facts}


def test_a_subject_at_the_end_of_the_prompt_can_be_traced():
    case = Case(prompt="The capital of France", subject="France")
    result = run(tiny_loaded("llama"), TraceRequest(case=case, noise_std=0.5, samples=1), silent)
    assert result.encoded.subject == (3 + 1, 7)
    assert result.grids[0].complete


def test_a_trace_of_hours_begins_only_when_it_is_confirmed(monkeypatch):
    loaded, request = tiny_loaded("llama"), TraceRequest(case=CASE, noise_std=0.5, samples=1)
    monkeypatch.setattr(sweep, "LONG", 0.0)
    with pytest.raises(NotConfirmed, match=r"about 0\.0 hours;"):
        run(loaded, request, silent)
    assert run(loaded, request.model_copy(update={"confirmed": True}), silent).grids[0].complete


def test_nan_logits_are_an_error_not_a_grid():
    loaded = tiny_loaded("llama")
    loaded.hf.model.norm.weight.fill_(math.nan)
    with pytest.raises(NumericalError, match="not finite"):
        run(loaded, TraceRequest(case=CASE, noise_std=0.5), silent)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_traced_to_within_its_rounding(dtype):
    request = TraceRequest(case=CASE, kinds=ALL, noise_std=0.5, samples=2)
    exact = run(tiny_loaded("llama"), request, silent)
    half = run(tiny_loaded("llama", dtype=dtype), request, silent)
    for one, other in zip(exact.grids, half.grids, strict=True):
        assert (torch.tensor(one.values) - torch.tensor(other.values)).abs().max() < 0.1


def test_the_engine_cancels_a_trace_and_keeps_what_is_exact():
    loaded = tiny_loaded("llama")
    ended = queue.SimpleQueue()

    def listen(event):
        if isinstance(event, Progressed) and event.partial is not None:
            engine.cancel(event.job)
        if isinstance(event, Finished):
            ended.put(event.step)

    engine = Engine(listen)
    engine._model = loaded
    engine.submit(TraceRequest(case=CASE, kinds=ALL, noise_std=0.5, samples=2))
    step = ended.get(timeout=120)
    assert engine.close(60)
    assert step.status == "partial"
    assert not all(grid.complete for grid in step.result.grids)
