"""One ROME edit against the published procedure written plainly: all prompts whole, all layers, all logits.

    python -m benchmarks.edit_speed [--edits 3]

Both ways descend over the same contexts, for the same number of steps, in one process, edit by edit in turn. The
second row is the edit as the workbench makes it: fewer contexts, and an end when the target is likely enough.
Statistics and prefixes are made beforehand, as both need the same; what the workbench measures of an edit once it is
computed is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from workbench.case import Case
from workbench.editing.editors.key_statistics import key_statistics
from workbench.editing.editors.rome import rome
from workbench.editing.editors.rome.contexts import (
    SPARE,
    Contexts,
    essence_contexts,
    rewrite_contexts,
    sampled_prefixes,
)
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.layers import chosen_layer
from workbench.loading import LoadedModel, load
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.protocol import silent

PREFIXES, STEPS, RATE, KL, DECAY, CLAMP = 20, 25, 0.5, 0.0625, 0.5, 4.0
CASES = (
    Case(prompt="The capital of Australia is", subject="Australia", target=" Canberra"),
    Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower", target=" Rome"),
    Case(prompt="Mount Everest is located in the country of", subject="Mount Everest", target=" Chile"),
)


def main() -> None:
    """Print a table of seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=len(CASES))
    parser.add_argument("--model", default="smollm2-135m")
    arguments = parser.parse_args()
    model = load(arguments.model)
    layer = chosen_layer(model, None)[0]
    key_statistics(model, layer)
    prefixes = sampled_prefixes(model, SPARE * PREFIXES, 10, 0)
    plain, same, ours = [], [], []
    published, usual = RomeSettings(variant="original", prefixes=PREFIXES, enough=0), RomeSettings()
    with patch.object(rome, "gates", lambda *_: ()):
        for settings in (usual, published):
            rome.make(model, CASES[:1], settings.model_copy(update={"steps": 1}), silent)
        for case in CASES[: arguments.edits]:
            same.append(_seconds(partial(rome.make, model, (case,), published, silent)))
            plain.append(_seconds(partial(plain_edit, model, case, layer, prefixes)))
            ours.append(_seconds(partial(rome.make, model, (case,), usual, silent)))
    table = Table("one edit", "seconds (median)", "plain / this", box=None)
    table.add_row("published, plain", f"{median(plain):.1f}", "")
    table.add_row("same contexts and steps", f"{median(same):.1f}", f"{median(map(_ratio, plain, same)):.1f}")
    table.add_row("as the workbench does it", f"{median(ours):.1f}", f"{median(map(_ratio, plain, ours)):.1f}")
    Console().print(table)


def _ratio(plain: float, other: float) -> float:
    return plain / other


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plain_edit(model: LoadedModel, case: Case, layer: int, prefixes: tuple[str, ...]) -> torch.Tensor:
    """The change of the weights ``(d_model, d_mlp)``, with complete runs of every prompt in every step."""
    groups, _ = rewrite_contexts(model, case, prefixes, PREFIXES)
    essence = essence_contexts(model, case)
    keys = torch.cat([_keys(model, layer, group) for group in groups])
    weight = model.down_projection(layer).weight
    value = weight @ keys[0]
    delta = torch.zeros(model.info.d_model, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=RATE)
    before = _log_p(model, layer, essence, delta).detach()[:, essence.reads[0]]
    for step in range(STEPS):
        adam.zero_grad()
        said = []
        for group in groups:
            log_p = _log_p(model, layer, group, delta)
            wanted = torch.tensor(group.answers).expand(len(group.ids), -1)[..., None]
            said.append(log_p[:, list(group.reads)].gather(-1, wanted)[..., 0].mean(dim=-1))
        now = _log_p(model, layer, essence, delta)[:, essence.reads[0]]
        kl = torch.nn.functional.kl_div(now, before, log_target=True, reduction="batchmean")
        loss = -torch.cat(said).mean() + KL * kl + DECAY * delta.norm() / value.norm() ** 2
        if step == STEPS - 1:
            break
        loss.backward()
        adam.step()
        with torch.no_grad():
            if delta.norm() > CLAMP * value.norm():
                delta.mul_(CLAMP * value.norm() / delta.norm())
    direction = key_statistics(model, layer).solve(keys.mean(dim=0)[:, None])[:, 0]
    return torch.outer(delta.detach().double(), direction / (keys[0].double() @ direction))


def _log_p(model: LoadedModel, layer: int, group: Contexts, delta: torch.Tensor) -> torch.Tensor:
    """All log-probabilities of a batch of whole prompts, with the change at the subject's last token."""

    def add(_module: object, _args: object, output: torch.Tensor) -> torch.Tensor:
        states = tensor_of(output, len(group.ids)).clone()
        states[:, group.subject_last] = states[:, group.subject_last] + delta
        return with_tensor(output, states)

    handle = model.down_projection(layer).register_forward_hook(add)
    logits = model.hf(group.ids, use_cache=False).logits
    handle.remove()
    return logits.float().log_softmax(dim=-1)


def _keys(model: LoadedModel, layer: int, group: Contexts) -> torch.Tensor:
    seen = []
    handle = model.down_projection(layer).register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    with torch.no_grad():
        model.hf(group.ids, use_cache=False)
    handle.remove()
    return seen[0][:, group.subject_last]


if __name__ == "__main__":
    main()
