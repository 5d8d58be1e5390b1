"""Settings are what the fields of a model say, and are read and refused in the same words everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from workbench.errors import InputError
from workbench.protocol import Frozen
from workbench.settings import Listed, TypedLayers, filled, settings_of


class Inner(Frozen):
    temperature: Annotated[float, Field(ge=0, description="0 is greedy.")] = 0.0
    top_p: Annotated[float, Field(description="Of the most probable.")] = 1.0


class Model(Frozen):
    kind: Literal["toy"] = "toy"
    text: Annotated[str | None, Field(description="Any text.")] = None
    steps: Annotated[int, Field(ge=1, le=1000, description="How many steps.")] = 25
    flag: Annotated[bool, Field(description="Whether.")] = True
    way: Annotated[Literal["up", "down"], Field(description="Which way.")] = "up"
    ways: Annotated[tuple[Literal["up", "down"], ...], Listed, Field(description="Which ways.")] = ("up",)
    at: Annotated[TypedLayers | None, Field(description="Where.")] = None
    inner: Inner = Inner()
    hidden: int = 3


def test_every_described_field_is_a_setting_and_no_other_is() -> None:
    found = {setting.name: setting for setting in settings_of(Model)}
    assert list(found) == ["text", "steps", "flag", "way", "ways", "at", "temperature", "top_p"]
    assert [setting.kind for setting in found.values()] == [
        "text",
        "whole number",
        "flag",
        "choice",
        "list",
        "list",
        "number",
        "number",
    ]
    assert found["steps"].bounds == "at least 1 and at most 1 000"
    assert (found["steps"].default, found["flag"].default, found["ways"].default, found["at"].default) == (
        "25",
        "yes",
        "up",
        "",
    )
    assert found["way"].choices == found["ways"].choices == ("up", "down")
    assert found["temperature"].path == ("inner", "temperature")


class Warmer(Frozen):
    inner: Inner = Inner(temperature=0.6, top_p=0.95)


def test_a_model_within_another_has_the_defaults_that_stand_there_and_keeps_those_that_are_not_typed() -> None:
    assert [(one.name, one.default) for one in settings_of(Warmer)] == [("temperature", "0.6"), ("top_p", "0.95")]
    assert filled(Warmer, {"temperature": "1"}).inner == Inner(temperature=1, top_p=0.95)
    assert filled(Warmer, {"temperature": None}) == Warmer()


def test_what_is_typed_becomes_the_model() -> None:
    typed = {"text": " a ", "steps": " 3 ", "flag": "no", "ways": "down, up", "at": "3-5", "temperature": "0.5"}
    assert filled(Model, typed, hidden=7) == Model(
        text=" a ", steps=3, flag=False, ways=("down", "up"), at=(3, 4, 5), inner=Inner(temperature=0.5), hidden=7
    )
    assert filled(Model, {"steps": "", "text": None}) == Model()


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"steps": "many"}, "steps: 'many' is not a whole number"),
        ({"steps": "0"}, "steps: it must be at least 1, not '0'"),
        ({"steps": "1001"}, "steps: it must be at most 1000, not '1001'"),
        ({"flag": "perhaps"}, "flag: 'perhaps' is neither yes nor no"),
        ({"way": "left"}, "way: 'left' is not one of 'up' or 'down'"),
        ({"ways": "up,left"}, "ways: 'left' is not one of 'up' or 'down'"),
        ({"at": "3-x"}, "'3-x' does not name layers; write 3-8 or 3,5,8"),
        ({"at": "8-3"}, "'8-3' names no layer; write the lower one first, as in 3-8"),
        ({"temperature": "-1"}, "temperature: it must be at least 0, not '-1'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(typed: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        filled(Model, typed)
    assert str(caught.value) == sentence
