"""A step of a session, and the model it is of, for programs too that are started to write and to be killed.

Nothing is imported here that these would not need: most of such a program's time is that of its imports.
"""

from __future__ import annotations

from datetime import UTC, datetime

from workbench.case import Case
from workbench.methods.generation.continuation import ContinuedToken, ContinueRequest, ContinueResult
from workbench.models.info import ModelInfo
from workbench.models.tokens import EncodedCase
from workbench.session import Step

MODEL = ModelInfo(
    name="tiny",
    architecture="llama",
    fingerprint="0123456789abcdef",
    parameters=1000,
    layers=2,
    d_model=16,
    vocabulary=300,
    context=64,
    dtype="float32",
    device="cpu",
    attention_kernel="sdpa",
    chat_template=False,
)


ENCODED = EncodedCase(
    ids=(1, 2),
    texts=("a", " prompt"),
    prepended=0,
    appended=0,
    starts_bare=True,
    subject=None,
    target=None,
    foil=None,
    notes=(),
)


def step(prompt: str = "a prompt", text: str = " and so on") -> Step:
    token = ContinuedToken(text=text, probability=0.5, runner_up="x", runner_up_probability=0.25)
    return Step(
        started=datetime(2026, 1, 2, tzinfo=UTC),
        seconds=0.1,
        status="done",
        request=ContinueRequest(case=Case(prompt=prompt)),
        result=ContinueResult(encoded=ENCODED, generated=(token,), text=text),
    )
