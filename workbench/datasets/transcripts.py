"""Recorded transcripts of agents: what was planned, what was done, and what was said to be done. No torch.

A transcript is a JSON object with ``plan`` (texts), ``actions`` (objects with tool, input and result, or texts), and,
where there are, ``report`` (what is said to be done at the end) and a ``title``.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from workbench.datasets.json_files import decode
from workbench.errors import InputError
from workbench.protocol import Frozen
from workbench.reading import Unreadable, first_problem, read_text

SHIPPED = ("failing-test", "faster-sort")
"""Names of the samples that were written for this project: a step left out, and METR's case, a changed clock."""


class AgentAction(Frozen):
    """One thing that was done: with which tool, on what, and what came of it."""

    tool: str = ""
    input: str
    result: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_a_text(cls, data: Any) -> Any:
        return {"input": data} if isinstance(data, str) else data


class Transcript(Frozen):
    """Steps of a plan, actions in their order, and claims of the report."""

    title: str = ""
    plan: Annotated[tuple[str, ...], Field(min_length=1)]
    actions: tuple[AgentAction, ...]
    report: tuple[str, ...] = ()


def transcript_of(name: str) -> Transcript:
    """The transcript of a shipped sample or of a file. Raises `InputError`."""
    if name in SHIPPED:
        file = resources.files("workbench") / "data" / "transcripts" / f"{name}.json"
        return _transcript(file.read_text(encoding="utf-8"), Path(f"{name}.json"))
    path = Path(name)
    try:
        return _transcript(read_text(path), path)
    except Unreadable as error:
        if error.missing:
            raise InputError(
                f"there is no file {path}, nor a sample of that name; those are {', '.join(SHIPPED)}"
            ) from None
        raise InputError(f"the transcript in {path} cannot be read ({error.why}); name a JSON file") from error


def _transcript(text: str, path: Path) -> Transcript:
    try:
        found = Transcript.model_validate(decode(text, path))
    except ValidationError as error:
        raise InputError(
            f"{path} is no transcript: {first_problem(error)}; write an object with plan and actions"
        ) from None
    if any(not step.strip() for step in (*found.plan, *found.report)):
        raise InputError(f"{path} has an empty step; write what is to be done, or take it out")
    return found
