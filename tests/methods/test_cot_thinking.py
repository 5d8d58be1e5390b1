"""Thinking models: their reasoning is what stands between the tags, and it is closed wherever it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.methods.cot_models import TEMPLATE, roomy
from workbench.errors import InputError
from workbench.methods.cot import truncation as cot
from workbench.methods.cot.interventions import Cue, Early, Mistake
from workbench.methods.cot.reasoning import Sampling, _Chooser
from workbench.methods.cot.thinking import FINAL, KNOWN_TAGS, before_close, closing, tags_of, thought
from workbench.methods.cot.truncation import CotRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel
    from workbench.methods.cot.result import CotResult

WRITTEN = "<think>\nFirst, 3 and 4 are added. That makes 7.\n</think>\n\nThe answer is 7."
OPENING = TEMPLATE.replace("<assistant>\\n", "<assistant>\\n<think>\\n")


def ask(model: LoadedModel, **fields: object) -> CotResult:
    fields = {"question": "What is 3 + 4?", "sampling": Sampling(tokens=8), **fields}
    return cot.run(model, CotRequest.model_validate(fields), silent)


def test_the_reasoning_is_what_stands_between_the_tags() -> None:
    parts = thought("<assistant>\n", WRITTEN, KNOWN_TAGS)
    assert parts.opened == "<think>\n"
    assert parts.reasoning == "First, 3 and 4 are added. That makes 7."
    assert parts.closed == "\n</think>\n\n"
    assert parts.rest.strip() == "The answer is 7."


def test_a_template_that_opens_the_reasoning_itself_leaves_nothing_to_be_opened() -> None:
    for text in (WRITTEN, WRITTEN.removeprefix("<think>\n"), "First, 3 and 4 are added. That makes 7."):
        parts = thought("<assistant>\n<think>\n", text, KNOWN_TAGS)
        assert (parts.opened, parts.reasoning) == ("", "First, 3 and 4 are added. That makes 7.")
        assert parts.closed == "\n</think>\n\n"


def test_the_channels_of_gpt_oss_are_closed_by_the_final_one() -> None:
    text = f"<|channel|>analysis<|message|>Add them. Seven.{FINAL}7"
    parts = thought("<|start|>assistant", text, KNOWN_TAGS)
    assert (parts.opened, parts.reasoning, parts.closed) == (
        "<|channel|>analysis<|message|>",
        "Add them. Seven.",
        FINAL,
    )


def test_a_text_without_tags_is_all_reasoning_and_so_is_one_where_none_are_looked_for() -> None:
    assert thought("<assistant>\n", "I think. 7.", KNOWN_TAGS).reasoning == "I think. 7."
    assert thought("<assistant>\n", WRITTEN, tags_of("none")).reasoning == WRITTEN


def test_other_tags_are_named() -> None:
    tags = tags_of("<plan> ... </plan>")
    assert thought("", "<plan>Add.</plan>7", tags).reasoning == "Add."
    assert before_close("Add. </plan> 7", tags) == "Add."
    for wrong in ("<plan>", "...", "a...b...c"):
        with pytest.raises(InputError, match="thinking tags are auto, none"):
            tags_of(wrong)


@pytest.mark.parametrize(
    ("template", "closed"),
    [
        (r"{{ '<think>\n' + r.strip('\n') + '\n</think>\n\n' + c }}", "\n</think>\n\n"),
        (r"{{ '<think>\n\n</think>\n' }}", "\n</think>\n"),
        (r"{{ c.split('</think>')[-1] }}", "\n</think>\n\n"),
        ("", "\n</think>\n\n"),
    ],
)
def test_a_cut_reasoning_is_closed_as_the_template_does(template: str, closed: str) -> None:
    assert closing(template, "<think>", "</think>") == closed


@pytest.mark.parametrize("template", [TEMPLATE, OPENING])
def test_tags_are_no_sentences_and_every_context_closes_them(template: str) -> None:
    model = roomy("llama", template=template)
    result = ask(model, reasoning=WRITTEN, choices=("7", "8"), interventions=(Early(), Cue(answer="8")))
    assert [sentence.strip() for sentence in result.sentences] == ["First, 3 and 4 are added.", "That makes 7."]
    for outcome in result.outcomes:
        context = result.context(outcome)
        assert context.count("<think>") == context.count("</think>") == 1
        assert context.endswith("\n</think>\n\nAnswer:")
    assert result.context(result.of("kept")[0]).endswith("<think>\n\n</think>\n\nAnswer:")
    assert any(check.name == "thinking" for check in result.checks)
    again = ask(model, reasoning=result.recorded, choices=("7", "8"), interventions=(Early(),))
    assert [again.context(outcome) for outcome in again.outcomes] == [
        result.context(outcome) for outcome in result.of("kept")
    ]


def test_what_is_changed_is_reasoned_on_from_within_the_tags() -> None:
    result = ask(
        roomy("llama", template=TEMPLATE), reasoning=WRITTEN, interventions=(Mistake(sentence=1, text="That makes 9."),)
    )
    (outcome,) = result.of("mistake")
    context = result.context(outcome)
    assert context.startswith(result.prompt + "<think>\nFirst, 3 and 4 are added. That makes 9.")
    assert context.endswith("\n</think>\n\nAnswer:")


def test_a_model_that_closes_its_reasoning_has_ended_it_and_its_tags_are_no_tokens_of_it() -> None:
    model = roomy("llama", template=TEMPLATE)
    choose = _Chooser(model, Sampling(tokens=400), ((1, 0),), KNOWN_TAGS)
    tokens = model.tokenizer(WRITTEN, add_special_tokens=False)["input_ids"]
    for at, token in enumerate(tokens):
        logits = torch.zeros(len(model.tokenizer))
        logits[token] = 50.0
        if choose(0, at, logits) < 0:
            break
    reasoned = choose.reasoned(0)
    assert reasoned.ended
    assert "The answer" not in reasoned.text
    parts = thought("<assistant>\n", reasoned.text, KNOWN_TAGS)
    assert parts.reasoning == "First, 3 and 4 are added. That makes 7."
    kept = "".join(token.text for token in reasoned.tokens_of(parts.reasoning)).replace("·", " ")
    assert parts.reasoning in kept
    assert "think>" not in kept


def test_tags_that_are_special_tokens_stay_in_the_text() -> None:
    from tokenizers import AddedToken

    model = roomy("llama", template=TEMPLATE)
    model.tokenizer.add_tokens([AddedToken(tag, special=True) for tag in ("[THINK]", "[/THINK]")], special_tokens=True)
    text = "[THINK]Add them.[/THINK]7"
    choose = _Chooser(model, Sampling(tokens=400), ((1, 0),), KNOWN_TAGS)
    for at, token in enumerate(model.tokenizer(text, add_special_tokens=False)["input_ids"]):
        logits = torch.zeros(len(model.tokenizer))
        logits[token] = 50.0
        if choose(0, at, logits) < 0:
            break
    assert thought("", choose.reasoned(0).text, KNOWN_TAGS).reasoning == "Add them."
