"""The failure under study, which every method takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from workbench.prepend import Prepend as Prepend
from workbench.protocol import Frozen


class Case(Frozen):
    """A prompt, the span of it that is asked about, the token wanted and the token it is compared with.

    ``subject`` is text that occurs in ``prompt``; ``target`` and ``foil`` are continuations of it. Whether they
    make sense for a given tokenizer is decided by `workbench.models.tokens.encode`. ``subject_at`` is the character
    at which the subject begins, for a prompt in which `workbench.spans.find_subject` would take another place.
    """

    prompt: str
    subject: str | None = None
    target: str | None = None
    foil: str | None = None
    prepend: Prepend = "as-is"
    chat: bool = False
    subject_at: Annotated[int | None, Field(ge=0, exclude_if=lambda at: at is None)] = None

    @field_validator("subject")
    @classmethod
    def _without_blanks(cls, subject: str | None) -> str | None:
        return None if subject is None else subject.strip()

    def after(self, text: str) -> Case:
        """The same case with a text before its prompt."""
        at = None if self.subject_at is None else self.subject_at + len(text)
        return self.model_copy(update={"prompt": text + self.prompt, "subject_at": at})

    def asking(self, prompt: str) -> Case:
        """The same case with another prompt, in which the subject is looked for anew."""
        return self.model_copy(update={"prompt": prompt, "subject_at": None})
