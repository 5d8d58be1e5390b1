"""Two ways to take a fact away from a model: noise on the subject's embeddings, or another subject in its place.

Noise as in Meng et al. 2022 (arXiv 2202.05262), appendix B.1: Gaussian, three standard deviations of what subjects'
embeddings are, from the same random stream as the published code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.tokens import EncodedCase, display, encode
from workbench.spans import find_subject

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PROPOSALS = 5
"""Subjects that are proposed where one does not fit."""


def embedding_std(model: LoadedModel, subjects: Iterable[str]) -> float:
    """Standard deviation of all numbers in the embeddings of the subjects' tokens, each tokenised by itself."""
    ids = [
        token
        for subject in subjects
        for token in model.tokenizer(subject.strip(), add_special_tokens=False)["input_ids"]
    ]
    with torch.no_grad():
        return float(model.embedding(torch.tensor([ids], device=model.hf.device)).float().std())


def no_noise(model: LoadedModel, rows: int, tokens: int) -> torch.Tensor:
    """Zeros ``(rows, tokens, width)`` to add to embeddings."""
    weight = model.hf.get_parameter(f"{model.anatomy.embedding}.weight")
    return torch.zeros(rows, tokens, weight.shape[1], device=weight.device, dtype=weight.dtype)


def subject_noise(model: LoadedModel, encoded: EncodedCase, std: float, samples: int, seed: int) -> torch.Tensor:
    """Gaussian noise at the subject's tokens, zero elsewhere: ``(samples, tokens, width)``.

    ``numpy.random.RandomState(seed).randn(samples, subject tokens, width)``, times ``std``.
    """
    import numpy as np

    start, stop = _span(encoded)
    added = no_noise(model, samples, len(encoded.ids))
    drawn = np.random.RandomState(seed).randn(samples, stop - start, added.shape[-1]) * std
    added[:, start:stop] = torch.from_numpy(drawn).to(added)
    return added


def replaced_ids(
    model: LoadedModel, case: Case, encoded: EncodedCase, replacement: str, known: Sequence[str]
) -> tuple[int, ...]:
    """The case's token ids with ``replacement`` in place of its subject.

    Raises `InputError` where the two have not the same number of tokens, naming the counts and those of the
    ``known`` subjects that would fit.
    """
    assert case.subject is not None
    if not replacement.strip():
        raise InputError("the replacement is empty; type another subject")
    ids = _with_subject(model, case, replacement)
    if ids == encoded.ids:
        raise InputError(f"the replacement {_quoted(replacement)} is the subject itself; choose another subject")
    if _fits(encoded, ids):
        return ids
    start, stop = _span(encoded)
    fitting: list[str] = []
    for subject in known:
        if subject not in case.prompt and _fits(encoded, _with_subject(model, case, subject)):
            fitting.append(_quoted(subject))
        if len(fitting) == PROPOSALS:
            break
    proposal = f"try {', '.join(fitting)}" if fitting else "choose another"
    has, wants = len(ids) - len(encoded.ids) + stop - start, stop - start
    if has not in (wants, 0):
        raise InputError(
            f"the replacement {_quoted(replacement)} has {has} token{'s' * (has != 1)} here and the subject "
            f"{_quoted(case.subject)} has {wants}; {proposal}"
        )
    raise InputError(
        f"the replacement {_quoted(replacement)} changes tokens of the prompt outside the subject; {proposal}"
    )


def _with_subject(model: LoadedModel, case: Case, subject: str) -> tuple[int, ...]:
    """The prompt's ids with another subject at the place where `encode` finds the case's own."""
    assert case.subject is not None
    found = find_subject(case.prompt, case.subject, case.subject_at)
    assert found is not None  # or it could not be encoded
    prompt = case.prompt[: found.start] + subject.strip() + case.prompt[found.stop :]
    other = Case(prompt=prompt, prepend=case.prepend, chat=case.chat)
    return encode(model.tokenizer, other, prefix=model.edits.prefix).ids  # however long: it is only compared


def _fits(encoded: EncodedCase, ids: tuple[int, ...]) -> bool:
    start, stop = _span(encoded)
    same_length = len(ids) == len(encoded.ids)
    return same_length and ids[:start] == encoded.ids[:start] and ids[stop:] == encoded.ids[stop:]


def _span(encoded: EncodedCase) -> tuple[int, int]:
    assert encoded.subject is not None
    return encoded.subject


def _quoted(text: str) -> str:
    return f'"{display(text)}"'
