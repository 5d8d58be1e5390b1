"""Dialogs in a frame: one place for how wide they are, how they are closed and how they follow the terminal."""

from __future__ import annotations

import pytest
from textual.containers import VerticalScroll
from textual.content import Content

from screens.dialog import Framed, FramedText
from screens.evidence import ExportScreen
from screens.models import ModelsScreen
from screens.notes import NotesScreen
from screens.panes.cot.detail import CotDetail
from screens.panes.edits.chart import EditChart
from screens.panes.edits.detail import EditDetail
from screens.panes.erasure.detail import ErasureDetail
from screens.panes.lens.detail import LensDetail
from screens.sessions import SessionsScreen
from tests.screens.test_app import running


class Widths(FramedText):
    """Fills a line from edge to edge."""

    WIDEST = 100

    def text(self, width: int) -> tuple[str, Content]:
        return f"{width} cells", Content("-" * width)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 48)])
async def test_a_text_is_as_wide_as_its_frame_and_written_anew_for_another_width(size: tuple[int, int]) -> None:
    async with running() as run:
        dialog = Widths()
        await run.app.push_screen(dialog)
        await run.pilot.resize_terminal(*size)
        await run.settle()
        frame = dialog.query_one("#frame")
        assert dialog.text_width == frame.content_size.width - 1  # which the scrollbar takes where there is one
        assert str(frame.border_title) == f"{dialog.text_width} cells"
        assert dialog.query_one("#text").size.height == 1
        assert isinstance(run.app.focused, VerticalScroll)  # it takes page up and page down


@pytest.mark.parametrize(
    "dialog",
    [
        LensDetail,
        CotDetail,
        EditDetail,
        ErasureDetail,
        EditChart,
        SessionsScreen,
        ModelsScreen,
        ExportScreen,
        NotesScreen,
    ],
)
def test_every_dialog_with_a_frame_has_the_same_one(dialog: type) -> None:
    assert issubclass(dialog, Framed)
    assert {"compose", "action_close"}.isdisjoint(vars(dialog))
