"""The status line: what gives way where there is little room."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from screens.widgets.status import describe_job, short_name
from tests.screens.recorded import MODEL
from tests.screens.test_app import HERO, running
from workbench.events import Progressed
from workbench.methods.lens.logit_lens import LensRequest

LONG = "/data/models/of/a/group/with/many/members/and/as/many/folders/SmolLM2-135M-Instruct-float32"


@pytest.mark.parametrize(
    ("room", "shown"),
    [
        (100, LONG),
        (len(LONG) - 1, "…/SmolLM2-135M-Instruct-float32"),
        (31, "…/SmolLM2-135M-Instruct-float32"),
        (30, "SmolLM2-135M-Instruct-float32"),
        (28, "SmolLM2-135M-…struct-float32"),
        (13, "SmolL…float32"),
        (0, "SmolL…loat32"),
    ],
)
def test_a_path_is_cut_to_its_last_part_and_that_in_its_middle(room: int, shown: str) -> None:
    assert short_name(LONG, room) == shown


def test_a_name_of_wide_characters_is_cut_by_cells() -> None:
    short = short_name("模型" * 20, 15)
    assert cell_len(short) <= 15
    assert short.startswith("模型模")
    assert short.endswith("型")


@pytest.mark.parametrize(
    ("room", "stage"),
    [
        (200, "Fine-tuning: suite: free generation"),
        (78, "Fine-tuning: suit…"),
        (60, "Fine-tuning…"),
        (0, "Fine-tuning…"),
    ],
)
def test_a_long_stage_is_cut_before_what_is_left_and_the_key_that_cancels(room: int, stage: str) -> None:
    progress = Progressed(1, LensRequest(case=HERO), 597, 700, "Fine-tuning: suite: free generation", None, 57.0)
    said = describe_job(progress, 1, room).plain
    assert said == f"{stage} ██████████░░ 597/700 · 57 s left · 1 waiting · esc cancels"


async def test_the_name_of_the_session_stays_where_the_path_of_the_model_is_long() -> None:
    async with running() as run:
        status = run.main.status
        status.session = Path("/somewhere/why-sydney.json")
        status.model = MODEL.model_copy(update={"name": LONG})
        await run.settle()
        assert "next: type a prompt, then enter · SmolLM2-" in run.text
        assert "session why-sydney.json" in run.text
        assert "/data" not in run.text
        status.model = MODEL.model_copy(update={"name": "org/tiny"})
        await run.settle()
        assert "org/tiny · session why-sydney.json" in run.text
