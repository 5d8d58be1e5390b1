"""A footer that never shows more keys than can be taken in at a glance."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

MOST = 6


class ShortFooter(Footer):
    """The keys nearest to the keyboard's place first, and always those of the app: help and the way out."""

    def compose(self) -> ComposeResult:
        """Textual's keys, without those for which there is no room."""
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        palette = [key for key in keys if key.has_class("-command-palette")]
        bindings = self.screen.active_bindings
        everywhere = [key for key in keys if key not in palette and bindings[key.key].node is self.app]
        here = [key for key in keys if key not in palette and key not in everywhere]
        yield from here[: MOST - len(everywhere)]
        yield from everywhere
        yield from palette
