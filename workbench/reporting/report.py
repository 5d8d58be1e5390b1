"""A report as plain data: sections of figures, code and fields to be filled in. Each format has one writer of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workbench.figures import Figure, Shown
from workbench.protocol import Frozen


class Code(Frozen):
    """Something to be typed or copied as it is. It holds no characters that act or hide, but line feeds."""

    kind: Literal["code"] = "code"
    text: str


class Blank(Frozen):
    """A field that a person fills in, with what is known of it already."""

    kind: Literal["blank"] = "blank"
    label: Shown
    value: Shown = ""


Block = Annotated[Figure | Code | Blank, Field(discriminator="kind")]


class Section(Frozen):
    """A heading, of the whole (2) or of a part (3), and what stands below it. ``anchor`` is what links lead to."""

    heading: Shown
    anchor: str = Field(pattern="^[a-z0-9-]+$")
    depth: Literal[2, 3] = 2
    blocks: tuple[Block, ...] = ()


class Report(Frozen):
    """What a session found, for somebody who does not have the program."""

    format: Literal["lm-workbench-report"] = "lm-workbench-report"
    version: Literal[1] = 1
    title: Shown
    sections: tuple[Section, ...]
