"""HTML and SVG as text. Whatever is put into an element is escaped, so that no text from elsewhere becomes markup."""

from __future__ import annotations

import html

from workbench.visible import visible


class Markup(str):
    """Text that is markup already: made here, and nowhere else."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """A text as it is to be read: what would act or hide is drawn, and nothing of it is markup."""
    return text if isinstance(text, Markup) else Markup(html.escape(visible(str(text))))


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """An element. An attribute that is None is left out.

    In names of attributes ``__`` is ``:`` and ``_`` is ``-``, and one at the end is dropped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("__", ":").replace("_", "-")}="{escaped(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{joined(*inside)}</{name}>")


def joined(*parts: object) -> Markup:
    """Parts one after the other."""
    return Markup("".join(map(escaped, parts)))


def _number(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
