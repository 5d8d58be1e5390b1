"""The plain lens of a model that is elsewhere: its rows are read there, and only what they come to travels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.errors import InputError, NumericalError
from workbench.lazy import torch
from workbench.methods.lens.logit_lens import (
    LensColumn,
    LensRequest,
    LensResult,
    column_of,
    order_of,
    parity_check,
    watched,
)
from workbench.methods.lens.row_numbers import row_numbers
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from workbench.remote import RemoteModel


def run(model: RemoteModel, request: LensRequest, progress: Progress) -> LensResult:
    """The lens at the tokens asked for, all in one job.

    Raises `InputError` for a corrected lens and what `workbench.methods.lens.logit_lens.run` raises, and what
    `workbench.remote.RemoteModel.sending` raises.
    """
    if request.lens != "logit":
        raise InputError(f"a {request.lens} lens is fitted to weights that are here; --remote reads the plain lens")
    encoded = model.encode(request.case)
    positions = sorted(order_of(request, len(encoded.ids)))
    anatomy, k, ids, followed = model.anatomy, request.top_k, [list(encoded.ids)], watched(encoded)
    blocks = [model.part(f"{anatomy.blocks}.{layer}") for layer in range(anatomy.n_layers)]
    last = [model.part(path) for path in (anatomy.final_norm, anatomy.projection, anatomy.unembedding) if path]
    scale, softcap = anatomy.logit_scale, anatomy.softcap
    nn, backend = model.nn, model.sending(progress, row_numbers.__module__)
    with nn.trace(input_ids=ids, use_cache=False, backend=backend):
        states = [blocks[0].input]
        for block in blocks:
            states.append(block.output)
        logits = nn.output.logits
        final, rows = logits[0, positions].float(), []
        for state in states:
            read = (state[0] if isinstance(state, tuple) else state)[0, positions]
            for part in last:
                read = part(read)
            read = read.float().to(final.device) * scale
            if softcap:
                read = (read / softcap).tanh() * softcap
            rows.append({name: each.cpu() for name, each in row_numbers(read, final, k, followed).items()})
        answer = {"rows": rows, "off": (read - final).abs().max().item(), "dtype": str(logits.dtype)}
        answer.save()  # type: ignore[attr-defined]
    if not math.isfinite(answer["off"]):
        raise NumericalError(f"the logits of {model.info.name} are not finite; try another prompt or model")
    columns: list[LensColumn | None] = [None] * len(encoded.ids)
    for index, position in enumerate(positions):
        numbers = {name: torch.stack([row[name][index] for row in answer["rows"]]) for name in answer["rows"][0]}
        columns[position] = column_of(numbers, model.tokenizer, encoded)
    dtype = answer["dtype"].removeprefix("torch.")
    checks = (parity_check(answer["off"], dtype), Check(name="served", text=f"in {dtype} by {model.host}"))
    return LensResult(encoded=encoded, layers=anatomy.n_layers, columns=tuple(columns), checks=checks)
