"""Watched generation against complete runs of the plain model without a cache, and its lens and attention by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.test_engine import Listening, listening
from tests.tiny import CONTEXT, telling, tiny_loaded
from workbench.case import Case
from workbench.editing.changes import StateChange, WeightChange
from workbench.editing.patches import save_patch
from workbench.editing.queue import Edit, EditInfo
from workbench.errors import InputError
from workbench.figures import Curves, Figure, Lines, Table
from workbench.loading import LoadedModel
from workbench.methods.generation import continuation
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.watch import WATCH, watching
from workbench.methods.watch.figures import parted
from workbench.methods.watch.result import WatchedText, WatchedToken, WatchRequest, WatchResult
from workbench.methods.watch.watching import _Speaker
from workbench.models.anatomy import tensor_of
from workbench.models.forward.observing import depths
from workbench.models.forward.sampling import sampled
from workbench.models.heads import eager, weights_in
from workbench.models.tokens import continuation_ids, token_text
from workbench.protocol import Result, silent
from workbench.session import Step

__all__ = ["listening"]  # a fixture

PROMPT = "The capital of Australia is"
TOKENS = 11
"""More than the tokens whose depth is read together."""


@pytest.fixture(autouse=True)
def _never_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "stop_ids", lambda _: set())


def watch(model: LoadedModel, tokens: int = TOKENS, prompt: str = PROMPT, **settings: Any) -> WatchResult:
    return watching.run(model, WatchRequest(case=Case(prompt=prompt), tokens=tokens, **settings), silent)


def ids_of(text: WatchedText) -> tuple[int, ...]:
    return tuple(token.id for token in text.tokens)


def run_plainly(model: LoadedModel, ids: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The states after each block at the last token ``(layers, d_model)``, and the logits there, without a cache."""
    states: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _m, _a, output: states.append(tensor_of(output)[0, -1]))
        for block in model.block_modules
    ]
    try:
        with torch.no_grad():
            logits = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(states), logits


def depth_plainly(model: LoadedModel, states: torch.Tensor, token: int) -> int:
    with torch.no_grad():
        first = [int(model.unembed(state).argmax()) for state in states]
    assert first[-1] == token
    return next(layer for layer in range(len(first)) if all(each == token for each in first[layer:]))


def edit_of(model: LoadedModel, seed: int, layer: int = 1, rank: int = 1, steers: bool = False) -> Edit:
    generator = torch.Generator().manual_seed(seed)
    width = model.anatomy.d_model
    left, right = (torch.randn(width, 0 if steers else rank, generator=generator) for _ in range(2))
    center, shift = torch.randn(width, generator=generator), torch.randn(width, generator=generator)
    change = StateChange(layer, left, right, center, shift if steers else torch.zeros(width))
    info = EditInfo(id=f"{seed:08x}", method="steer" if steers else "leace", title="a direction", layers=(layer,))
    return Edit(info, (change,))


@pytest.mark.parametrize("architecture", telling())
def test_every_token_has_the_numbers_of_a_complete_run(architecture: str) -> None:
    model = tiny_loaded(architecture)
    result = watch(model)
    text = list(result.encoded.ids)
    assert len(result.spoken.tokens) == TOKENS
    for token in result.spoken.tokens:
        states, logits = run_plainly(model, tuple(text))
        p = logits.double().softmax(dim=-1)
        best, second = (int(each) for each in logits.topk(2).indices)
        assert (token.id, token.text, token.rank) == (best, token_text(model.tokenizer, best), 1)
        assert (token.instead_id, token.instead) == (second, token_text(model.tokenizer, second))
        assert token.probability == pytest.approx(float(p[best]), abs=1e-5)
        assert token.instead_probability == pytest.approx(float(p[second]), abs=1e-5)
        assert token.entropy == pytest.approx(float(-(p * p.log2()).sum()), abs=1e-4)
        assert token.margin == pytest.approx(float(logits[best] - logits[second]), abs=1e-4)
        assert token.margin == pytest.approx(math.log(token.probability / token.instead_probability), abs=1e-3)
        assert token.depth == depth_plainly(model, states, best)
        text.append(token.id)
    assert result.spoken.text == model.tokenizer.decode(text[len(result.encoded.ids) :], skip_special_tokens=True)
    assert result.spoken.ending == "length"
    assert {token.depth for token in result.spoken.tokens} != {model.info.layers - 1}


