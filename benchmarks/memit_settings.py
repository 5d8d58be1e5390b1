"""What settings of MEMIT and AlphaEdit do to records that are written together: the table by which defaults are chosen.

    python -m benchmarks.memit_settings RECORDS [--limit 30] [--device cuda] [--alone] [memit:covariance=500 …]

Values are found once for each last layer and descent; a row then costs the solve and the scores. With ``--alone`` every
record is also written by itself. A row is an editor, a colon, and settings with commas between them; layers are joined
by + (``layers=4+5+6+7+8``). One JSON line a row goes to stdout, the table to stderr.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from workbench.case import Prepend
from workbench.datasets.suites import EditRecord, Suite, read_records
from workbench.editing.edit import check
from workbench.editing.editor import Made
from workbench.editing.editors import editor
from workbench.editing.editors.memit import making
from workbench.editing.suite.held_out import perplexity
from workbench.editing.suite.regression import run_suite
from workbench.loading import LoadedModel, load
from workbench.protocol import silent
from workbench.settings import filled

ROLES = ("rewrite", "paraphrase", "neighborhood")
PREPENDS: tuple[Prepend, ...] = ("as-is", "separator")
ROWS = (
    *(f"memit:covariance={weight}" for weight in (1500, 150, 500, 5000, 15000)),
    "memit:keys=mean",
    *(f"memit:layers={layers}" for layers in ("6+7+8", "8", "3+4+5+6+7", "2+3+4+5+6")),
    *(f"alphaedit:energy={energy},l2={l2}" for energy in (0.95, 0.97, 0.99) for l2 in (0.1, 1, 10)),
    "alphaedit:keys=mean",
    *(f"{name}:prefixes={prefixes}" for prefixes in (0, 3) for name in ("memit", "alphaedit")),
    *(f"{name}:clamp={clamp}" for clamp in (0.5, 1) for name in ("memit", "alphaedit")),
)
"""What is tried unless rows are named."""


def main() -> None:
    """Print a line for each row as it is done, and the table in the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("rows", nargs="*", default=ROWS)
    parser.add_argument("--limit", type=int, default=30)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_intermixed_args()
    model = load(arguments.model, device=arguments.device)
    records = read_records(arguments.records)[arguments.skip : arguments.skip + arguments.limit]
    suite = Suite(name="records", facts=tuple(fact for record in records for fact in record.suite.facts))
    unedited = scores(model, suite)
    columns = (f"{role} {prepend}" for prepend in PREPENDS for role in ROLES)
    table = Table("settings", *columns, "ppl", "written", "s", box=None)
    table.add_row("unedited", *map(shown, unedited), f"{perplexity(model):.2f}", "", "")
    print(json.dumps({"row": "unedited", "scores": unedited}), flush=True)
    with patch.object(making, "gates", lambda *_: ()):
        for row in arguments.rows:
            report(model, table, row, row, (records,))
            if arguments.alone:
                report(model, table, f"{row} alone", row, [(record,) for record in records])
    Console(stderr=True, width=160).print(table)


def report(
    model: LoadedModel,
    table: Table,
    name: str,
    row: str,
    groups: Sequence[Sequence[EditRecord]],
) -> None:
    """Write each group of records, score it, and take it back; the row has the means."""
    found, perplexities, shares, seconds, checks = [], [], [], [], list[str]()
    for records in groups:
        began = time.perf_counter()
        try:
            made = make(model, row, records)
        except Exception as error:  # noqa: BLE001 - the next row is worth having
            print(json.dumps({"row": name, "error": str(error)}), flush=True)
            return
        seconds.append(time.perf_counter() - began)
        own = Suite(name="records", facts=tuple(fact for record in records for fact in record.suite.facts))
        with model.edits.added(made.edit):
            found.append(scores(model, own))
            perplexities.append(perplexity(model))
        shares.append(fmean(made.details.shares))  # type: ignore[attr-defined]
        checks = [f"{check.name}: {check.text}" for check in made.details.checks]
    columns = [[value for value in column if value is not None] for column in zip(*found, strict=True)]
    means = [fmean(column) if column else None for column in columns]
    numbers = {"scores": means, "perplexity": fmean(perplexities), "written": fmean(shares), "seconds": fmean(seconds)}
    print(json.dumps({"row": name, **numbers, "checks": checks}), flush=True)
    table.add_row(
        name, *map(shown, means), f"{fmean(perplexities):.2f}", f"{fmean(shares):.0%}", f"{fmean(seconds):.1f}"
    )


def make(model: LoadedModel, row: str, records: Sequence[EditRecord]) -> Made:
    """The edit of all records by the editor and the settings of a row."""
    name, _, typed = row.partition(":")
    by = editor(name)
    pairs = [pair.partition("=") for pair in typed.split(",") if pair]
    settings = filled(by.settings, {key: value.replace("+", ",") for key, _, value in pairs})
    cases = tuple(record.case.model_copy(update={"foil": None}) for record in records)
    check(model, by, cases, settings)
    return by.make(model, cases, settings, silent)


def scores(model: LoadedModel, suite: Suite) -> list[float | None]:
    """Efficacy, generalization and specificity of the model as it is, by start."""
    tested = run_suite(model, suite, generate=False, held_out=False)
    found = {(score.prepend, score.role): score.score for score in tested.scores}
    return [found.get((prepend, role)) for prepend in PREPENDS for role in ROLES]


def shown(score: float | None) -> str:
    """In points."""
    return "–" if score is None else f"{100 * score:.1f}"


if __name__ == "__main__":
    main()
