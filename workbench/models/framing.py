"""What stands around a prompt, BOS, a separator, a newline or a chat template, and the tokens of it all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.errors import InputError
from workbench.models.chat_template import render
from workbench.models.tokentext import token_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EMBEDDED = "workbench_embedded_tokens"
"""The attribute of a tokenizer with more tokens than its model embeds: how many that are."""


@dataclass(frozen=True)
class Framing:
    """What stands around the prompt: token ids, then ``head`` + ``prompt`` + ``tail`` as one text.

    ``special``: the tokenizer adds its own special tokens to that text. ``reply``: what follows it begins a new
    text (after a chat template) instead of continuing the prompt.
    """

    ids: tuple[int, ...]
    head: str
    prompt: str
    tail: str
    special: bool
    reply: bool

    @property
    def start(self) -> int:
        """Where the prompt begins, in characters."""
        return len(self.head)

    @property
    def stop(self) -> int:
        """Where it ends."""
        return len(self.head) + len(self.prompt)

    def is_appended(self, tokens: FramedTokens, i: int) -> bool:
        """Whether token i is the tail's. A blank token may have an empty span at the prompt's very end."""
        start, stop = tokens.offsets[i]
        return start >= self.stop and stop > self.stop


def plain_frame(tokenizer: PreTrainedTokenizerBase, case: Case, notes: list[str]) -> Framing:
    """What is prepended to a prompt without a template. What a person should know of it is added to ``notes``.

    Raises `InputError` for a tokenizer that drops what is to be prepended, or has none of it.
    """
    plain = Framing(ids=(), head="", prompt=case.prompt, tail="", special=True, reply=False)
    if case.prompt.endswith(" "):
        notes.append("The prompt ends in a space, which most tokenizers make a part of the next word.")
    if case.prepend == "as-is":
        return plain
    bare = tokenise(tokenizer, plain)
    if case.prepend == "newline":
        frame = Framing(ids=(), head="\n", prompt=case.prompt, tail="", special=True, reply=False)
        if tokenise(tokenizer, frame).ids == bare.ids:
            raise InputError(
                "this tokenizer drops a newline at the beginning; prepend nothing (as-is) or the separator"
            )
        return frame
    if bare.opening:  # the tokenizer prepends BOS by itself
        return plain
    separator = _document_separator(tokenizer)
    if bare.ids[:1] == [separator]:  # it was typed
        return plain
    return Framing(ids=(separator,), head="", prompt=case.prompt, tail="", special=True, reply=False)


def _document_separator(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stood between documents in training, for a tokenizer that prepends nothing by itself.

    A declared bos comes last: with such tokenizers it is often a chat marker that never began a document. (Of 600
    facts SmolLM2 knows 192 after its separator and 128 after its bos.)
    """
    found = tokenizer.backend_tokenizer.token_to_id("<|endoftext|>")
    for token in (found, tokenizer.eos_token_id, tokenizer.bos_token_id):
        if token is not None:
            return int(token)
    raise InputError("this tokenizer has neither BOS nor separator; prepend nothing (as-is) or a newline")


_MARK = "the-prompt-goes-here"


def chat_frame(tokenizer: PreTrainedTokenizerBase, case: Case, notes: list[str]) -> Framing:
    """The chat template around one user message. What surrounds it is found by rendering a marker in its place.

    Raises `InputError` for a case that something is prepended to, and for a template that rewrites its prompt.
    """
    if case.prepend != "as-is":
        raise InputError("a chat template decides what is prepended; prepend nothing (as-is), or turn chat off")
    marked, text = render(tokenizer, (_MARK, case.prompt))
    head, _, tail = marked.partition(_MARK)
    prompt = text[len(head) : len(text) - len(tail)]
    if text != head + prompt + tail or prompt not in (case.prompt, case.prompt.strip()):
        raise InputError("this model's chat template rewrites the prompt; turn chat off, or change the prompt")
    if prompt != case.prompt:
        notes.append("The chat template takes away the blanks around the prompt.")
    return Framing(ids=(), head=head, prompt=prompt, tail=tail, special=False, reply=True)


@dataclass(frozen=True)
class FramedTokens:
    """Token ids and the characters [start, stop) that each covers; how many the tokenizer added at either end.

    Those at the end (``closing``) are left out of ``ids``.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]
    opening: int
    closing: int


def tokenise(tokenizer: PreTrainedTokenizerBase, frame: Framing, continuation: str = "") -> FramedTokens:
    """The tokens of a prompt in its frame and of a continuation. Raises `InputError` as `check_embedded` does."""
    encoding = tokenizer(
        frame.head + frame.prompt + frame.tail + continuation,
        add_special_tokens=frame.special,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,  # encode itself says when a prompt is too long
    )
    added = "".join(map(str, encoding["special_tokens_mask"]))  # e.g. "1000"; special tokens that were typed are 0
    closing = len(added) - len(added.rstrip("1"))
    kept = slice(0, len(added) - closing)
    check_embedded(tokenizer, encoding["input_ids"])
    return FramedTokens(
        ids=[*frame.ids, *encoding["input_ids"][kept]],
        offsets=[*((0, 0) for _ in frame.ids), *encoding["offset_mapping"][kept]],
        opening=len(added) - len(added.lstrip("1")),
        closing=closing,
    )


def check_embedded(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int]) -> None:
    """Raise `InputError` for a token that the tokenizer has and the model's embedding has no row for.

    Loading notes the rows with such a tokenizer; it is no reason to refuse the model, as Gemma 3 shows, whose
    tokenizer has a token for images that its text models do not embed.
    """
    rows = getattr(tokenizer, EMBEDDED, None)
    without = next((token for token in ids if rows is not None and token >= rows), None)
    if without is not None:
        raise InputError(
            f'the model has no embedding for the token "{token_text(tokenizer, without)}", which its tokenizer knows '
            f"(number {without}, of {rows} embedded); leave it out, or use a tokenizer that fits the model"
        )