def test_depth_is_the_same_with_rivals_and_takes_fewer_unembeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = tiny_loaded("llama"), list[int]()
    states = torch.randn(6, model.info.layers, model.info.d_model)
    states[:3] = states[:3, -1:]  # these have their token from the first layer on
    logits = model.unembed(states[:, -1])
    tokens = logits.argmax(dim=-1).tolist()
    unembed = type(model).unembed
    monkeypatch.setattr(
        type(model), "unembed", lambda model, states: read.append(len(states)) or unembed(model, states)
    )
    alone = depths(model, states, tokens)
    before, read[:] = sum(read), []
    assert depths(model, states, tokens, logits.topk(8).indices) == alone
    assert alone[:3] == [0, 0, 0]
    assert sum(read) < before


@pytest.mark.parametrize("architecture", telling(gemma2="llama"))
def test_where_it_looked_is_attention_times_the_length_of_values(architecture: str) -> None:
    model = tiny_loaded(architecture)
    result = watch(model, tokens=3)
    text = result.encoded.ids + ids_of(result.spoken)[:2]
    heads = model.heads
    seen: list[torch.Tensor] = []
    hooks = [
        block.get_submodule(heads.weights).register_forward_hook(
            lambda _m, _a, output: seen.append(weights_in(output)[0, :, -1])  # type: ignore[index]
        )
        for block in model.block_modules
    ]
    with torch.no_grad(), eager(model.hf):
        kept = model.hf(input_ids=torch.tensor([text]), use_cache=True).past_key_values
    for hook in hooks:
        hook.remove()
    arrived = torch.zeros(len(text))
    for layer, weights in enumerate(seen):
        values = kept.layers[layer].values[0]
        for head in range(heads.count):
            arrived += weights[head] * values[head * len(values) // heads.count].norm(dim=-1)
    shares = arrived / arrived.sum()
    looked = result.spoken.tokens[2].looked
    assert [each.token for each in looked] == shares.topk(3).indices.tolist()
    assert [each.share for each in looked] == pytest.approx(shares.topk(3).values.tolist(), abs=1e-5)


def test_nothing_is_seen_that_is_not_asked_for_and_the_text_is_the_same() -> None:
    model = tiny_loaded("llama")
    bare = watch(model, depth=False, sources=False)
    assert {(token.depth, token.looked) for token in bare.spoken.tokens} == {(None, ())}
    assert ids_of(bare.spoken) == ids_of(watch(model).spoken)
    assert [check.name for check in bare.checks] == ["lens parity"]


def test_it_says_what_a_plain_continuation_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "stop_ids", lambda _: set())
    model = tiny_loaded("gpt2")
    plain = continuation.run(model, ContinueRequest(case=Case(prompt=PROMPT), tokens=TOKENS), silent)
    assert plain.text == watch(model).spoken.text


def test_a_model_without_attention_heads_is_watched_without_saying_where_it_looked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_loaded("llama")
    monkeypatch.setattr(model.hf.config, "num_attention_heads", 0)
    result = watch(model, tokens=2)
    assert {token.looked for token in result.spoken.tokens} == {()}
    (check,) = [check for check in result.checks if check.name == "where it looked"]
    assert "has no attention heads" in check.text


# Sampling


def test_sampling_is_reproducible_and_goes_by_its_seed() -> None:
    model = tiny_loaded("llama")
    drawn = watch(model, temperature=1.5, seed=3)
    assert drawn == watch(model, temperature=1.5, seed=3)
    assert ids_of(drawn.spoken) != ids_of(watch(model, temperature=1.5, seed=4).spoken)
    assert "temperature 1.5, seed 3" in {check.text for check in drawn.checks}


