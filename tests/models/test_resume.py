"""Runs that are resumed in the middle give what complete runs give, whatever the architecture."""

from __future__ import annotations

import pytest
import torch

from tests.tiny import ARCHITECTURES, tiny_loaded
from workbench.errors import Cancelled, OutOfMemory
from workbench.models.anatomy import tensor_of
from workbench.models.forward import resume
from workbench.models.forward.resume import Branch, CompleteRuns, Resumed, branching
from workbench.models.forward.runs import PARTS, record

IDS = (5, 17, 200, 3, 42, 99, 250, 8, 61)
ROWS, TOKENS = 2, len(IDS)
PLACES = (2, 5, TOKENS - 1)

WITH_ALL_TOKENS = ("opt", "opt_projected", "opt_norm_after", "falcon", "falcon_grouped")
"""Whose last block does not bear an MLP on fewer tokens."""

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def _run(loaded):
    """Two runs of the same tokens, with other noise on two of them."""
    added = torch.zeros(ROWS, TOKENS, loaded.embedding.weight.shape[1])
    added[:, 2:4] = torch.randn(ROWS, 2, added.shape[-1], generator=torch.Generator().manual_seed(3))
    return record(loaded, torch.tensor([IDS] * ROWS), added)


def _branches(layers, d_model):
    """A changed state below every block and after the last, and changed outputs in one or two layers."""
    random = torch.randn(layers + 1, d_model, generator=torch.Generator().manual_seed(4))
    states = [Branch(start, state=random[start]) for start in range(layers + 1)]
    outputs = [
        Branch(start, outputs={(part, at): random[at] for at in range(start, min(start + 2, layers))})
        for part in PARTS
        for start in range(layers)
    ]
    both = [Branch(0, outputs={(part, at): random[at] for part in PARTS for at in range(layers)})]
    return [*outputs, *both, *states]


def _values(way, token, branches, read=lambda logits: logits.log_softmax(dim=-1)[:, 7]):
    found = {}
    for batch in way.values(token, branches, read):
        found.update(batch)
    return torch.tensor([found[i] for i in range(len(branches))])


@every_architecture
def test_resumed_branches_equal_complete_runs(architecture):
    loaded = tiny_loaded(architecture)
    run = _run(loaded)
    branches = _branches(loaded.info.layers, loaded.info.d_model)
    for token in PLACES:
        plain = _values(CompleteRuns(loaded, run), token, branches)
        assert (_values(Resumed(loaded, run), token, branches) - plain).abs().max() < 1e-5
        assert plain.std(dim=0).min() > 1e-3  # the branches differ, so a mistake would show


@every_architecture
def test_every_known_architecture_is_resumed(architecture):
    loaded = tiny_loaded(architecture)
    for token in (0, *PLACES):
        way, text, resumed = branching(loaded, _run(loaded), token)
        assert isinstance(way, Resumed), text
        assert resumed
        assert text.startswith("resumed, parity ")


@every_architecture
def test_the_last_blocks_mlp_on_the_last_token_alone_is_enough_where_the_block_bears_it(architecture):
    loaded = tiny_loaded(architecture)
    run = _run(loaded)
    branches = _branches(loaded.info.layers, loaded.info.d_model)
    seen = []
    mlp = loaded.mlp(loaded.info.layers - 1)
    mlp.register_forward_hook(lambda _m, _a, output: seen.append(tensor_of(output).shape))
    for token in PLACES:
        plain = _values(CompleteRuns(loaded, run), token, branches)
        way, _, _ = branching(loaded, run, token)
        seen.clear()
        assert (_values(way, token, branches) - plain).abs().max() < 1e-5
        if architecture not in WITH_ALL_TOKENS:
            assert {shape[1] for shape in seen} == {1}


@every_architecture
def test_a_recorded_run_is_the_models_own(architecture):
    loaded = tiny_loaded(architecture)
    run = _run(loaded).rows(slice(1, 2))
    with torch.no_grad():
        handle = loaded.embedding.register_forward_hook(lambda _m, _a, output: output + run.added)
        logits = loaded.hf(torch.tensor([IDS])).logits
        handle.remove()
        assert (loaded.unembed(run.states[-1]) - logits).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ["llama", "falcon", "mistral", "gemma3_text", "gpt2"])
def test_resuming_does_not_depend_on_the_attention_kernel(architecture, kernel):
    loaded = tiny_loaded(architecture)
    loaded.hf.set_attn_implementation(kernel)
    run, branches = _run(loaded), _branches(loaded.info.layers, loaded.info.d_model)
    plain, resumed = (_values(way(loaded, run), 3, branches) for way in (CompleteRuns, Resumed))
    assert (plain - resumed).abs().max() < 1e-5


