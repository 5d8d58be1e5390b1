"""What edits cost while the model is used: the time of a token with 1, 100 and 1,000 edits on, for each editor.

    OMP_NUM_THREADS=1 python -m benchmarks.edit_overhead --facts FILE [--copies] [--editors rome,…] [--edits 1,100,1000]

An editor that takes many facts makes one edit of so many records; the others edit the first record, and copies of that
edit lie on top of each other, as what they cost does not depend on what they say. With ``--copies`` all do so, which
takes minutes where a thousand facts take an hour; copies of a codebook have keys of their own. Every number of edits
is timed in turn with the unedited model, in one process, and the ratio is the median over the rounds. Milliseconds are
the processor's on a CPU, as other programs may be running.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from workbench.case import Case
from workbench.datasets.suites import EditRecord, read_records
from workbench.editing.changes import Change, Codebook
from workbench.editing.editor import Editor
from workbench.editing.editors import editor, editors
from workbench.editing.patches import size_in_bytes
from workbench.editing.queue import Edit
from workbench.editing.sequence import case_of
from workbench.errors import WorkbenchError
from workbench.loading import LoadedModel, load
from workbench.protocol import silent
from workbench.wording import bytes_in_words

PROMPT = "The largest city of the country in which the river ends is"
TOKENS = 24
"""Greedy tokens of one measurement, after a first one that reads the prompt."""


def main() -> None:
    """Print a table of milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--editors", default=",".join(each.name for each in editors("fact")))
    parser.add_argument("--edits", default="1,100,1000")
    parser.add_argument("--copies", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", default="smollm2-135m")
    arguments = parser.parse_args()
    records, counts = read_records(arguments.facts), [int(count) for count in arguments.edits.split(",")]
    model = load(arguments.model)
    table = Table("editor", "edits", "changes", "size", "ms a token", "unedited", "ratio", box=None, pad_edge=False)
    for by in map(editor, arguments.editors.split(",")):
        for count in counts:
            try:
                made = edits_of(model, by, records, count, arguments.copies)
                edited, plain = zip(*(timed(model, made) for _ in range(arguments.rounds)), strict=True)
            except WorkbenchError as error:
                table.add_row(by.name, str(count), str(error))
                continue
            ratio = median(one / other for one, other in zip(edited, plain, strict=True))
            changes, size = sum(len(edit.changes) for edit in made), sum(map(size_in_bytes, made))
            cells = (str(changes), bytes_in_words(size), f"{1e3 * median(edited):.1f}", f"{1e3 * median(plain):.1f}")
            table.add_row(by.name, str(count), *cells, f"{ratio:.2f}")
    Console().print(table)


def edits_of(
    model: LoadedModel, by: Editor, records: tuple[EditRecord, ...], count: int, copies: bool = False
) -> list[Edit]:
    """So many edits: solved together where the editor can, or copies of the first."""
    settings = by.settings()
    if by.many and not copies:
        cases = tuple(map(case_of, records[:count]))
        if len(cases) < count:
            raise WorkbenchError(f"the file has {len(cases)} records, and {count} are wanted; name a longer one")
        return [by.make(model, cases, settings, silent).edit]
    edit = by.make(model, (case_of(records[0]),), settings, silent).edit
    return [
        Edit(
            edit.info.model_copy(update={"id": f"{number:08x}"}),
            tuple(copied(change, number) for change in edit.changes),
        )
        for number in range(count)
    ]


def copied(change: Change, number: int) -> Change:
    """The same; of a codebook, with other keys of the same length, as those of one place are one."""
    if not isinstance(change, Codebook):
        return change
    keys = torch.randn(change.keys.shape, generator=torch.Generator().manual_seed(number))
    return replace(change, keys=keys * (change.keys.norm(dim=-1) / keys.norm(dim=-1))[:, None])


def timed(model: LoadedModel, made: list[Edit]) -> tuple[float, float]:
    """Seconds a token with the edits on, and with none."""
    with model.edits.only(made):
        edited = seconds_a_token(model)
    with model.edits.only([]):
        return edited, seconds_a_token(model)


def seconds_a_token(model: LoadedModel) -> float:
    """Of greedy tokens one by one, with what was read before kept."""
    ids = model.encode(Case(prompt=PROMPT, prepend="separator")).ids
    clock = time.process_time if model.hf.device.type == "cpu" else time.perf_counter
    step, cache, began = torch.tensor([ids], device=model.hf.device), None, 0.0
    with torch.no_grad():
        for number in range(TOKENS + 1):
            output = model.hf(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, step = output.past_key_values, output.logits[:, -1].argmax(dim=-1, keepdim=True)
            if number == 0:
                began = clock()
    float(step.sum())  # waits for the device
    return (clock() - began) / TOKENS


if __name__ == "__main__":
    main()