def test_a_token_that_is_drawn_is_where_the_sum_of_probabilities_reaches_the_random_number() -> None:
    model = tiny_loaded("llama")
    result = watch(model, temperature=0.8, top_p=0.6, seed=1)
    chances = np.random.RandomState(1).rand(TOKENS)
    text, ranks = list(result.encoded.ids), []
    for token, chance in zip(result.spoken.tokens, chances, strict=True):
        _, logits = run_plainly(model, tuple(text))
        p = (logits.double() / 0.8).softmax(dim=-1)
        order = p.argsort(descending=True).tolist()
        nucleus: list[int] = []
        while float(p[nucleus].sum()) < 0.6:
            nucleus.append(order[len(nucleus)])
        reached = chance * float(p[nucleus].sum())
        assert token.id == next(each for at, each in enumerate(nucleus) if float(p[nucleus[: at + 1]].sum()) >= reached)
        assert token.rank == order.index(token.id) + 1
        assert token.instead_id == (order[1] if token.rank == 1 else order[0])
        assert (token.depth is None) == (token.rank > 1)
        ranks.append(token.rank)
        text.append(token.id)
    assert max(ranks) > 1


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_a_small_nucleus_or_no_temperature_leaves_the_first_choice(chance: float) -> None:
    logits = torch.tensor([0.0, 2.0, 1.0])
    assert sampled(logits, 0, 1, chance) == 1
    assert sampled(logits, 1, 0.1, chance) == 1
    assert sampled(logits, 1, 0.8, 1.0) == 2
    assert sampled(logits, 1, 1.0, 1.0) == 0


# Stopping


def test_it_stops_at_the_first_token_whose_margin_is_smaller() -> None:
    model = tiny_loaded("llama")
    margins = [token.margin for token in watch(model).spoken.tokens]
    limit = sorted(margins)[3]
    at = next(place for place, margin in enumerate(margins) if margin < limit)
    stopped = watch(model, stop_below_margin=limit).spoken
    assert (len(stopped.tokens), stopped.ending) == (at + 1, "margin")
    assert watch(model, stop_below_margin=0.0).spoken.ending == "length"


def test_it_stops_where_the_model_ends_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_loaded("llama")
    said = ids_of(watch(model).spoken)
    monkeypatch.setattr(watching, "stop_ids", lambda _: {said[4]})
    ended = watch(model).spoken
    assert ended.ending == "end"
    assert ids_of(ended) == said[: said.index(said[4]) + 1]


def test_it_stops_at_the_end_of_the_context() -> None:
    result = watch(tiny_loaded("gpt2"), prompt="The" + " the" * (CONTEXT - 4), tokens=12)
    assert (len(result.spoken.tokens), result.spoken.ending) == (3, "length")


# Monitors


