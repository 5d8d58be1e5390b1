"""Print docs/settings.md from the fields of requests and editors: ``python docs/make_settings.py > docs/settings.md``.

A setting is described at its field and nowhere else (`workbench.settings`), and so is every option of the command
line and every field of a form: another method or editor is another section here by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from workbench.editing.editors import EDITORS, editor
from workbench.protocol import Frozen
from workbench.registry import methods
from workbench.settings import Setting, settings_of
from workbench.sweeping.asked import SweepAsked

INTRODUCTION = """\
# Settings

Made by `docs/make_settings.py` from what methods and editors say of themselves. On the command line a setting is an
option of its name, with `-` for `_` (`--prefix-tokens 10`; `--test` or `--no-test` for yes or no); in a form of the app
it is a field. Lists are typed with commas, layers as `3-8` or `3,5,8`. An empty default: nothing is given.
"""


def page() -> str:
    """The page as Markdown."""
    lines = [INTRODUCTION, "## Methods\n"]
    for method in methods():
        lines += section(f"{method.title} (`{method.kind}`)", method.request)
    lines += section("A sweep in the app (`#`), whatever its method", SweepAsked)
    lines += ["## Editors\n", "What can be set of an editor is set beside what can be set of the edit.\n"]
    for each in map(editor, EDITORS):
        lines += section(f"{each.title} (`{each.name}`), of a {each.of}", each.settings)
    return "\n".join(lines).rstrip("\n") + "\n"


def section(heading: str, model: type[Frozen]) -> Iterator[str]:
    """A heading and a table, or nothing where nothing can be set."""
    if settings := settings_of(model):
        yield f"### {heading}\n"
        yield "| setting | what it is | type | default |"
        yield "|---|---|---|---|"
        yield from map(row, settings)
        yield ""


def row(setting: Setting) -> str:
    """One setting."""
    cells = (f"`{setting.name}`", setting.help, _type(setting), f"`{setting.default}`" if setting.default else "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(setting: Setting) -> str:
    """What may stand there."""
    if setting.choices:
        choices = ", ".join(f"`{choice}`" for choice in setting.choices)
        return f"some of {choices}" if setting.kind == "list" else f"one of {choices}"
    kind = "yes or no" if setting.kind == "flag" else setting.kind
    return f"{kind}, {setting.bounds}" if setting.bounds else kind


if __name__ == "__main__":
    print(page(), end="")
