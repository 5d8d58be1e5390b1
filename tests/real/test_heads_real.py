"""Which heads write the wrong name in a passage with two, where they look, and what knocking them out comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from workbench.case import Case
from workbench.methods.heads import attention, head_attribution, knock_out
from workbench.methods.heads.attention import AttentionRequest
from workbench.methods.heads.head_attribution import HeadsRequest
from workbench.methods.heads.knock_out import KnockoutRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

PETER = Case(
    prompt="Peter lives in Berlin. Emma lives in Oslo. Question: Where does Peter live? Answer: Peter lives in",
    target="Berlin",
    foil="Oslo",
)


def test_a_head_that_copies_writes_the_wrong_name_from_where_it_stands(default_model: LoadedModel) -> None:
    result = head_attribution.run(default_model, HeadsRequest(case=PETER), silent)
    parts = (result.embedding, result.bias, *result.mlp, *result.biases, *(sum(row) for row in result.heads))
    assert sum(parts) == pytest.approx(result.difference, abs=1e-4)
    assert all(check.level == "ok" for check in result.checks)
    first = result.largest[0]
    assert (first.layer, first.head) == (23, 4)
    assert first.added == pytest.approx(-1.98, abs=0.02)
    assert result.encoded.texts[first.looked_at[0].token] == " Oslo"
    assert first.looked_at[0].weight == pytest.approx(0.53, abs=0.02)
    assert first.writes[0].text == " Oslo"
    assert abs(sum(map(sum, result.heads))) < 0.5 < 3 < -sum(result.mlp)  # heads cancel out, the MLPs' sum does not


def test_what_arrives_by_that_head_comes_from_the_wrong_name(default_model: LoadedModel) -> None:
    result = attention.run(default_model, AttentionRequest(case=PETER), silent)
    assert (result.layer, result.head, result.shared_by) == (23, 4, 3)
    oslo = result.encoded.texts.index(" Oslo")
    assert result.arriving[oslo] < 0.8 * result.added
    assert sum(result.arriving) == pytest.approx(result.added, abs=1e-3)
    assert 0 in result.sinks
    assert result.checks[0].level == "ok"


def test_no_single_head_turns_the_answer_and_what_turns_it_breaks_another(default_model: LoadedModel) -> None:
    result = knock_out.run(default_model, KnockoutRequest(case=PETER), silent)
    effects = [effect for row in result.effects for effect in row if effect is not None]
    assert len(effects) == 270
    assert not any(result.difference + effect > 0 for effect in effects)
    assert not any(result.turns(each) for each in result.tried if each.what in ("single", "random"))
    turning = [each for each in result.tried if result.turns(each)]
    assert [each.what for each in turning] == ["best"]
    assert len(turning[0].heads) == 3
    counting = {outcome.control.how for outcome in result.controls if outcome.counts}
    assert counting == {"reordered", "other owner"}
    assert result.verdict(turning[0]) == "breaks controls"


def test_a_head_knocked_out_is_what_a_complete_run_with_a_hook_says(default_model: LoadedModel) -> None:
    result = knock_out.run(default_model, KnockoutRequest(case=PETER, heads=("L23H4",), made=False), silent)
    ids = torch.tensor([result.encoded.ids])
    assert result.encoded.target
    assert result.encoded.foil

    def before(_module, args):
        read = args[0].clone()
        read[:, -1, 4 * 64 : 5 * 64] = 0
        return (read,)

    hook = default_model.hf.get_submodule("model.layers.23.self_attn.o_proj").register_forward_pre_hook(before)
    with torch.no_grad():
        logits = default_model.hf(ids).logits[0, -1]
    hook.remove()
    plain = float(logits[result.encoded.target.id] - logits[result.encoded.foil.id])
    assert result.tried[0].difference == pytest.approx(plain, abs=1e-3)
    assert default_model.hf.config._attn_implementation == "sdpa"