@pytest.mark.parametrize("steers", [False, True])
@pytest.mark.parametrize("kept", ["queue", "patch"])
def test_a_monitor_reads_the_plain_dot_product(steers: bool, kept: str, tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    edit = edit_of(model, 7, steers=steers)
    (change,) = edit.changes
    assert isinstance(change, StateChange)
    if kept == "queue":
        model.edits.add(edit)
        model.edits.switch(edit.info.id, on=False)
        named = edit.info.id
    else:
        named = str(tmp_path / "direction.safetensors")
        save_patch(Path(named), model.info.fingerprint, [edit])
    result = watch(model, monitors=(named,))
    assert [(monitor.id, monitor.layer) for monitor in result.monitors] == [(edit.info.id, 1)]
    vector = change.shift if steers else change.right[:, 0]
    center = torch.zeros_like(change.center) if steers else change.center
    text = list(result.encoded.ids)
    for token in result.spoken.tokens:
        states, _ = run_plainly(model, tuple(text))
        assert token.monitors == (pytest.approx(float((states[1] - center) @ vector / vector.norm()), abs=1e-4),)
        text.append(token.id)
    readings = [token.monitors[0] for token in result.spoken.tokens]
    limit = sorted(readings)[-3]
    stopped = watch(model, monitors=(named,), stop_above=limit).spoken
    assert stopped.ending == "monitor"
    assert len(stopped.tokens) == next(at for at, value in enumerate(readings) if value > limit) + 1


def test_an_edit_that_is_on_is_in_what_a_monitor_reads() -> None:
    model = tiny_loaded("llama")
    edit = edit_of(model, 7, steers=True)
    model.edits.add(edit)
    (change,) = edit.changes
    assert isinstance(change, StateChange)
    on = watch(model, monitors=(edit.info.id,), tokens=1).spoken.tokens[0].monitors[0]
    model.edits.switch(edit.info.id, on=False)
    off = watch(model, monitors=(edit.info.id,), tokens=1).spoken.tokens[0].monitors[0]
    assert on - off == pytest.approx(float(change.shift.norm()), abs=1e-4)


def test_what_cannot_be_monitored_is_refused(tmp_path: Path) -> None:
    model, wider = tiny_loaded("llama"), tiny_loaded("gpt2")
    with pytest.raises(InputError, match="neither an edit 'nothing' in the queue nor a patch"):
        watch(model, monitors=("nothing",))
    model.edits.add(edit_of(model, 1, rank=2))
    with pytest.raises(InputError, match="erases 2 directions at once"):
        watch(model, monitors=("00000001",))
    matrix = model.down_projection(0).weight
    assert isinstance(matrix, torch.Tensor)
    left, right = torch.ones(matrix.shape[0], 1), torch.ones(matrix.shape[1], 1)
    model.edits.add(
        Edit(EditInfo(id="00000002", method="rome", title="t", layers=(0,)), (WeightChange(0, left, right),))
    )
    with pytest.raises(InputError, match="has no direction to monitor"):
        watch(model, monitors=("00000002",))
    save_patch(tmp_path / "other", wider.info.fingerprint, [edit_of(wider, 3)])
    with pytest.raises(InputError, match="is for the weights"):
        watch(model, monitors=(str(tmp_path / "other"),))
    change = StateChange(1, *(torch.ones(5, 1),) * 2, *(torch.ones(5),) * 2)
    of_another_width = Edit(EditInfo(id="00000004", method="leace", title="t", layers=(1,)), (change,))
    save_patch(tmp_path / "width", model.info.fingerprint, [of_another_width])
    with pytest.raises(InputError, match="5"):
        watch(model, monitors=(str(tmp_path / "width"),))


# Forks


def test_a_fork_goes_on_from_the_runner_up_as_from_a_longer_prompt() -> None:
    model = tiny_loaded("llama")
    result = watch(model, fork="4", temperature=0.9, seed=2)
    assert result.fork is not None
    said, fork = result.spoken.tokens, result.fork.tokens
    assert fork[0].id == said[4].instead_id
    assert fork[0].instead_id == (said[4].id if said[4].rank == 1 else fork[0].instead_id)
    assert (fork[0].margin, fork[0].entropy) == pytest.approx((said[4].margin, said[4].entropy), abs=1e-4)
    assert (result.fork.first, len(fork), result.fork.ending) == (4, TOKENS - 4, "length")
    assert result.spoken == watch(model, temperature=0.9, seed=2).spoken
    chances = np.random.RandomState(2).rand(TOKENS)
    text = [*result.encoded.ids, *(token.id for token in said[:4]), fork[0].id]
    for token, chance in zip(fork[1:], chances[5:], strict=True):
        states, logits = run_plainly(model, tuple(text))
        assert token.id == sampled(logits, 0.9, 1.0, chance)
        assert token.depth == (depth_plainly(model, states, token.id) if token.rank == 1 else None)
        text.append(token.id)


def test_a_fork_takes_the_token_that_is_named_and_does_not_stop_at_it() -> None:
    model = tiny_loaded("llama")
    result = watch(model, fork="0:Canberra")
    assert result.fork is not None
    case = Case(prompt=PROMPT, target="Canberra")
    assert result.fork.tokens[0].id == continuation_ids(model.tokenizer, case)[0]
    later = watch(model, fork="2:Canberra").fork
    assert later is not None
    assert (later.first, later.tokens[0].id) == (2, result.fork.tokens[0].id)
    low = watch(model, stop_below_margin=1e9, fork="0")
    assert low.fork is not None
    assert (len(low.spoken.tokens), len(low.fork.tokens), low.fork.ending) == (1, 2, "margin")


@pytest.mark.parametrize(
    ("fork", "why"),
    [
        ("11", "no generated token 11 to fork at: there are 11"),
        ("-1", "no generated token -1"),
        ("x", "not name a fork"),
    ],
)
def test_a_fork_where_there_is_no_token_is_refused(fork: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        watch(tiny_loaded("gpt2"), fork=fork)


def test_a_fork_beyond_the_context_is_refused() -> None:
    with pytest.raises(InputError, match="there are 3, counted from 0, and then the context ends"):
        watch(tiny_loaded("gpt2"), prompt="The" + " the" * (CONTEXT - 4), tokens=12, fork="5")


def test_a_fork_after_the_text_has_ended_is_said_and_the_text_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_loaded("llama")
    first = ids_of(watch(model).spoken)[0]
    monkeypatch.setattr(watching, "stop_ids", lambda _: {first})
    result = watch(model, fork="6")
    assert result.fork is None
    assert len(result.spoken.tokens) == 1
    assert ("fork", "warn") in {(check.name, check.level) for check in result.checks}


# Progress, bad input, figures


def test_what_there_is_so_far_is_reported_after_every_token() -> None:
    heard: list[tuple[int, int, Result | None]] = []

    def record(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        heard.append((done, total, partial))

    request = WatchRequest(case=Case(prompt=PROMPT), tokens=10, fork="7")
    whole = watching.run(tiny_loaded("llama"), request, record)
    assert [(done, total) for done, total, _ in heard] == [(done, 13) for done in range(1, 14)]
    assert isinstance(whole.fork, WatchedText)
    for done, _, partial in heard:
        assert isinstance(partial, WatchResult)
        assert ids_of(partial.spoken) == ids_of(whole.spoken)[:done]
        assert WATCH.figures(partial)
    assert heard[-1][2] == whole


def test_what_was_said_is_kept_when_it_is_cancelled(listening: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _Speaker._ending

    def cancelling(speaker: _Speaker, token: WatchedToken, full: bool, free: bool) -> Any:
        if len(asked) == 4:
            listening.engine.cancel()
        asked.append(token)
        return real(speaker, token, full, free)

    asked: list[WatchedToken] = []
    monkeypatch.setattr(_Speaker, "_ending", cancelling)
    step = listening.answer(WatchRequest(case=Case(prompt=PROMPT), tokens=40))
    assert step.status == "partial"
    assert isinstance(step.result, WatchResult)
    assert (step.result.spoken.tokens, len(asked)) == (tuple(asked), 5)
    assert step.result.spoken.ending == ""
    assert Step.model_validate_json(step.model_dump_json()) == step


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"temperature": -1}, {"top_p": 0}, {"stop_below_margin": -1}])
def test_settings_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="greater than"):
        WatchRequest(case=Case(prompt=PROMPT), **wrong)


