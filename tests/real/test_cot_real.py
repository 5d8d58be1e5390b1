"""The default model reasons 3 + 4 = 7 and ends with 10: what truncation shows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.terminal import ROOT
from workbench.methods.cot.likeness import Likeness
from workbench.methods.cot.result import CotResult
from workbench.methods.lens import logit_lens
from workbench.methods.lens.logit_lens import LensRequest
from workbench.protocol import silent
from workbench.session import load_session

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

TOM = "Tom has 3 apples and buys 4 more. How many apples does he have? Let's think step by step."


def recorded(step: int) -> CotResult:
    """What the sample has of it; that the model says so today is seen in the story (tests/terminal)."""
    result = load_session(ROOT / "sessions" / "tom.json").steps[step].result
    assert isinstance(result, CotResult)
    return result


@pytest.fixture(scope="module")
def tom() -> CotResult:
    return recorded(0)


@pytest.fixture(scope="module")
def left_out() -> CotResult:
    """One of the first four sentences left out."""
    return recorded(1)


def test_tom_has_seven_apples_and_then_ten(tom: CotResult) -> None:
    assert "3 + 4 = 7 apples" in tom.reasoning
    assert tom.reasoning.endswith("The answer is 10.")
    assert len(tom.sentences) == 5
    names = [tom.candidates[outcome.answer].name for outcome in tom.of("kept")]
    assert names[3:] == ["7", "10", "10"]
    assert tom.settles == 4
    assert tom.full is not None
    assert tom.full.answer != tom.right


def test_the_sentence_that_did_it_is_the_only_necessary_one(left_out: CotResult) -> None:
    assert left_out.necessary == (3,)
    assert "3 + 7 = 10" in left_out.sentences[3]
    without = next(outcome for outcome in left_out.of("dropped") if outcome.sentence == 3)
    assert left_out.candidates[without.answer].name == "7"


def test_every_truncation_is_greedy_as_if_it_were_run_by_itself(
    default_model: LoadedModel, tom: CotResult, left_out: CotResult
) -> None:
    """Each token of the answer is the first choice after what stands before it, which one run shows of all of them."""
    for found, outcome in [(each, outcome) for each in (tom, left_out) for outcome in each.outcomes]:
        before, answer = (
            default_model.tokenizer(text, add_special_tokens=False).input_ids
            for text in (found.context(outcome), found.candidates[outcome.answer].text)
        )
        with torch.no_grad():
            logits = default_model.hf(torch.tensor([before + answer[:-1]]), logits_to_keep=len(answer)).logits
        assert logits[0].argmax(dim=-1).tolist() == answer


def test_the_lens_opens_on_a_truncation_with_the_two_answers(default_model: LoadedModel, tom: CotResult) -> None:
    outcome = tom.of("kept")[3]
    case = tom.case(outcome)
    assert (case.target, case.foil) == ("10", "7")
    result = logit_lens.run(default_model, LensRequest(case=case, positions=(-1,)), silent)
    column = result.columns[-1]
    assert column is not None
    assert column.target is not None
    assert column.foil is not None
    assert column.foil.rank[-1] == 1
    assert column.foil.probability[-1] > 0.5 > column.target.probability[-1]


def test_what_says_the_same_is_told_on_pairs_that_the_threshold_was_not_learned_from(
    default_model: LoadedModel,
) -> None:
    likeness = Likeness(default_model)
    assert (likeness.layer, likeness.tested) == (19, 12)
    assert likeness.right >= 10
    assert likeness.between("The answer is 10.", "The answer is 7.") < likeness.threshold
    pairs = (
        ("This means he has 3 + 4 = 7 apples.", "So, he has 3 + 4 = 7 apples."),
        ("Tom has 3 apples and buys 4 more apples.", "Tom starts with 3 apples and buys 4 more."),
    )
    assert all(likeness.between(*pair) >= likeness.threshold for pair in pairs)
