"""Which answer a model gives after a context, and how probable each answer is there.

With choices the answer is the most probable of them. Without, it is what the model writes, greedily and shortly;
answers that mean the same are one, and each that was found becomes a candidate whose probability can be read too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from workbench.case import Case
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.decoding import Ids
from workbench.models.forward.prefixes import Prefixes
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import encode
from workbench.models.tokentext import token_table
from workbench.protocol import Frozen

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

AnswerForm = Literal["texts", "letters"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

LEAD_IN: dict[AnswerForm, str] = {"texts": "\n\nAnswer:", "letters": "\n\nThe single, most likely answer is ("}
"""What leads to the answer. The second is that of Lanham et al. (arXiv 2307.13702, table 1), within one turn."""

ANSWER_TOKENS = 16
"""The longest free answer."""

NO_ANSWER = "(no answer)"

NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?(?:/\d+)?|[-−]?\.\d+")


class Candidate(Frozen):
    """An answer: its ``name`` on screen, and the ``text`` whose probability is read after the lead-in.

    ``blank`` says that the tokenizer makes the blank that the text begins with a token of its own.
    """

    name: str
    text: str
    blank: bool = False


class AnswerReader:
    """Reads answers after contexts, which are plain texts that end with the lead-in.

    ``candidates`` are the choices, or else the answers found so far.
    """

    def __init__(self, model: LoadedModel, prefixes: Prefixes, choices: Sequence[str], read: AnswerForm) -> None:
        self.candidates: list[Candidate] = []
        self._model = model
        self._prefixes = prefixes
        self._free = not choices
        self._named: dict[str, int] = {}  # a free answer's normal form to its candidate
        self._ids: dict[str, Ids] = {}
        self._first: dict[str, torch.Tensor] = {}  # log probabilities after a context, (vocabulary,)
        self._logs: dict[tuple[str, int], float] = {}
        for letter, choice in zip(LETTERS, choices, strict=False):
            self.candidates.append(Candidate(name=choice, text=letter if read == "letters" else f" {choice.strip()}"))

    def read(self, contexts: Sequence[str]) -> list[int]:
        """The index of the candidate that is the answer after each context."""
        if self._free:
            found = self._written(contexts)
        self.score(contexts)
        if self._free:
            return found
        return [max(range(len(self.candidates)), key=lambda c: self._logs[context, c]) for context in contexts]

    def probabilities(self, context: str) -> tuple[float, ...]:
        """The probability of each candidate after a context.

        Over the choices they sum to 1. A free answer's is that the model writes it, and not a candidate that begins
        with it (1 does not count 10).
        """
        self.score([context])
        logs = torch.tensor([self._logs[context, c] for c in range(len(self.candidates))], dtype=torch.float64)
        p = self._exclusive(logs.exp().tolist()) if self._free else logs.softmax(dim=-1).tolist()
        return tuple(float(f"{value:.7g}") for value in p)

    def _exclusive(self, p: list[float]) -> list[float]:
        texts = [candidate.text for candidate in self.candidates]
        for c in sorted(range(len(p)), key=lambda c: -len(texts[c])):
            longer = sum(p[d] for d in range(len(p)) if d != c and texts[d].startswith(texts[c]))
            p[c] = max(0.0, p[c] - longer)
        return p

    def mass(self, context: str) -> float:
        """The probability that all candidates have together."""
        return float(sum(torch.tensor([self._logs[context, c]]).exp() for c in range(len(self.candidates))))

    def index_of(self, answer: str) -> int | None:
        """The candidate that is this answer, None where there is none yet."""
        if self._free:
            return self._named.get(normalised(answer))
        return next((c for c, one in enumerate(self.candidates) if one.name == answer), None)

    def _written(self, contexts: Sequence[str]) -> list[int]:
        """What the model writes after each context, as candidates."""
        stops = stop_ids(self._model)
        table = token_table(self._model.tokenizer)

        def choose(_row: int, at: int, logits: torch.Tensor) -> int:
            token = int(logits.argmax())
            return -1 if token in stops or (at > 0 and "\n" in table.raw(token)) else token

        rows = [self._ids_of(context) for context in contexts]
        written = self._prefixes.go_on(rows, ANSWER_TOKENS, choose, keep=True)
        return [self._candidate(self._model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in written]

    def _candidate(self, written: str) -> int:
        text = shortest_answer(written)
        name = normalised(text)
        if name not in self._named:
            self._named[name] = len(self.candidates)
            if not name:  # it ended at once, or wrote nothing but signs
                text = self._model.tokenizer.eos_token or "\n"
            self.candidates.append(Candidate(name=name or NO_ANSWER, text=text))
        return self._named[name]

    def score(self, contexts: Sequence[str]) -> None:
        """Note the log probability of every candidate after every context, where it is not known yet.

        The first token of each is read after the context itself, once; what a candidate has more is run after it.
        """
        missing = [
            (context, c)
            for context in dict.fromkeys(contexts)
            for c in range(len(self.candidates))
            if (context, c) not in self._logs
        ]
        unread = [context for context, _ in missing if context not in self._first]
        unread = list(dict.fromkeys(unread))
        read = self._prefixes.logits([self._ids_of(context) for context in unread], keep=True)
        self._first |= {context: logits[-1].log_softmax(dim=-1) for context, logits in zip(unread, read, strict=True)}

        pieces = {pair: self._continuation(*pair) for pair in missing}
        longer = [pair for pair in missing if len(pieces[pair]) > 1]
        rows = [(*self._ids_of(context), *pieces[context, c][:-1]) for context, c in longer]
        after = self._prefixes.logits(rows, [len(pieces[pair]) - 1 for pair in longer])
        more = dict(zip(longer, after, strict=True))
        for context, c in missing:
            first, *rest = pieces[context, c]
            log = float(self._first[context][first])
            if rest:
                log += float(more[context, c].log_softmax(dim=-1)[range(len(rest)), rest].sum())
            self._logs[context, c] = log

    def _ids_of(self, context: str) -> Ids:
        if context not in self._ids:
            self._ids[context] = ids_of(self._model, context)
        return self._ids[context]

    def _continuation(self, context: str, c: int) -> Ids:
        """The tokens of a candidate where it really follows the context."""
        candidate = self.candidates[c]
        before = self._ids_of(context)
        joined = ids_of(self._model, context + candidate.text)
        pieces = joined[len(before) :]
        if not pieces or joined[: len(before)] != before:  # joined with the lead-in's end: taken by itself
            pieces = tuple(self._model.tokenizer(candidate.text, add_special_tokens=False)["input_ids"])
        if not pieces:
            raise InputError(f'the tokenizer makes no token of the answer "{candidate.name}"; word it differently')
        if len(pieces) > 1 and not candidate.blank and token_table(self._model.tokenizer).is_blank(pieces[0]):
            self.candidates[c] = candidate.model_copy(update={"blank": True})
        return pieces


def ids_of(model: LoadedModel, context: str) -> Ids:
    """The tokens of a context. Raises `InputError` where they are more than the model reads."""
    ids = encode(model.tokenizer, Case(prompt=context), prefix=model.edits.prefix).ids
    if len(ids) > model.info.context:
        raise InputError(
            f"the question, its reasoning and the lead-in to the answer are {len(ids)} tokens and the model reads "
            f"at most {model.info.context}; shorten the question, or let it reason in fewer tokens"
        )
    return ids


def shortest_answer(written: str) -> str:
    """The part of what was written that is the answer: its first sentence, up to a number if there is one in it."""
    line = next((line for line in written.split("\n") if line.strip()), "")
    start = written.find(line)
    sentence = re.split(r"(?<=[^\s\d][.!?;])\s|(?<=\d[.!?;])\s|[.!?;]+$", line)[0]
    last = sentence.rfind("=")
    number = NUMBER.search(sentence, max(last, 0))
    return written[: start + (number.end() if number else len(sentence.rstrip(" .!?;,:*)")))]


def normalised(answer: str) -> str:
    """An answer as it is compared: a number if it holds just one (or one after its last "="), else its words.

    Numbers are written alike (1,000 and 1000.0, seven and 7); words lose articles, punctuation and capital letters.
    """
    found = NUMBER.findall(answer.rpartition("=")[2]) or NUMBER.findall(answer)
    if len(found) == 1:
        return _plain_number(found[0])
    text = unicodedata.normalize("NFKC", answer).casefold()
    text = re.sub(r"[^\w\s%.,/-]|(?<!\d)[.,/-]|[.,/-](?!\d)", " ", text)
    words = [word for word in text.split() if word not in ("a", "an", "the")]
    numbers = [str(NUMBER_WORDS.index(word)) for word in words if word in NUMBER_WORDS]
    if len(numbers) == 1:
        return numbers[0]
    return " ".join(_plain_number(word) if NUMBER.fullmatch(word) else word for word in words)


def _plain_number(number: str) -> str:
    plain = number.replace(",", "").replace("−", "-")
    if "/" in plain:
        return plain
    whole, _, part = plain.partition(".")
    part = part.rstrip("0")
    whole = re.sub(r"^(-?)0+(?=\d)", r"\1", whole) or "0"
    return f"{whole}.{part}" if part else whole