def test_a_prompt_that_fills_the_context_is_an_error() -> None:
    with pytest.raises(InputError, match=f"fills the whole context of {CONTEXT} tokens"):
        watch(tiny_loaded("gpt2"), prompt="The" + " the" * (CONTEXT - 1))


def _texts(figures: tuple[Figure, ...]) -> list[str]:
    return [each.text for figure in figures if isinstance(figure, Lines) for each in figure.lines]


def test_what_is_said_beside_it_is_that_of_the_model_without_edits_or_with_a_patch_too(tmp_path: Path) -> None:
    model = tiny_loaded("llama")
    plain, edit = watch(model), edit_of(model, 7, steers=True)
    save_patch(tmp_path / "patch", model.info.fingerprint, [edit])
    patched = watch(model, compare=str(tmp_path / "patch"))
    model.edits.add(edit)
    edited = watch(model)
    both = watch(model, compare="off", fork="2")
    assert (both.spoken, patched.spoken) == (edited.spoken, plain.spoken)
    assert both.beside is not None
    assert patched.beside is not None
    assert (ids_of(both.beside), ids_of(patched.beside)) == (ids_of(plain.spoken), ids_of(edited.spoken))
    assert [t.probability for t in both.beside.tokens] == pytest.approx([t.probability for t in plain.spoken.tokens])
    assert not any(token.looked for token in both.beside.tokens)
    assert model.edits.active == ("00000007",)
    parts = parted(both.spoken, both.beside)
    assert parts is not None
    figures = WATCH.figures(both)
    (table,) = [figure for figure in figures if figure.title == "Side by side"]
    assert isinstance(table, Table)
    assert [row[0].text.startswith("≠") for row in table.rows] == [place == parts for place in range(TOKENS)]
    assert any(f"they part at token {parts}: " in text for text in _texts(figures))
    assert WatchResult.model_validate_json(both.model_dump_json()) == both


