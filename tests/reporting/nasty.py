"""Text that would be markup if a reader of HTML or Markdown took it for some, and what such readers make of a page."""

from __future__ import annotations

import json
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

from tests.poison import poisoned_session
from workbench.session import Session, session_from

ROOT = Path(__file__).parents[2]

NASTY = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(1)><!-- ]]></style></title></svg>&lt;b&gt;"
    "[a](javascript:alert(1)) ![b](http://c/d.png) <http://e> www.f.org **g** `h` ```i``` | j | ~~k~~ $l$ @m #n"
)
MARK = "alert(1)"


def nasty_session(name: str) -> Session:
    """A shipped session, with something nasty and something that acts on a terminal after every free text."""
    text = (ROOT / "sessions" / f"{name}.json").read_text(encoding="utf-8")
    poisoned = json.dumps(poisoned_session(text)).replace("[/x]", json.dumps(NASTY)[1:-1])
    return session_from(poisoned, Path("nasty.json"))


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    VOID = frozenset({"meta", "br", "hr", "img"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    @cached_property
    def text(self) -> str:
        """All of it, without markup."""
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def in_markdown(text: str) -> Page:
    """The page that a reader of Markdown with tables, HTML and links makes."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