def test_falcon_with_alibi_is_resumed():
    loaded = tiny_loaded("falcon")
    for kernel in ("eager", "sdpa"):
        loaded.hf.set_attn_implementation(kernel)
        loaded.hf.base_model.use_alibi = True
        run, branches = _run(loaded), _branches(loaded.info.layers, loaded.info.d_model)
        plain, resumed = (_values(way(loaded, run), 3, branches) for way in (CompleteRuns, Resumed))
        assert (plain - resumed).abs().max() < 1e-5


def test_a_branch_alone_gives_what_it_gives_among_others(monkeypatch):
    loaded = tiny_loaded("llama")
    run, branches = _run(loaded), _branches(3, loaded.info.d_model)
    together = _values(Resumed(loaded, run), 2, branches)
    monkeypatch.setattr(resume, "CPU_BUDGET", 1)
    batches = list(Resumed(loaded, run).values(2, branches, lambda logits: logits[:, 7]))
    assert [len(batch) for batch in batches] == [1] * len(branches)
    assert (_values(Resumed(loaded, run), 2, branches) - together).abs().max() < 1e-5


def test_batches_are_halved_when_memory_runs_out():
    loaded = tiny_loaded("llama")
    run, branches = _run(loaded), _branches(3, loaded.info.d_model)
    expected = _values(Resumed(loaded, run), 2, branches)
    block, most = loaded.block_modules[1], 3 * ROWS

    def refuse(_module, args, kwargs):
        if len(args[0] if args else kwargs["hidden_states"]) > most:
            raise torch.OutOfMemoryError

    handle = block.register_forward_pre_hook(refuse, with_kwargs=True)
    assert (_values(Resumed(loaded, run), 2, branches) - expected).abs().max() < 1e-5
    most = 0
    with pytest.raises(OutOfMemory, match="one piece of the work"):
        _values(Resumed(loaded, run), 2, branches)
    handle.remove()


def test_the_model_is_as_before_after_a_cancellation_in_the_middle():
    loaded = tiny_loaded("gpt_neo")
    run, branches = _run(loaded), _branches(2, loaded.info.d_model)
    before = loaded.hf(torch.tensor([IDS])).logits
    calls = 0

    def stop(*_):
        nonlocal calls
        calls += 1
        if calls == 3:  # while branches run; two calls belong to noting the arguments
            raise Cancelled

    handle = loaded.block_modules[1].register_forward_pre_hook(stop)
    with pytest.raises(Cancelled):
        _values(Resumed(loaded, run), 2, branches)
    handle.remove()
    assert torch.equal(loaded.hf(torch.tensor([IDS])).logits, before)
    for layer in range(2):
        assert not loaded.mlp(layer)._forward_hooks
        assert not loaded.attention(layer)._forward_hooks


def test_a_model_without_keys_and_values_takes_the_plain_way():
    loaded = tiny_loaded("llama")
    run = _run(loaded)
    way, text, resumed = branching(loaded, run.rows(slice(0, ROWS)), 2)
    assert resumed
    run.keys.clear()
    way, text, resumed = branching(loaded, run, 2)
    assert isinstance(way, CompleteRuns)
    assert not resumed
    assert text == "plain, as the blocks keep no keys and values"


def test_a_model_whose_resumed_runs_differ_takes_the_plain_way():
    loaded = tiny_loaded("llama")
    run = _run(loaded)
    run.values[1].mul_(1.5)  # as if the block kept more than its keys and values
    way, text, resumed = branching(loaded, run, 2)
    assert isinstance(way, CompleteRuns)
    assert not resumed
    assert text.startswith("plain, as resumed runs are off by")


def test_a_model_whose_blocks_cannot_be_called_alone_takes_the_plain_way():
    loaded = tiny_loaded("llama")
    run = _run(loaded)

    def refuse(_module, _args, kwargs):
        if len(kwargs["position_ids"].shape) == 2 and kwargs["position_ids"][0, 0] > 0:
            raise TypeError("this block wants to see the whole text")

    handle = loaded.block_modules[0].register_forward_pre_hook(refuse, with_kwargs=True)
    way, text, _ = branching(loaded, run, 2)
    handle.remove()
    assert isinstance(way, CompleteRuns)
    assert text == "plain, as the blocks cannot be called alone (TypeError)"


def test_memory_that_runs_out_in_the_check_is_not_taken_for_an_architecture():
    loaded = tiny_loaded("llama")
    run = _run(loaded)

    def refuse(*_):
        raise torch.OutOfMemoryError

    handle = loaded.block_modules[0].register_forward_pre_hook(refuse)
    with pytest.raises(torch.OutOfMemoryError):
        branching(loaded, run, 2)
    handle.remove()
