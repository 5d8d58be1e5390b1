"""``workbench transcript``: a plan against what was done. It needs no model."""

from __future__ import annotations

from typing import Annotated

import typer

from workbench.cli.common_options import Json
from workbench.cli.output import echo_json
from workbench.datasets.transcripts import SHIPPED, transcript_of


def transcript(
    file: Annotated[str, typer.Argument(help=f"A JSON file, or a sample: {', '.join(SHIPPED)}.", show_default=False)],
    json: Json = False,
) -> None:
    """Match the plan of a recorded transcript with its actions: steps not taken, actions not planned."""
    from workbench.cli.step_report import print_figures
    from workbench.methods.cot.planned import check_plan, plan_figures

    found = check_plan(transcript_of(file))
    if json:
        echo_json(found)
    else:
        print_figures(plan_figures(found))
