"""Which answer a model gives after a context, and how probable each answer is there.

With choices the answer is the most probable of them. Without, it is what the model writes, greedily and shortly;
answers that say the same are one, and each that was found becomes a candidate whose probability can be read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from workbench.case import Case
from workbench.datasets.questions import LETTERS, choice_named
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.cot.readings import AnswerReading, answer_in, read_answer
from workbench.models.forward.decoding import Ids, one_by_one
from workbench.models.forward.prefixes import Prefixes
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import encode
from workbench.models.tokentext import token_table
from workbench.protocol import Frozen

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

AnswerForm = Literal["texts", "letters"]

LEAD_IN: dict[AnswerForm, str] = {"texts": "\n\nAnswer:", "letters": "\n\nThe single, most likely answer is ("}
"""What leads to the answer. The second is that of Lanham et al. (arXiv 2307.13702, table 1), within one turn."""

ANSWER_TOKENS = 16
"""The longest free answer, but where one that is known is longer."""

NO_ANSWER = "(no answer)"


class Candidate(Frozen):
    """An answer: its ``name`` on screen, and the ``text`` whose probability is read after the lead-in.

    ``blank`` says that the tokenizer makes the blank that the text begins with a token of its own. ``reading`` is
    how a free answer was read: as a number, a date, a time, words, or nothing.
    """

    name: str
    text: str
    blank: bool = False
    reading: str = ""


class AnswerReader:
    """Reads answers after contexts, which are plain texts that end with the lead-in.

    ``candidates`` are the choices, or else the answers found so far. ``known`` are free answers to be recognised as
    they stand: the right one, and what a cue suggests.
    """

    def __init__(
        self,
        model: LoadedModel,
        prefixes: Prefixes,
        choices: Sequence[str],
        read: AnswerForm,
        known: Sequence[str] = (),
    ) -> None:
        self.candidates: list[Candidate] = []
        self._model = model
        self._prefixes = prefixes
        self._free = not choices
        self._known = known
        self._lines = max((len(answer.strip().splitlines()) for answer in known), default=1)
        self._said: list[list[AnswerReading]] = []  # the readings of each free candidate
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

    def answers(self, contexts: Sequence[str]) -> list[int]:
        """The same as `read`, without the probabilities of free answers, which take longer than the answers."""
        return self._written(contexts) if self._free else self.read(contexts)

    def probabilities(self, context: str) -> tuple[float, ...]:
        """The probability of each candidate after a context.

        Over the choices they sum to 1. A free answer's is that the model writes it, and not a candidate that begins
        with it (1 does not count 10).
        """
        self.score([context])
        logs = torch.tensor([self._logs[context, c] for c in range(len(self.candidates))], dtype=torch.float64)
        return probabilities_from(logs, self.candidates, self._free)

    def mass(self, context: str) -> float:
        """The probability that all candidates have together."""
        return float(sum(torch.tensor([self._logs[context, c]]).exp() for c in range(len(self.candidates))))

    def index_of(self, answer: str) -> int | None:
        """The candidate that is this answer, None where there is none yet."""
        if self._free:
            return self._named(read_answer(answer))
        return choice_named(answer, [one.name for one in self.candidates])

    def _written(self, contexts: Sequence[str]) -> list[int]:
        """What the model writes after each context, as candidates."""
        stops = stop_ids(self._model)
        table = token_table(self._model.tokenizer)

        def choose(row: int, at: int, logits: torch.Tensor) -> int:
            token = int(logits.argmax())
            lines[row] = (lines[row] if at else 0) + (at > 0 and "\n" in table.raw(token))
            return -1 if token in stops or lines[row] >= self._lines else token

        rows = [self._ids_of(context) for context in contexts]
        lines = [0] * len(rows)
        written = self._prefixes.go_on(rows, answer_tokens(self._model, self._known), one_by_one(choose), keep=True)
        return [self._candidate(self._model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in written]

    def _candidate(self, written: str) -> int:
        text, reading = answer_in(written, self._known)
        found = self._named(reading) if reading.kind != "nothing" else self._silent()
        if found is None:
            found = len(self.candidates)
            names = {candidate.name for candidate in self.candidates}
            name = reading.name if reading.name not in names else " ".join(written.split())
            if reading.kind == "nothing":  # it ended at once
                name, text = NO_ANSWER, self._model.tokenizer.eos_token or "\n"
            self.candidates.append(Candidate(name=name, text=text, reading=reading.said))
            self._said.append([])
        if reading not in self._said[found]:
            self._said[found].append(reading)
        return found

    def _named(self, reading: AnswerReading) -> int | None:
        """The free candidate that says the same in each of its readings: 7 apples and 7 are one, 7 pears another."""
        return next((c for c, said in enumerate(self._said) if all(map(reading.same, said))), None)

    def _silent(self) -> int | None:
        return next((c for c, said in enumerate(self._said) if said[0].kind == "nothing"), None)

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
        pieces = pieces_after(self._model, context, candidate)
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


def pieces_after(model: LoadedModel, context: str, candidate: Candidate) -> Ids:
    """The tokens of a candidate where it really follows a context. Raises `InputError` where there are none."""
    before, joined = ids_of(model, context), ids_of(model, context + candidate.text)
    pieces = joined[len(before) :]
    if not pieces or joined[: len(before)] != before:  # joined with the lead-in's end: taken by itself
        pieces = tuple(model.tokenizer(candidate.text, add_special_tokens=False)["input_ids"])
    if not pieces:
        raise InputError(f'the tokenizer makes no token of the answer "{candidate.name}"; word it differently')
    return pieces


def probabilities_from(logs: torch.Tensor, candidates: Sequence[Candidate], free: bool) -> tuple[float, ...]:
    """Of log probabilities of candidates' texts ``(candidates,)``: of choices over the choices, so that they sum to 1.

    A ``free`` answer's is that the model writes it, and not a candidate that begins with it (1 does not count 10).
    """
    p = logs.exp().tolist() if free else logs.softmax(dim=-1).tolist()
    texts = [candidate.text for candidate in candidates]
    for c in sorted(range(len(p)), key=lambda c: -len(texts[c])) if free else ():
        longer = sum(p[d] for d in range(len(p)) if d != c and texts[d].startswith(texts[c]))
        p[c] = max(0.0, p[c] - longer)
    return tuple(float(f"{value:.7g}") for value in p)


def answer_tokens(model: LoadedModel, known: Sequence[str]) -> int:
    """The most tokens that a free answer is given, so that those that are known have room."""
    lengths = (len(model.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]) + 2 for answer in known)
    return max([ANSWER_TOKENS, *lengths])
