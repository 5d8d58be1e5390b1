"""A footer of the keys that matter where the keyboard is: as many as there is room for, and none of them cut."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static

from screens.keys import Key
from workbench.editing.queue import QueueState

MOST = 5
"""More keys than these, besides help and the way out, are not taken in at a glance."""

OWN = 3
"""So many of a pane's own keys come before those of the main screen."""

SOON = (Key.PROMPT, Key.CONTINUE, Key.COMPARE)
"""Of those that work everywhere: what is wanted next in any pane. What is asked next says the status line."""


@dataclass(frozen=True)
class FooterKey:
    """A key, and what it does; few of them are drawn."""

    key: str
    display: str
    does: str
    tooltip: str
    enabled: bool

    @property
    def width(self) -> int:
        """In cells, with the space after it."""
        return cell_len(self.display) + 1 + cell_len(self.does) + 1

    @property
    def drawn(self) -> Content:
        """As it stands in the line."""
        return Content.assemble(
            (self.display, "bold $footer-key-foreground on $footer-key-background"),
            (f" {self.does}", "$footer-description-foreground on $footer-description-background"),
        ).stylize(
            Style(dim=not self.enabled or None)
            + Style.from_meta({"key": self.key, "tooltip": self.tooltip or self.does})
        )


class FooterKeys(Static):
    """Keys and what they do, in one line; one that is clicked is pressed."""

    def on_click(self, event: events.Click) -> None:
        """Press it."""
        if key := event.style.meta.get("key"):
            self.app.simulate_key(key)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say more about it."""
        self.tooltip = event.style.meta.get("tooltip")


class ShortFooter(Horizontal):
    """The keys of the keyboard's place, then those that are wanted soon, then others; and always the app's own.

    Textual's own footer makes a widget of every key, and all of them anew when the keyboard moves.
    """

    DEFAULT_CSS = """
    ShortFooter {
        height: 1; dock: bottom; background: $footer-background; color: $footer-foreground;
        & #keys-here { width: 1fr; text-wrap: nowrap; }
        & #keys-of-palette { width: auto; dock: right; border-left: vkey $foreground 20%; }
    }
    """

    def compose(self) -> ComposeResult:
        """The keys, and the palette's at the right."""
        yield FooterKeys(id="keys-here")
        yield FooterKeys(id="keys-of-palette")

    def on_mount(self) -> None:
        """Follow the keyboard."""
        self.screen.bindings_updated_signal.subscribe(self, self._follow)

    def on_resize(self, event: events.Resize) -> None:
        """There is room for more, or for less."""
        if event.size.width != self._laid_out_for:
            self._laid_out_for = event.size.width
            self.call_after_refresh(self.show_keys)

    _laid_out_for = 0

    def _follow(self, screen: Screen[object]) -> None:
        if self.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self.show_keys)

    def show_keys(self) -> None:
        """Draw what can be pressed now."""
        palette, app, screen, here = list[FooterKey](), list[FooterKey](), list[FooterKey](), list[FooterKey]()
        actions = set()
        for node, binding, enabled, tooltip in self.screen.active_bindings.values():
            display = self.app.get_key_display(binding)
            key = FooterKey(binding.key, display, binding.description, tooltip, enabled)
            if binding.key == self.app.COMMAND_PALETTE_BINDING:
                palette.append(key)
            elif binding.show and binding.action not in actions:
                actions.add(binding.action)
                (app if node is self.app else screen if node is self.screen else here).append(key)
        if not any(entry.on for entry in getattr(self.screen, "queue", QueueState()).entries):
            screen = [key for key in screen if key.key != Key.COMPARE]
        soon = [key for wanted in SOON for key in screen if key.key == wanted]
        others = [key for key in screen if key not in soon]
        room = self.size.width - sum(key.width for key in (*app, *palette))
        shown = list[FooterKey]()
        for key in [*here[:OWN], *soon, *here[OWN:], *others]:
            if key.width <= room and len(shown) < MOST:
                room -= key.width
                shown.append(key)
        self._draw("#keys-here", shown + app)
        self._draw("#keys-of-palette", palette)

    def _draw(self, where: str, keys: list[FooterKey]) -> None:
        line, drawn = self.query_one(where, FooterKeys), Content(" ").join(key.drawn for key in keys)
        if line.content != drawn:
            line.update(drawn, layout=where == "#keys-of-palette")  # the others take what room it leaves
