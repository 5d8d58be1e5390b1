"""Options made from settings: one for each name, which says what it is for each of those that may be chosen."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from workbench.cli.options import parameters
from workbench.protocol import Frozen


class One(Frozen):
    rate: Annotated[float, Field(gt=0, description="How fast.")] = 0.5
    layer: Annotated[int | None, Field(description="Where.")] = None
    prefixes: Annotated[int, Field(description="How many.")] = 6


class Other(Frozen):
    rate: Annotated[float, Field(gt=0, description="How fast.")] = 0.001
    layer: Annotated[int | None, Field(description="Where.")] = None


class Asked(Frozen):
    test: Annotated[bool, Field(description="Whether.")] = True


def helps(*models: type[Frozen], **chosen: type[Frozen]) -> dict[str, str]:
    found: dict[str, Any] = {each.name: each.annotation.__metadata__[0] for each in parameters(models, chosen)}
    return {name: option.help for name, option in found.items()}


def test_a_setting_of_several_is_one_option_that_says_the_default_of_each() -> None:
    assert helps(Asked, one=One, other=Other) == {
        "rate": "one: How fast. (above 0)  [default: 0.5]; other: How fast. (above 0)  [default: 0.001]",
        "layer": "Where.",
        "prefixes": "one: How many.  [default: 6]",
        "test": "Whether.  [default: yes]",
    }


def test_without_a_choice_nobody_is_named() -> None:
    assert helps(One, one=One) == helps(One)
    assert helps(One)["rate"] == "How fast. (above 0)  [default: 0.5]"


def test_one_name_with_two_types_cannot_be_an_option() -> None:
    class Wrong(Frozen):
        rate: Annotated[bool, Field(description="Whether.")] = True

    with pytest.raises(AssertionError, match="several types"):
        parameters((), {"one": One, "wrong": Wrong})
