"""Tiny models with room for a reasoning, and what they say after a text when it is run from its start."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
import transformers

from tests import tiny
from workbench.case import Case
from workbench.loading import wrap
from workbench.models.tokens import encode

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

CONTEXT = 500

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</{{ message['role'] }}>"
    "{% endfor %}{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def roomy(architecture: str, seed: int = 0, template: str | None = None, device: str = "cpu") -> LoadedModel:
    """The tiny model with another length of context, and with a chat template where one is given."""
    config = copy.deepcopy(tiny.tiny_model(architecture).config)
    config.max_position_embeddings = CONTEXT  # GPT-2 and its like know it by this name too
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        tiny._enliven(name, parameter.data, generator)
    tokenizer = copy.deepcopy(tiny.tiny_tokenizer())
    tokenizer.chat_template = template
    return wrap(model.to(device), tokenizer, f"roomy-{architecture}")


def ids(model: LoadedModel, text: str) -> list[int]:
    return list(encode(model.tokenizer, Case(prompt=text)).ids)


def log_probabilities(model: LoadedModel, tokens: list[int]) -> torch.Tensor:
    """After each token ``(tokens, vocabulary)``, from a run of its own."""
    with torch.no_grad():
        logits = model.hf(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.float().log_softmax(dim=-1)


def log_probability(model: LoadedModel, text: str, continuation: str) -> float:
    """Of a continuation, token by token, in one run from the start."""
    before, joined = ids(model, text), ids(model, text + continuation)
    assert joined[: len(before)] == before
    logs = log_probabilities(model, joined)
    return sum(float(logs[at - 1, joined[at]]) for at in range(len(before), len(joined)))


def greedy(model: LoadedModel, tokens: list[int], limit: int, stops: set[int]) -> list[int]:
    """The greedy continuation, each token from a run of the whole text."""
    written: list[int] = []
    while len(written) < limit:
        token = int(log_probabilities(model, tokens + written)[-1].argmax())
        if token in stops:
            break
        written.append(token)
    return written
