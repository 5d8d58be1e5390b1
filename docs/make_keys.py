"""Print docs/keys.md from the bindings of the app: ``python docs/make_keys.py > docs/keys.md``.

Every class of ``screens`` that declares BINDINGS is a section, found by itself; `PLACES` only puts the known ones
into the order of a reader and says where their keys work.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import key_to_character

import screens
from screens.keys import GLOBAL, Key, of_methods
from screens.panes.pane import Pane

PLACES = {
    "BaseApp": "Everywhere",
    "LiveScreen": "On the main screen of the live app",
    "MainScreen": "On the main screen, outside the prompt's text",
    "PromptArea": "In the prompt's text",
    "PromptPane": "In the prompt pane",
    "CellGrid": "In a picture of layers",
    "FigureView": "In figures that have no cursor",
    "LensPane": "In the logit lens",
    "LensDetail": "In the detail of a cell",
    "AttributionPane": "In the attribution",
    "ScoreStrip": "In the tokens of the attribution",
    "TracePane": "In the causal trace",
    "TraceHeatmap": "In the picture of the causal trace",
    "ClosingInput": "In the lines and forms of the panes",
    "EditsPane": "In the edits",
    "EditList": "In the list of edits",
    "EditDetail": "In the details of an edit",
    "EditChart": "In the chart of edits",
    "CotPane": "In the reasoning",
    "CotList": "In the list of sentences",
    "CotDetail": "In the details of an answer",
    "ErasurePane": "In the erasure",
    "LayerList": "In the table of an erasure's layers",
    "ChoiceField": "In the fields of a form",
    "ErasureDetail": "In the details of an erasure",
    "ReplayScreen": "In a replay",
    "StartList": "In the list of the start",
    "SessionsScreen": "In the list of sessions",
    "ModelsScreen": "In the list of models",
    "JumpScreen": "In jump mode",
}

INTRODUCTION = """\
# Keys

Made from the app's own bindings by `docs/make_keys.py`. `f1` shows the keys that work where you are, `ctrl+p` opens
the command palette, `tab` and `shift+tab` go from one field or picture to the next. Letters are typed as letters
while the prompt's text or one of its fields has the keyboard: leave it with `escape` first. Pressing `ctrl+c` twice
quits from anywhere.
"""

NAMES = {
    "plus": "+",
    "minus": "-",
    "pageup": "page up",
    "pagedown": "page down",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def page() -> str:
    """The page as Markdown."""
    return "\n".join([INTRODUCTION, *table(), *(line for owner in owners() for line in section(owner))])


def table() -> Iterator[str]:
    """The one table that everything below it takes its keys from."""
    yield "## One key, one meaning\n"
    yield "| key | meaning |"
    yield "|---|---|"
    for key in GLOBAL:
        yield f"| {_names(key)} | {key.meaning} |"
    for keys, meaning in of_methods().items():
        yield f"| {_names(keys)} | {meaning} |"
    for key in list(Key)[len(GLOBAL) :]:
        yield f"| {_names(key)} | {key.meaning} |"
    yield ""


def owners() -> list[type[DOMNode]]:
    """Every class of the app with described bindings of its own: known places first, then by name."""
    for module in pkgutil.walk_packages(screens.__path__, "screens."):
        importlib.import_module(module.name)
    known = list(PLACES)
    found = [owner for owner in _subclasses(DOMNode) if owner.__module__.startswith("screens.") and shown(owner)]
    return sorted(found, key=lambda owner: (known.index(owner.__name__) if owner.__name__ in known else 99, str(owner)))


def shown(owner: type[DOMNode]) -> list[Binding]:
    """The bindings that a class declares itself and describes."""
    bindings = [binding for binding in owner.__dict__.get("BINDINGS", ()) if isinstance(binding, Binding)]
    return [binding for binding in bindings if binding.description]


def section(owner: type[DOMNode]) -> Iterator[str]:
    """A heading and a table of keys."""
    yield f"## {_place(owner)}\n"
    yield "| key | what it does |"
    yield "|---|---|"
    for binding in shown(owner):
        keys = _names(binding.key)
        tooltip = f": {binding.tooltip[0].lower()}{binding.tooltip[1:]}" if binding.tooltip else ""
        yield f"| {keys} | {binding.description}{tooltip} |"
    yield ""


def _place(owner: type[DOMNode]) -> str:
    if owner.__name__ in PLACES:
        return PLACES[owner.__name__]
    if issubclass(owner, Pane):
        return f"In the pane {owner.TITLE}"
    return f"In the {re.sub('(?<!^)(?=[A-Z])', ' ', owner.__name__).lower()}"


def _names(keys: str) -> str:
    return " or ".join(f"`{_name(key)}`" for key in keys.split(","))


def _name(key: str) -> str:
    """A key as a person would write it."""
    character = key_to_character(key)
    printable = character is not None and character.isprintable() and not character.isspace()
    return character if printable and character else NAMES.get(key, key)


def _subclasses(base: type[DOMNode]) -> set[type[DOMNode]]:
    return {base}.union(*(_subclasses(each) for each in base.__subclasses__()))


if __name__ == "__main__":
    print(page(), end="")
