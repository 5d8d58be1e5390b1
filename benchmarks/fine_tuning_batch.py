"""Fine-tuning in batches by its settings: what facts tuned together, and each alone, do to a suite of their records.

    python -m benchmarks.fine_tuning_batch [--facts RECORDS] [--limit 8] [--settings '{"layer": 20, "rate": 1e-3}' …]

Efficacy / generalization / specificity in %, of the prompts as they are and after BOS or separator, the growth of the
held-out perplexity, and seconds. Without records the shipped facts are used, with other answers of their relations.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from workbench.case import Prepend
from workbench.datasets.suites import EditRecord, Suite, read_records
from workbench.editing.editor import Made
from workbench.editing.editors import fine_tuning_batch
from workbench.editing.editors.fine_tuning_batch import FT_BATCH, FtBatchSettings
from workbench.editing.editors.mend.material import shipped_records
from workbench.editing.records import mean_scores
from workbench.editing.suite.held_out import perplexity
from workbench.editing.suite.regression import PREPENDS, SCORED, RoleScore, SuiteRequest, measure, run_suite
from workbench.loading import LoadedModel, load
from workbench.protocol import silent

LAYERS = (5, 20, 24, 27)


def main() -> None:
    """Print a table with a row for each of the settings, and each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=Path)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--settings", nargs="*", default=[json.dumps({"layer": layer}) for layer in LAYERS])
    parser.add_argument("--ways", default="together,alone")
    parser.add_argument("--prepend", default=",".join(PREPENDS))
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = load(arguments.model, "float32", arguments.device)
    records = read_records(arguments.facts) if arguments.facts else shipped_records(0)[:: 1404 // arguments.limit]
    records = records[: arguments.limit]
    prepends: tuple[Prepend, ...] = tuple(arguments.prepend.split(","))
    bench = Bench(model, records, prepends)
    Console(width=160).print(f"{len(records)} records, unedited {bench.said(bench.unedited, before=True)}")
    for text in arguments.settings:
        for way in arguments.ways.split(","):
            Console(width=160).print(bench.row(way, FtBatchSettings(**json.loads(text)), text))


class Bench:
    """Records, and what the unedited model says to their suites."""

    def __init__(self, model: LoadedModel, records: Sequence[EditRecord], prepends: tuple[Prepend, ...]) -> None:
        self._model, self._records, self._prepends = model, records, prepends
        requests = [
            SuiteRequest(suite=_small(record.suite), prepends=prepends, generate=False, held_out=False)
            for record in records
        ]
        self._before = [measure(model, request) for request in requests]
        self._perplexity = perplexity(model)
        self.unedited = [self._scores(place) for place in range(len(records))]

    def row(self, way: str, settings: FtBatchSettings, name: str) -> Table:
        """What one way of editing with some settings gives."""
        cases = [record.case.model_copy(update={"foil": None}) for record in self._records]
        groups = [cases] if way == "together" else [[case] for case in cases]
        scores, perplexities, seconds, details = [], [], [], []
        with patch.object(fine_tuning_batch, "gates", lambda *_: ()):
            for number, group in enumerate(groups):
                began = time.perf_counter()
                made: Made = FT_BATCH.make(self._model, tuple(group), settings, silent)
                seconds.append(time.perf_counter() - began)
                details.append(made.details)
                with self._model.edits.added(made.edit):
                    places = range(len(cases)) if way == "together" else [number]
                    scores += [self._scores(place) for place in places]
                    perplexities.append(perplexity(self._model))
        table = Table(box=None, show_header=False, pad_edge=False)
        reached = sum(each.reached for each in details)  # type: ignore[attr-defined]
        epochs = fmean(len(each.losses) - 1 for each in details)  # type: ignore[attr-defined]
        size = fmean(each.size for each in details)  # type: ignore[attr-defined]
        growth = fmean(perplexities) / self._perplexity - 1
        table.add_row(
            way, name, self.said(scores), f"perplexity {growth:+.1%}", f"{reached} of {len(cases)} reached",
            f"{epochs:.1f} epochs", f"size {size:.1%}", f"{fmean(seconds):.1f} s",
        )  # fmt: skip
        return table

    def _scores(self, place: int) -> tuple[RoleScore, ...]:
        suite, before = _small(self._records[place].suite), self._before[place]
        return run_suite(
            self._model, suite, before=before, prepends=self._prepends, generate=False, held_out=False
        ).scores  # fmt: skip

    def said(self, scores: Sequence[tuple[RoleScore, ...]], before: bool = False) -> str:
        """Efficacy / generalization / specificity after each start."""
        means = {(each.role, each.prepend): each for each in mean_scores(scores)}
        parts = []
        for prepend in self._prepends:
            found = [means[role, prepend] for role in SCORED if (role, prepend) in means]
            parts.append(" / ".join(f"{100 * (each.score_before if before else each.score):.0f}" for each in found))
        return " | ".join(parts)


def _small(suite: Suite) -> Suite:
    """The facts that make the three scores, at most four neighbors."""
    neighbors = [fact for fact in suite.facts if fact.role == "neighborhood"][:4]
    return Suite(
        name=suite.name,
        facts=(*(fact for fact in suite.facts if fact.role in ("rewrite", "paraphrase")), *neighbors),
    )


if __name__ == "__main__":
    main()
