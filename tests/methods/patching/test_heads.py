"""Heads patched between two prompts against plain hooks on the plain model: a complete forward for every head."""

from __future__ import annotations

import pytest
import torch

from tests.methods.patching.test_patching import ALIKE, CASE, LONGER, any_gap, five, request
from tests.tiny import tiny_loaded
from workbench.errors import InputError
from workbench.figures import Heatmap, Table
from workbench.methods.heads.attention import AttentionRequest
from workbench.methods.patching.figures import figures, opened
from workbench.methods.patching.patching import PatchResult, run
from workbench.models.tokens import encode
from workbench.protocol import silent

__all__ = ["any_gap"]

OF_A_LONGER = CASE.model_copy(update={"prompt": LONGER})


def by_hooks(loaded, asked, result):
    """What is read ``(layers, heads)`` with each head's slice of the projection's input put in."""
    encoded = encode(loaded.tokenizer, asked.case)
    heads, into, of = loaded.heads, result.changed.ids, result.given.ids
    token, partner, width = result.heads.token, result.partners[result.heads.token], loaded.heads.width

    def forward(ids, layer, hook):
        handle = loaded.output_projection(layer).register_forward_pre_hook(hook)
        try:
            with torch.no_grad():
                logits = loaded.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]
        finally:
            handle.remove()
        return float(logits[encoded.target.id] - logits[encoded.foil.id])

    def cell(layer, head):
        kept = []
        forward(of, layer, lambda _m, args: kept.append(args[0].reshape(len(of), -1)[partner].clone()))

        def put(_module, args):
            changed = args[0].clone()
            place = slice(head * width, (head + 1) * width)
            changed.view(len(into), -1)[token, place] = kept[0][place]
            return (changed,)

        return (forward(into, layer, put) - result.base) / (result.source - result.base)

    return torch.tensor([[cell(layer, head) for head in range(heads.count)] for layer in range(loaded.info.layers)])


@five
@pytest.mark.parametrize(("source", "direction", "position"), [(ALIKE, "denoising", -2), (LONGER, "noising", None)])
@pytest.mark.usefixtures("any_gap")
def test_every_head_equals_a_plain_run_with_a_hook_before_the_output_projection(
    architecture, source, direction, position
):
    loaded = tiny_loaded(architecture)
    asked = request(source, kinds=("heads",), direction=direction, position=position)
    result = run(loaded, asked, silent)
    expected = by_hooks(loaded, asked, result)
    assert all(map(all, result.heads.exact))
    off = (torch.tensor(result.heads.values) - expected).abs() * abs(result.source - result.base)
    assert off.max() < 1e-5
    assert expected.std() > 1e-4  # heads differ, so a mistake would show
    assert next(check for check in result.checks if check.name == "heads").level == "ok"
    assert PatchResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.usefixtures("any_gap")
def test_the_first_picture_of_heads_sums_to_that_of_attention_and_is_corrected_by_exact_cells():
    loaded, seen = tiny_loaded("llama"), []
    run(
        loaded,
        request(kinds=("attention", "heads"), window=1, position=-2),
        lambda *_, **__: None if not _[2:] or _[2] is None else seen.append(_[2]),
    )
    first, last = seen[0], seen[-1]
    assert not any(map(any, first.heads.exact))
    assert first.heads.peak is None
    guessed = torch.tensor(first.heads.values).sum(dim=1)
    of_attention = torch.tensor([row[first.heads.token] for row in first.grid("attention").values])
    assert torch.allclose(guessed, of_attention, atol=1e-5)
    both = torch.stack([torch.tensor(each.heads.values).flatten() for each in (first, last)])
    assert last.heads.correlation == pytest.approx(float(torch.corrcoef(both)[0, 1]), abs=1e-4)


@pytest.mark.usefixtures("any_gap")
def test_a_head_of_the_picture_or_the_table_opens_its_attention():
    asked = request(kinds=("heads",), direction="noising", position=-2)
    result = run(tiny_loaded("llama"), asked, silent)
    (heatmap,) = [figure for figure in figures(result) if isinstance(figure, Heatmap)]
    (table,) = [figure for figure in figures(result) if isinstance(figure, Table)]
    layer, head = result.heads.peak
    assert heatmap.peaks == ((len(result.heads.values) - 1 - layer, head),)
    found = opened(asked, result, heatmap, heatmap.peaks[0])
    assert found == AttentionRequest(
        case=asked.case, position=result.partners[result.heads.token], head=f"L{layer}H{head}"
    )
    assert opened(asked, result, table, (0, 1)).head == table.rows[0][0].text
    assert opened(asked, result, figures(result)[0], (0, 0)) is None


@pytest.mark.usefixtures("any_gap")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"position": 0}, "nothing is put in at token 0"),
        ({"position": 99}, "there is no token 99"),
        ({"receivers": "mlp:1"}, "leave out heads or receivers"),
        (
            {"case": OF_A_LONGER, "source": CASE.prompt, "direction": "noising", "position": 11},
            "token 11 has no partner",
        ),
    ],
)
def test_heads_are_refused_where_they_make_no_sense(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("llama"), request(**{"kinds": ("heads",), **changes}), silent)
