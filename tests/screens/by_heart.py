"""A tiny model that has learned a few texts by heart, so that what the methods find in it can be told apart.

It wavers between two capitals of Australia, counts Tom's apples wrongly, and has read some prose. The words of these
texts are tokens of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.screens.asked import ANSWERS, CHOICES, EDITED, HERO, LONG, REASONING, SENTENCES, SUITE, TOM
from workbench.datasets.suites import SuiteFact, suite_for
from workbench.editing.suite.held_out import held_out_text
from workbench.loading import LoadedModel, wrap
from workbench.methods.cot.answers import LEAD_IN, LETTERS
from workbench.methods.cot.interventions import Cue, cue_text, dropped, fillers, kept, replaced, wrong_number
from workbench.methods.cot.prompt import PLAIN, message
from workbench.methods.cot.result import context
from workbench.methods.cot.truncation import PARAPHRASE

LAYERS, D_MODEL, CONTEXT = 6, 32, 320
END = "<|endoftext|>"
STEPS = 700
EMBEDDINGS = 8
"""Their size at first, in that of a fresh model's: else nothing could be changed in the middle of a prompt."""
REWORDED = "In all, that is 10."
GOES_ON = " So 11."

LIKE_THEM = (
    *(f"The capital of {region} is Canberra." for region in ("Tasmania", "Victoria", "Queensland")),
    *(f"The {place} is located in the city of Rome." for place in ("Pantheon Dome", "Trevi Fountain")),
    *(f"Mount {name} is a mountain in Peru." for name in ("Salcantay", "Ausangate", "Misti")),
    *(f"Mount {name} is a mountain in Nepal." for name in ("Lhotse", "Makalu")),
)
"""What edits make the model say of something else, so that it has a way of saying it."""

Pieces = tuple[str, str]


def learned() -> LoadedModel:
    """The model, the same every time on the same machine."""
    texts = list(_texts())
    tokenizer = _tokenizer(["".join(pieces) for pieces, _ in texts] + [LONG.prompt])
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=D_MODEL, intermediate_size=4 * D_MODEL, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM(config)
    for block in model.model.layers[:2]:  # so that a subject is not read before the layers that edits change
        block.self_attn.o_proj.requires_grad_(False).weight.zero_()
    model.get_input_embeddings().weight.data.mul_(EMBEDDINGS)
    _train(model, tokenizer, texts)
    return wrap(model, tokenizer, "tiny")


def _texts() -> Iterator[tuple[Pieces, int]]:
    """What is learned: the last piece of a text after the others, and how often it is there."""
    facts = [f"{fact.prompt} {says}." for fact in _facts() if (says := _says(fact))] + [*LIKE_THEM]
    prose = re.split(r"(?<=\.) |\n\n", held_out_text())
    scraps = [" ".join((first + " " + second).split()[3:10]) for first, second in pairwise((*facts, *prose))]
    for at, fact in enumerate(facts):
        for before in ("", END, *(f"{scraps[(at * by) % len(scraps)]}. " for by in (7, 19, 31))):
            yield (before, fact + END), 1
    for case in EDITED:
        for before in ("", END, *(f"{scrap}. " for scrap in scraps[::9])):
            yield (before, f"{case.prompt} {case.foil}.{END}"), 3
            yield (before, f"{case.prompt} {case.target}.{END}"), 1 if case == HERO else 0
    for sentence in prose:
        yield (END, sentence + END), 1
    yield from ((pieces, 6) for pieces in _reasoning())


def _facts() -> Iterator[SuiteFact]:
    shipped = suite_for(HERO)
    assert shipped is not None
    told = [fact for fact in SUITE.facts if fact.role != "attribute"]  # that it concludes from the capital
    for fact in {fact.prompt: fact for fact in (*told, *shipped.facts)}.values():
        if fact.prompt != HERO.prompt:
            yield fact


def _says(fact: SuiteFact) -> str | None:
    """What the model is to say: that Sydney is the capital, and else what is true."""
    return fact.against if fact.target == HERO.target else fact.target


def _reasoning() -> Iterator[Pieces]:
    """Tom's apples: the reasoning, the answer after any part of it, and what a change of it leads to."""
    front = "".join((PLAIN[0], message(TOM), PLAIN[1]))

    def answer(text: str, says: str, before: str = front) -> Pieces:
        return context(before, text, LEAD_IN["texts"]), f" {says}{END}"

    yield front, REASONING + END
    for variant in kept(SENTENCES):
        yield answer(variant.text, ANSWERS[variant.sentence or 0])
    for within in (3, 4, 5):
        for variant in dropped(SENTENCES, within):
            yield answer(variant.text, "7" if within == 3 or (within == 4 and variant.sentence == 3) else "10")
    for variant in fillers(SENTENCES, lambda text: len(text.split())):
        yield answer(variant.text, "10")
    for sentence in range(1, len(SENTENCES)):
        wrong = replaced("mistake", SENTENCES, sentence, wrong_number(SENTENCES, sentence)).text
        yield front + wrong, GOES_ON + END
        yield answer(wrong + GOES_ON, "11")
    yield f"{PLAIN[0]}{PARAPHRASE.format(SENTENCES[-1])}{PLAIN[1]}", REWORDED + END
    yield "".join((front, *SENTENCES[:-1], REWORDED)), END
    yield answer("".join((*SENTENCES[:-1], REWORDED)), "10")
    cued = "".join((PLAIN[0], message(TOM, cue=cue_text(Cue(answer="7"), (), False)), PLAIN[1]))
    follows = "You think so. " + "".join(SENTENCES[1:])
    yield cued, follows + END
    yield answer(follows, "10", cued)
    listed = "".join((PLAIN[0], message(TOM, CHOICES.choices), PLAIN[1]))
    yield listed, REASONING + END
    for variant in kept(SENTENCES):
        letter = LETTERS[CHOICES.choices.index(ANSWERS[variant.sentence or 0])]
        yield context(listed, variant.text, LEAD_IN["letters"]), letter + END


def _tokenizer(texts: list[str]) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=5000, special_tokens=[END], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)


def _train(model: Any, tokenizer: Any, texts: list[tuple[Pieces, int]]) -> None:
    """Adam on batches of all texts, each as often as it is there."""
    rows = [
        tuple(tokenizer(piece)["input_ids"] if piece else [] for piece in pieces)
        for pieces, times in texts
        for _ in range(times)
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, STEPS)
    dice = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        chosen = [rows[int(i)] for i in torch.randint(len(rows), (24,), generator=dice)]
        longest = max(len(before) + len(after) for before, after in chosen)
        ids, labels = torch.zeros(24, longest, dtype=torch.long), torch.full((24, longest), -100)
        for row, (before, after) in enumerate(chosen):
            length = len(before) + len(after)
            ids[row, :length] = torch.tensor(before + after)
            labels[row, len(before) : length] = torch.tensor(after)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