@pytest.mark.parametrize(("compare", "why"), [("off", "no edit is on"), ("nothing.safetensors", "there is no patch")])
def test_where_there_is_nothing_to_compare_it_is_said(compare: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        watch(tiny_loaded("llama"), compare=compare)


def test_a_result_can_be_played_again_as_it_was_known_at_a_token() -> None:
    result = watch(tiny_loaded("llama"), tokens=5, fork="2")
    assert result.upto(5) == result
    early = result.upto(2)
    assert (len(early.spoken.tokens), early.fork, early.spoken.ending) == (2, None, "")
    later = result.upto(4)
    assert later.fork is not None
    assert (later.fork.first, len(later.fork.tokens)) == (2, 2)
    assert later.spoken.text == "".join(token.text for token in result.spoken.tokens[:4])


def test_figures_name_the_smallest_margin_and_compare_both_branches() -> None:
    model = tiny_loaded("llama")
    model.edits.add(edit_of(model, 7))
    request = WatchRequest(case=Case(prompt=PROMPT), tokens=TOKENS, fork="3", monitors=("00000007",))
    result = watching.run(model, request, silent)
    drawn = WATCH.figures(result)
    lowest = min(range(TOKENS), key=lambda at: result.spoken.tokens[at].margin)
    assert any(f"at token {lowest}:" in text for text in _texts(drawn))
    said, both = (figure for figure in drawn if isinstance(figure, Table))
    assert [row[1].text for row in said.rows] == [token.text for token in result.spoken.tokens]
    assert len(both.rows) == TOKENS - 3
    margins, readings = (figure for figure in drawn if isinstance(figure, Curves))
    assert margins.curves[0].points[2] == (2, result.spoken.tokens[2].margin)
    assert readings.curves[0].points[2] == (2, result.spoken.tokens[2].monitors[0])


def test_a_row_opens_the_fork_at_its_token() -> None:
    request = WatchRequest(case=Case(prompt=PROMPT), tokens=3)
    result = watching.run(tiny_loaded("llama"), request, silent)
    (said,) = (figure for figure in WATCH.figures(result) if isinstance(figure, Table))
    assert WATCH.opens is not None
    assert WATCH.opens(request, result, said, (2, 1)) == request.model_copy(update={"fork": "2"})
    assert WATCH.opens(request, result, WATCH.figures(result)[0], (0, 0)) is None
