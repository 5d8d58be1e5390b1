"""Classes that are about a widget itself, or few others: setting them styles these, not all inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.widget import Widget


def mark(widget: Widget, marks: Mapping[str, bool], also: Iterable[Widget] = ()) -> None:
    """Give a widget classes or take them away, and style it and ``also`` anew where that changes anything.

    Textual's ``set_class`` styles every descendant, which for a pane is most of what a key costs.
    """
    before = widget.classes
    widget.update_classes(marks, update=False)
    if widget.classes != before and widget.is_attached:
        widget.app.stylesheet.update_nodes((widget, *also), animate=False)
