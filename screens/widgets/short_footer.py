"""A footer that never shows more keys than can be taken in at a glance."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static

MOST = 6


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
    """The keys nearest to the keyboard's place first, and always those of the app: help and the way out.

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

    def _follow(self, screen: Screen[object]) -> None:
        if self.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self.show_keys)

    def show_keys(self) -> None:
        """Draw what can be pressed now."""
        palette, everywhere, here = [], [], []
        actions = set()
        for node, binding, enabled, tooltip in self.screen.active_bindings.values():
            shown = self._key(binding.key, self.app.get_key_display(binding), binding.description, tooltip, enabled)
            if binding.key == self.app.COMMAND_PALETTE_BINDING:
                palette.append(shown)
            elif binding.show and binding.action not in actions:
                actions.add(binding.action)
                (everywhere if node is self.app else here).append(shown)
        self._draw("#keys-here", here[: MOST - len(everywhere)] + everywhere)
        self._draw("#keys-of-palette", palette)

    def _draw(self, where: str, keys: list[Content]) -> None:
        line, drawn = self.query_one(where, FooterKeys), Content(" ").join(keys)
        if line.content != drawn:
            line.update(drawn)

    @staticmethod
    def _key(key: str, display: str, does: str, tooltip: str, enabled: bool) -> Content:
        return Content.assemble(
            (display, "bold $footer-key-foreground on $footer-key-background"),
            (f" {does}", "$footer-description-foreground on $footer-description-background"),
        ).stylize(Style(dim=not enabled or None) + Style.from_meta({"key": key, "tooltip": tooltip or does}))
