"""What the residual stream is to gain at each fact's subject: found for many facts at once, and once for each.

A value depends on the fact, the contexts, the last layer, the descent, and the edits that are on: not on how it is
written. So it is kept in the cache by these, and every solver, weight and range of layers with the same last one
finds it there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.editing.editors.memit.facts import FactContexts
from workbench.editing.editors.rome.value import Optimisation, Value, optimise_all
from workbench.files import write_atomically
from workbench.memory import ByDevice
from workbench.paths import cache_folder
from workbench.protocol import Progress, part
from workbench.reading import BadJson, Unreadable, parse, tensors_of

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TOGETHER = ByDevice(cpu=8, elsewhere=64)
"""Facts whose values are found together, by kind of device (benchmarks/value_batches.py).

A processor has as many rows as it can use from four facts of eight contexts on, and more take more memory.
"""


def values_of(
    model: LoadedModel, layer: int, facts: Sequence[FactContexts], settings: Optimisation, progress: Progress
) -> tuple[Value, ...]:
    """The value of each fact at the residual stream after ``layer``. Progress counts steps of facts.

    What is found before a cancel is kept.
    """
    files = [_file(model, layer, fact, settings) for fact in facts]
    found = {place: value for place, file in enumerate(files) if (value := _kept(file)) is not None}
    left = sorted((place for place in range(len(facts)) if place not in found), key=lambda place: _shape(facts[place]))
    size = TOGETHER[model.hf.device.type]
    done = len(found)
    for begin in range(0, len(left), size):
        some = left[begin : begin + size]
        stage = f"values of {len(facts)} facts, {done} found: {{}}" if len(facts) > 1 else "{}"
        within = part(progress, done, len(some), len(facts), stage)
        values = optimise_all(model, layer, [facts[place].sought for place in some], settings, within, "residual")
        for place, value in zip(some, values, strict=True):
            found[place] = value
            _keep(files[place], value)
        done += len(some)
    progress(len(facts), len(facts), stage="values")
    return tuple(found[place] for place in range(len(facts)))


def _shape(fact: FactContexts) -> list[tuple[int, ...]]:
    """Contexts that are alike from the subject's last token on run as one batch: they should come together.

    Of these, those of one length, as what is shorter is padded.
    """
    contexts = (*fact.sought.rewrites, fact.sought.essence)
    return [*(some.tail for some in contexts), *((len(some.ids[0]),) for some in contexts)]


def _file(model: LoadedModel, layer: int, fact: FactContexts, settings: Optimisation) -> Path:
    """Where a value is kept: by the weights and by everything that it is computed from."""
    contexts = [some.ids.tolist() for some in (*fact.sought.rewrites, fact.sought.essence)]
    of = fact.case.model_dump_json(exclude={"foil"})
    parts = (model.info.dtype, *model.edits.active, str(layer), of, json.dumps(contexts), repr(settings))
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return cache_folder() / "values" / model.info.fingerprint / f"{name}.safetensors"


def _kept(file: Path) -> Value | None:
    try:
        with tensors_of(file) as kept:
            of = parse(kept.metadata()["value"])
            losses = tuple(map(float, of["losses"]))
            return Value(
                kept.get_tensor("delta"), losses, float(of["probability"]), float(of["kl"]), bool(of["resumed"])
            )
    except (Unreadable, BadJson, KeyError, TypeError, ValueError):
        return None


def _keep(file: Path, value: Value) -> None:
    from safetensors.torch import save

    of = {
        "losses": value.losses,
        "probability": value.target_probability,
        "kl": value.kl,
        "resumed": value.resumed,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, save({"delta": value.delta.contiguous()}, {"value": json.dumps(of)}))
