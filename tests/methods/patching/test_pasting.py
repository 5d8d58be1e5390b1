"""Cells pasted into other places, against plain hooks on the plain model with all of them at once."""

from __future__ import annotations

import pytest
import torch

from tests.methods.patching.test_patching import ALIKE, CASE, LONGER, five
from tests.tiny import tiny_loaded
from workbench.errors import InputError
from workbench.figures import Table
from workbench.methods.patching.pasting import PasteRequest, PasteResult, run, typed_cells
from workbench.methods.patching.pasting_figures import paste_figures
from workbench.models.tokens import encode
from workbench.protocol import silent

CELLS = ("states:0:4>1:3", "mlp:2:5>1:6", "attention:1:4>2:9")


def by_hooks(loaded, cells):
    """Target − foil with all cells put in."""
    encoded = encode(loaded.tokenizer, CASE)
    own, other = encoded.ids, encode(loaded.tokenizer, CASE.model_copy(update={"prompt": LONGER})).ids
    kept, handles = {}, []

    def module(what, layer):
        return {"states": loaded.block_modules.__getitem__, "mlp": loaded.mlp, "attention": loaded.attention}[what](
            layer
        )

    def states_of(output, tokens):
        return (output[0] if isinstance(output, tuple) else output).view(1, tokens, -1)

    def forward(ids):
        with torch.no_grad():
            logits = loaded.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]
        for handle in handles:
            handle.remove()
        handles.clear()
        return float(logits[encoded.target.id] - logits[encoded.foil.id])

    for cell in cells:

        def keep(_m, _a, output, cell=cell):
            kept[cell] = states_of(output, len(other))[0, cell.token].clone()

        handles.append(module(cell.what, cell.layer).register_forward_hook(keep))
    forward(other)
    for cell in cells:

        def put(_m, _a, output, cell=cell):
            states_of(output, len(own))[0, cell.into_token] = kept[cell]

        handles.append(module(cell.what, cell.into_layer).register_forward_hook(put))
    return forward(own)


@five
def test_cells_pasted_together_equal_a_plain_run_with_hooks_after_each_of_them(architecture):
    loaded = tiny_loaded(architecture)
    result = run(loaded, PasteRequest(case=CASE, source=LONGER, cells=CELLS), silent)
    cells = typed_cells(CELLS)
    expected = [by_hooks(loaded, cells[:many]) for many in range(1, len(cells) + 1)]
    assert [answer.difference for answer in result.after] == pytest.approx(expected, abs=1e-5)
    assert result.before.difference == pytest.approx(by_hooks(loaded, []), abs=1e-5)
    assert len({round(value, 4) for value in expected}) == len(expected)  # each does something
    assert result.checks[0].level == "ok"
    assert PasteResult.model_validate_json(result.model_dump_json()) == result


def test_of_two_cells_at_one_place_the_later_one_stands():
    loaded = tiny_loaded("llama")
    both = run(loaded, PasteRequest(case=CASE, source=ALIKE, cells=("0:3>1:4", "1:5>1:4")), silent)
    one = run(loaded, PasteRequest(case=CASE, source=ALIKE, cells="states:1:5>1:4"), silent)
    assert both.after[-1] == one.after[-1] != both.after[0]


def test_the_table_has_the_prompt_every_cell_and_the_source():
    result = run(tiny_loaded("llama"), PasteRequest(case=CASE, source=LONGER, cells=CELLS[:2]), silent)
    (table,) = [figure for figure in paste_figures(result) if isinstance(figure, Table)]
    assert [row[0].text for row in table.rows] == [
        "the prompt as it is",
        "+ states 0 at “Au” (4) → 1 at “·” (3)",
        f"+ mlp 2 at “st” (5) → 1 at “{result.encoded.texts[6].strip()}” (6)",
        "the source itself",
    ]


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ((), "nothing to paste"),
        (("12:5",), "'12:5' is no cell and place"),
        (("heads:0:1>0:1",), "is no cell and place"),
        (("9:1>0:1",), "there is no layer 9"),
        (("0:99>0:1",), "there is no token 99 in the source"),
        (("0:1>0:12",), "there is no token 12 in the prompt: it has 10"),
        (("0:1>0:1",) * 65, "there are 65 cells"),
    ],
)
def test_what_cannot_be_pasted_is_refused(cells, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("llama"), PasteRequest(case=CASE, source=LONGER, cells=cells), silent)
