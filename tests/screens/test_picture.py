"""What all panes with a picture have around it."""

from __future__ import annotations

from screens.panes import PANES
from screens.panes.picture import PicturePane
from screens.widgets.trust_strip import TrustStrip
from tests.screens.test_app import running


async def test_every_picture_stands_between_a_legend_and_a_trust_strip() -> None:
    assert all(issubclass(pane, PicturePane) and "compose" not in vars(pane) for pane in PANES)
    async with running() as run:
        for pane in run.main.others:
            pane.focus_content()
            legend, *picture, strip = pane.children
            assert legend.id == "legend"
            assert picture
            assert isinstance(strip, TrustStrip)
