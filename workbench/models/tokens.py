"""From a Case to token ids, and token text that is safe to show.

`encode` finds, by character offsets, which tokens are the prompt's own, which are its subject, and which token the
target and the foil begin with where they really follow the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from workbench.case import Case
from workbench.errors import InputError, ModelError
from workbench.models.following import follows
from workbench.models.framing import FramedTokens, Framing, chat_frame, check_embedded, plain_frame, tokenise
from workbench.models.tokentext import TokenTable, display, token_table, token_text, token_texts
from workbench.protocol import Frozen
from workbench.shapes import as_many, span_within
from workbench.spans import find_subject

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["EncodedCase", "TokenChoice", "continuation_ids", "display", "encode", "token_text", "token_texts"]


class TokenChoice(Frozen):
    """The first token of a target or foil, and how many tokens (``pieces``) the whole of it is."""

    id: int
    text: str
    pieces: int


class EncodedCase(Frozen):
    """A Case as the model sees it. ``texts`` and the choices hold display text (see `display`).

    The first ``prepended`` tokens hold nothing of the prompt's own text (BOS, separator, newline, the head of a chat
    template), nor do the last ``appended`` (the template's tail). ``starts_bare``: a content token of the
    prompt, neither special nor blank, stands in the model's first position, where much of it is lost.
    ``subject`` is tokens [start, stop) of ``ids``. ``notes`` are sentences for the person about what was decided.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    prepended: int
    appended: int
    starts_bare: bool
    subject: tuple[int, int] | None
    target: TokenChoice | None
    foil: TokenChoice | None
    notes: tuple[str, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        n_tokens = len(self.ids)
        as_many(ids=self.ids, texts=self.texts)
        span_within("subject", self.subject, n_tokens)
        if min(self.prepended, self.appended, n_tokens - self.prepended - self.appended, n_tokens - 1) < 0:
            raise ValueError(
                f"{self.prepended} prepended and {self.appended} appended tokens do not fit into {n_tokens}"
            )
        return self


def encode(
    tokenizer: PreTrainedTokenizerBase, case: Case, context: int | None = None, prefix: tuple[int, ...] = ()
) -> EncodedCase:
    """Tokenise a case: ids, the subject's tokens, and the tokens that target and foil begin with.

    ``context`` is the longest prompt the model reads, in tokens. ``prefix`` are tokens that stand directly before the
    prompt, after BOS or separator, newline, or the head of a chat template: what edits in context say. Use
    `workbench.loading.LoadedModel.encode` for what a model with its edits is to read. Raises InputError where the case
    makes no sense with this tokenizer, and ModelError where the tokenizer cannot say which characters a token covers.
    """
    _check_text(case)
    if not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer does not say which characters a token covers; use a model that has a tokenizer.json"
        )
    notes: list[str] = []
    frame = chat_frame(tokenizer, case, notes) if case.chat else plain_frame(tokenizer, case, notes)
    tokens = tokenise(tokenizer, frame)
    if tokens.closing:
        notes.append("The end token that the tokenizer appends to a text is left out, so that the model continues it.")
    if context is not None and len(tokens.ids) + len(prefix) > context:
        with_prefix = f" with the {len(prefix)} that edits in context prepend" if prefix else ""
        raise InputError(
            f"the prompt is {len(tokens.ids) + len(prefix)} tokens{with_prefix} and the model reads at most {context}; "
            f"shorten it{', or switch such an edit off' if prefix else ''}"
        )

    own = [i for i, (_, stop) in enumerate(tokens.offsets) if frame.start < stop and not frame.is_appended(tokens, i)]
    if not own:
        raise InputError("the tokenizer makes no token of this prompt; type words that the model knows")
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    table = token_table(tokenizer)
    _note_special_tokens([table[tokens.ids[i]] for i in own if tokens.ids[i] in special], notes)
    first = tokens.ids[0]

    subject = None if case.subject is None else _subject_span(table, tokens, frame, case, notes)
    target = None if case.target is None else _choice(tokenizer, frame, tokens, "target", case.target, notes)
    foil = None if case.foil is None else _choice(tokenizer, frame, tokens, "foil", case.foil, notes)
    if target and foil and target.id == foil.id:
        hint = "type that space at the end of the prompt" if target.text == "·" else "choose two that begin differently"
        raise InputError(
            f"target {_quoted(case.target)} and foil {_quoted(case.foil)} begin with the same token, "
            f'"{target.text}"; {hint}'
        )
    at = max(own[0], _typed_start(tokenizer, first)) if prefix else own[0]
    ids = (*tokens.ids[:at], *prefix, *tokens.ids[at:])
    if prefix:
        notes.append(f"{len(prefix)} tokens of edits in context stand before the prompt.")
        subject = subject and (subject[0] + len(prefix), subject[1] + len(prefix))
    return EncodedCase(
        ids=ids,
        texts=tuple(table[token] for token in ids),
        prepended=at + len(prefix),
        appended=len(tokens.ids) - 1 - own[-1],
        starts_bare=not prefix and own[0] == 0 and first not in special and not table.is_blank(first),
        subject=subject,
        target=target,
        foil=foil,
        notes=tuple(notes),
    )


def _typed_start(tokenizer: PreTrainedTokenizerBase, first: int) -> int:
    """How many tokens of a prompt's own are a BOS or separator that was typed: 1 or 0."""
    starts = {tokenizer.backend_tokenizer.token_to_id("<|endoftext|>"), tokenizer.bos_token_id}
    return int(first in starts)


def continuation_ids(tokenizer: PreTrainedTokenizerBase, case: Case) -> tuple[int, ...]:
    """Every token of the case's target where it really follows the prompt; `encode` gives the first of them.

    Raises InputError as `encode` does, and for a case without a target.
    """
    if case.target is None:
        raise InputError("there is no target; give the continuation that is meant")
    _check_text(case)
    notes: list[str] = []  # `encode` tells the person
    frame = chat_frame(tokenizer, case, notes) if case.chat else plain_frame(tokenizer, case, notes)
    text = _as_it_follows(frame, "target", case.target, notes)
    return tuple(_pieces(tokenizer, frame, tokenise(tokenizer, frame), "target", text, notes))


def _check_text(case: Case) -> None:
    if not case.prompt.strip():
        raise InputError("the prompt is empty; type the text that the model is to continue")
    for name in ("prompt", "subject", "target", "foil"):
        try:
            (getattr(case, name) or "").encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the {name} holds bytes that are not UTF-8 text; type it again") from error


def _note_special_tokens(texts: Sequence[str], notes: list[str]) -> None:
    if texts:
        listed = ", ".join(f'"{text}"' for text in dict.fromkeys(texts))
        notes.append(f"The prompt's text holds {listed}, which the model reads as a special token.")


# --- The subject ---


def _subject_span(
    table: TokenTable, tokens: FramedTokens, frame: Framing, case: Case, notes: list[str]
) -> tuple[int, int]:
    """Tokens [start, stop) that hold a character, other than a blank, of the subject where `find_subject` finds it."""
    subject = str(case.subject)
    if not subject.strip():
        raise InputError("the subject is empty; type words of the prompt, or leave the subject out")
    shift = len(case.prompt) - len(case.prompt.lstrip()) if frame.prompt != case.prompt else 0
    at = None if case.subject_at is None else case.subject_at - shift
    found = find_subject(frame.prompt, subject, at)
    if found is None and at is not None:
        raise InputError(f"the subject {_quoted(subject)} does not begin at character {case.subject_at} of the prompt")
    if found is None:
        nearest = frame.prompt[-300:]
        listed = ", ".join(map(display, nearest.split()))
        raise InputError(
            f"the subject {_quoted(subject)} is not in the prompt (upper and lower case count); "
            f"choose among its words, {'…' if nearest != frame.prompt else ''}{listed}"
        )
    if found.other_form:
        notes.append("The prompt writes the subject's characters in another Unicode form, and is taken at that.")
        subject = frame.prompt[found.start : found.stop]
    if found.occurrences > 1:
        notes.append(f"The subject {_quoted(subject)} occurs {found.occurrences} times; the last is used.")

    text = frame.head + frame.prompt + frame.tail
    start, stop = frame.start + found.start, frame.start + found.stop
    inside = [
        i
        for i, (left, right) in enumerate(tokens.offsets)
        if left < stop and start < right and not table.is_blank(tokens.ids[i])
    ]
    if not inside:
        raise InputError(f"the tokenizer makes no token of the subject {_quoted(subject)}; choose other words")
    first, last = inside[0], inside[-1]
    if text[tokens.offsets[first][0] : start].strip() or text[stop : tokens.offsets[last][1]].strip():
        pieces = ", ".join(f'"{table[token]}"' for token in tokens.ids[first : last + 1])
        notes.append(f"The subject {_quoted(subject)} is a part of the token{'s' * (last > first)} {pieces}.")
    return first, last + 1


# --- Target and foil ---


def _choice(
    tokenizer: PreTrainedTokenizerBase, frame: Framing, prompt: FramedTokens, name: str, text: str, notes: list[str]
) -> TokenChoice:
    """The token that really follows the prompt when ``text`` does."""
    text = _as_it_follows(frame, name, text, notes)
    pieces = _pieces(tokenizer, frame, prompt, name, text, notes)
    choice = TokenChoice(id=pieces[0], text=token_text(tokenizer, pieces[0]), pieces=len(pieces))
    if choice.pieces > 1:
        notes.append(f'The {name} {_quoted(text)} is {choice.pieces} tokens; the first, "{choice.text}", is used.')
    return choice


def _as_it_follows(frame: Framing, name: str, text: str, notes: list[str]) -> str:
    """The continuation as it is written after the prompt."""
    if not text.strip(" "):
        raise InputError(f"the {name} is empty; type the continuation that is meant, or leave the {name} out")
    return text if frame.reply else follows(frame.prompt, name, text, notes)


def _pieces(
    tokenizer: PreTrainedTokenizerBase, frame: Framing, prompt: FramedTokens, name: str, text: str, notes: list[str]
) -> list[int]:
    """All tokens of ``text``, one or more, where it follows the prompt."""
    joined = tokenise(tokenizer, frame, text).ids
    at = len(prompt.ids)
    pieces = joined[at:]
    if joined[:at] != prompt.ids:
        pieces = _tokenised_alone(tokenizer, text)
        check_embedded(tokenizer, pieces)
        notes.append(
            f"The tokenizer would join the end of the prompt with the {name} {_quoted(text)}; "
            f"the {name} is tokenised by itself."
        )
    if not pieces or (pieces[0] == tokenizer.unk_token_id and not text.lstrip().startswith(tokenizer.unk_token)):
        raise InputError(f"the {name} {_quoted(text)} is not in this model's vocabulary; choose another")
    return pieces


def _tokenised_alone(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a text that continues another one, without the blank that some tokenizers put before a text.

    A line break stands before it, which joins with next to nothing.
    """
    fence = tokenizer("\n", add_special_tokens=False)["input_ids"]
    fenced: list[int] = tokenizer("\n" + text, add_special_tokens=False)["input_ids"]
    if fence and fenced[: len(fence)] == fence:
        return fenced[len(fence) :]
    alone: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return alone


def _quoted(text: str | None) -> str:
    return f'"{display(text or "")}"'
