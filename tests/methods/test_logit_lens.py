"""The logit lens against its definition: the model's own answer when the blocks above a layer do nothing."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.tiny import CONTEXT, telling, tiny_loaded, tiny_model, tiny_tokenizer
from workbench.case import Case
from workbench.cli.figures import draw_all
from workbench.errors import InputError, NumericalError
from workbench.loading import LoadedModel, wrap
from workbench.methods.lens import logit_lens
from workbench.methods.lens.figures import lens_figures
from workbench.methods.lens.logit_lens import LensColumn, LensRequest, LensResult
from workbench.models.tokens import token_text
from workbench.protocol import Result, silent

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="the", foil="city")
CLOSE = 1e-4
"""How far float32 may be from float64, in probabilities, bits, nats and logits of a tiny model."""


def lens(model: LoadedModel, case: Case = HERO, **asked: Any) -> LensResult:
    return logit_lens.run(model, LensRequest(case=case, **asked), silent)


def stopped_at(model: LoadedModel, ids: tuple[int, ...], n_blocks: int) -> torch.Tensor:
    """Logits ``(tokens, vocabulary)`` in float64 of the model whose blocks from ``n_blocks`` on do nothing."""

    def pass_through(_module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        state = args[0] if args else kwargs["hidden_states"]
        return (state, *output[1:]) if isinstance(output, tuple) else state

    hooks = [block.register_forward_hook(pass_through, with_kwargs=True) for block in model.block_modules[n_blocks:]]
    try:
        with torch.no_grad():
            return model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double()
    finally:
        for hook in hooks:
            hook.remove()


def by_definition(model: LoadedModel, ids: tuple[int, ...]) -> torch.Tensor:
    """Logits ``(layers + 1, tokens, vocabulary)``, one forward pass for each row."""
    return torch.stack([stopped_at(model, ids, n) for n in range(len(model.block_modules) + 1)])


def assert_column_is(column: LensColumn, logits: torch.Tensor, result: LensResult, model: LoadedModel) -> None:
    """Compare one column with logits ``(layers + 1, vocabulary)``, row by row and number by number."""
    final = logits[-1].softmax(dim=-1)
    for row, row_logits in enumerate(logits):
        p = row_logits.softmax(dim=-1)
        order = row_logits.argsort(descending=True).tolist()[: len(column.top_tokens[row])]
        assert column.top_tokens[row] == tuple(token_text(model.tokenizer, token) for token in order)
        assert column.top_probabilities[row] == pytest.approx([float(p[token]) for token in order], abs=CLOSE)
        bits = -sum(float(x) * math.log2(float(x)) for x in p if x > 0)
        nats = sum(float(f) * math.log(float(f) / float(x)) for f, x in zip(final, p, strict=True) if f > 0)
        assert column.entropy[row] == pytest.approx(bits, abs=CLOSE)
        assert column.kl[row] == pytest.approx(nats, abs=CLOSE)
        for track, choice in ((column.target, result.encoded.target), (column.foil, result.encoded.foil)):
            assert track is not None
            assert choice is not None
            assert track.probability[row] == pytest.approx(float(p[choice.id]), abs=CLOSE)
            assert track.rank[row] == sorted(row_logits.tolist(), reverse=True).index(float(row_logits[choice.id])) + 1
        assert column.logit_difference is not None
        assert result.encoded.target is not None
        assert result.encoded.foil is not None
        difference = float(row_logits[result.encoded.target.id] - row_logits[result.encoded.foil.id])
        assert column.logit_difference[row] == pytest.approx(difference, abs=CLOSE)


@pytest.mark.parametrize("architecture", telling())
def test_every_number_is_that_of_a_model_which_stops_at_the_layer(architecture: str) -> None:
    model = tiny_loaded(architecture)
    result = lens(model)
    logits = by_definition(model, result.encoded.ids)
    assert result.layers == len(logits) - 1
    assert len(result.columns) == len(result.encoded.ids)
    for position, column in enumerate(result.columns):
        assert column is not None
        assert_column_is(column, logits[:, position], result, model)


@pytest.mark.parametrize("architecture", telling())
def test_the_last_row_is_the_model_s_own_answer_and_says_so(architecture: str) -> None:
    model = tiny_loaded(architecture)
    result = lens(model, top_k=100)
    with torch.no_grad():
        own = model.hf(input_ids=torch.tensor([result.encoded.ids])).logits[0].softmax(dim=-1)
    for position, column in enumerate(result.columns):
        assert column is not None
        best = own[position].topk(100)
        assert column.top_probabilities[-1] == pytest.approx(best.values.tolist(), abs=1e-6)
        assert column.top_tokens[-1][0] == token_text(model.tokenizer, int(best.indices[0]))
        assert column.kl[-1] == 0
    parity = result.checks[0]
    assert (parity.name, parity.level) == ("lens parity", "ok")
    assert float(parity.text) <= logit_lens.PARITY


def test_a_lens_that_misses_the_model_s_logits_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_loaded("gemma2")
    real = type(model).unembed
    monkeypatch.setattr(type(model), "unembed", lambda self, states: real(self, states) * 1.1)
    parity = lens(model).checks[0]
    assert parity.level == "warn"
    assert float(parity.text) > logit_lens.PARITY


def partials(model: LoadedModel, request: LensRequest) -> list[LensResult]:
    found: list[LensResult] = []

    def record(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        if partial is not None:
            assert isinstance(partial, LensResult)
            assert done == sum(column is not None for column in partial.columns)
            found.append(partial)

    logit_lens.run(model, request, record)
    return found


def there(result: LensResult) -> set[int]:
    return {position for position, column in enumerate(result.columns) if column is not None}


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logit_lens, "LOGITS_BUDGET", 1)


@pytest.mark.usefixtures("one_at_a_time")
@pytest.mark.parametrize(("first", "starts"), [(2, [2, 1, 3, 0, 4]), (-3, [6, 5, 7, 4, 8]), (None, [8, 7, 6])])
def test_the_cursor_s_token_comes_first_and_its_neighbors_next(first: int | None, starts: list[int]) -> None:
    found = partials(tiny_loaded("llama"), LensRequest(case=HERO, first=first))
    assert [there(partial) for partial in found][: len(starts)] == [
        set(starts[: number + 1]) for number in range(len(starts))
    ]
    assert len(found) == 9


@pytest.mark.usefixtures("one_at_a_time")
def test_what_is_not_there_yet_can_be_drawn_and_kept_already() -> None:
    model = tiny_loaded("llama")
    whole = lens(model)
    found = partials(model, LensRequest(case=HERO))
    for partial in found:
        assert LensResult.model_validate_json(partial.model_dump_json()) == partial
        page = Console(file=io.StringIO(), width=120)
        page.print(draw_all(lens_figures(partial)))
        assert isinstance(page.file, io.StringIO)
        assert page.file.getvalue().count("Logit lens at") == len(there(partial))
        for position in there(partial):
            drawn, final = partial.columns[position], whole.columns[position]
            assert drawn is not None
            assert final is not None
            assert drawn.top_tokens == final.top_tokens
            assert drawn.entropy == pytest.approx(final.entropy, abs=1e-5)
    assert found[-1].columns.count(None) == 0


def test_tokens_in_batches_are_the_same_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_loaded("qwen2")
    at_once = lens(model)
    monkeypatch.setattr(logit_lens, "LOGITS_BUDGET", 3 * 4 * 4 * model.info.vocabulary)
    in_batches = lens(model)
    for one, other in zip(at_once.columns, in_batches.columns, strict=True):
        assert one is not None
        assert other is not None
        assert one.top_tokens == other.top_tokens
        assert one.kl == pytest.approx(other.kl, abs=1e-5)


@pytest.mark.parametrize(("positions", "expected"), [((-1,), {8}), ((0, 3), {0, 3}), ((2, 2, -9), {0, 2})])
def test_only_the_tokens_that_were_asked_for_are_computed(positions: tuple[int, ...], expected: set[int]) -> None:
    model = tiny_loaded("gpt2")
    some, everything = lens(model, positions=positions), lens(model)
    assert there(some) == expected
    for position in expected:
        one, other = some.columns[position], everything.columns[position]
        assert one is not None
        assert other is not None
        assert one.entropy == pytest.approx(other.entropy, abs=1e-5)


@pytest.mark.parametrize("asked", [{"positions": (9,)}, {"positions": (-10,)}, {"first": 9}, {"first": -10}])
def test_a_token_outside_the_prompt_is_an_error_that_counts_them(asked: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the prompt has 9, counted from 0"):
        lens(tiny_loaded("llama"), **asked)


@pytest.mark.parametrize("top_k", [1, 7, logit_lens.MOST_KEPT])
def test_as_many_tokens_are_kept_as_were_asked_for(top_k: int) -> None:
    for column in lens(tiny_loaded("llama"), top_k=top_k).columns:
        assert column is not None
        assert {len(row) for row in (*column.top_tokens, *column.top_probabilities)} == {top_k}


@pytest.mark.parametrize("top_k", [0, -1, logit_lens.MOST_KEPT + 1])
def test_too_few_or_too_many_tokens_are_an_error(top_k: int) -> None:
    with pytest.raises(InputError, match="top-k must be between 1 and 100"):
        lens(tiny_loaded("llama"), top_k=top_k)


def test_the_answer_after_a_separator_is_given_for_a_case_that_starts_bare() -> None:
    model = tiny_loaded("llama")
    result = lens(model)
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([(0, *result.encoded.ids)])).logits[0, -1]
    p = logits.double().softmax(dim=-1)
    separated = result.after_separator
    assert separated is not None
    assert result.encoded.target is not None
    assert result.encoded.foil is not None
    assert separated.token == token_text(model.tokenizer, int(p.argmax()))
    assert separated.probability == pytest.approx(float(p.max()), abs=CLOSE)
    assert separated.target == pytest.approx(float(p[result.encoded.target.id]), abs=CLOSE)
    assert separated.foil == pytest.approx(float(p[result.encoded.foil.id]), abs=CLOSE)


@pytest.mark.parametrize("seed", range(6))
def test_the_check_warns_where_the_first_position_changes_the_answer(seed: int) -> None:
    result = lens(tiny_loaded("llama", seed))
    separated, last = result.after_separator, result.columns[-1]
    assert separated is not None
    assert last is not None
    changed = separated.token != last.top_tokens[-1][0]
    check = next(check for check in result.checks if check.name == "first position")
    assert check.level == ("warn" if changed else "info")
    assert ("becomes" if changed else "stays") in check.text
    assert separated.token in check.text


@pytest.mark.parametrize(
    ("case", "asked"),
    [
        (HERO.model_copy(update={"prepend": "separator"}), {}),
        (HERO.model_copy(update={"prepend": "newline"}), {}),
        (HERO.model_copy(update={"prompt": "<|endoftext|>" + HERO.prompt}), {}),
        (HERO, {"positions": (0,)}),
    ],
)
def test_there_is_no_answer_after_a_separator_where_the_last_token_was_not_read_or_the_case_is_not_bare(
    case: Case, asked: dict[str, Any]
) -> None:
    result = lens(tiny_loaded("llama"), case, **asked)
    assert result.after_separator is None
    assert [check.name for check in result.checks] == ["lens parity"]


def test_a_prompt_that_fills_the_context_has_no_room_for_a_document_start() -> None:
    result = lens(tiny_loaded("llama"), Case(prompt="The" + " the" * (CONTEXT - 1)))
    assert len(result.encoded.ids) == CONTEXT
    assert result.after_separator is None
    assert all(column is not None for column in result.columns)


def test_the_chat_template_s_tokens_are_read_too() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = (
        "{% for message in messages %}user: {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}answer:{% endif %}"
    )
    model = wrap(tiny_model("llama"), tokenizer, "tiny-chat")
    result = lens(model, HERO.model_copy(update={"chat": True}))
    rendered = f"user: {HERO.prompt}\nanswer:"
    assert result.encoded.ids == tuple(tokenizer(rendered).input_ids)
    assert result.encoded.prepended > 0
    assert result.encoded.appended > 0
    assert result.after_separator is None
    logits = by_definition(model, result.encoded.ids)
    for position, column in enumerate(result.columns):
        assert column is not None
        assert_column_is(column, logits[:, position], result, model)


def test_without_target_and_foil_nothing_is_followed() -> None:
    alone = lens(tiny_loaded("llama"), Case(prompt=HERO.prompt))
    for column in alone.columns:
        assert column is not None
        assert (column.target, column.foil, column.logit_difference) == (None, None, None)
    assert alone.after_separator is not None
    assert alone.after_separator.target is None
    only_target = lens(tiny_loaded("llama"), Case(prompt=HERO.prompt, target="the"))
    assert only_target.columns[-1] is not None
    assert only_target.columns[-1].target is not None
    assert only_target.columns[-1].logit_difference is None


def test_half_precision_is_close_and_still_passes_its_own_check() -> None:
    half = tiny_loaded("llama", dtype=torch.bfloat16)
    result = lens(half)
    exact = lens(tiny_loaded("llama"))
    for one, other in zip(result.columns, exact.columns, strict=True):
        assert one is not None
        assert other is not None
        assert one.entropy == pytest.approx(other.entropy, abs=0.3)
    assert result.checks[0].level == "ok"


def test_logits_that_are_not_numbers_are_an_error_that_names_the_dtype() -> None:
    model = tiny_loaded("llama")
    model.block_modules[1].mlp.down_proj.weight.data[0, 0] = float("nan")  # type: ignore[union-attr, operator, index]
    with pytest.raises(NumericalError, match="not finite in float32"):
        lens(model)
