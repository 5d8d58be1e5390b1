"""What probes read of a concept before and after erasure in the default model, what that costs, and what it does.

python -m benchmarks.erasure_probes                      # pronoun gender, at layer 12 and at all layers
python -m benchmarks.erasure_probes --fitting 400        # the cost of fitting alone, against one forward a layer
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import time
from collections.abc import Sequence
from typing import Any

import torch
from concept_erasure import LeaceEraser

from workbench.case import Case
from workbench.datasets.concepts import ConceptData, shipped_concept
from workbench.editing import edit
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import ErasureSettings
from workbench.editing.editors.erasure.fit import Pooling, fit_eraser
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.loading import LoadedModel, load
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.layerwise import Layerwise
from workbench.models.tokens import encode
from workbench.protocol import silent

COLUMNS = ("layer", "before", "after", "fresh", "non-linear", "was", "rank")


def main() -> None:
    options = _options()
    model = load(options.model, dtype=options.dtype)
    if options.fitting:
        fitting(model, shipped_concept(options.concept).limited(options.fitting))
        return
    for layers in (None if text == "all" else tuple(map(int, text.split(","))) for text in options.layers):
        settings = ErasureSettings(concept=options.concept, layers=layers, pool=options.pool, limit=options.limit)
        request = EditRequest(editor=options.editor, settings=settings, test=False)
        began = time.perf_counter()
        result = edit.run(model, request, silent)
        show(result, time.perf_counter() - began)
        assert result.edit is not None
        model.edits.remove(result.edit.id)


def show(result: EditResult, seconds: float) -> None:
    """One erasure: accuracies on unseen texts / unseen templates, by layer, and the effects."""
    found = result.details
    assert isinstance(found, Erased)
    name = "all layers" if len(found.layers) > 1 else f"layer {found.layers[0]}"
    texts = ", ".join(f"{count} {split}" for split, count in found.texts.items())
    print(f"\n{found.concept} · {found.how} · {name} · {found.pool} · {texts} · n/d {found.per_dimension:.1f}")
    print(f"guessing {_pair(found.majority)}")
    print("".join(f"{column:>13}" for column in COLUMNS))
    for row in found.probed:
        accuracies = (row.before, row.after, row.fresh, row.nonlinear_after, row.nonlinear_before)
        cells = [f"{row.layer}{'*' if row.changed else ' '}", *map(_pair, accuracies), str(row.rank)]
        print("".join(f"{cell:>13}" for cell in cells))
    for check in result.checks:
        print(f"{check.name}: {check.text} ({check.level})")
    if found.effects is not None:
        for effect in found.effects.words:
            words = zip(found.classes, effect.before, effect.after, strict=True)
            print(effect.prompt, *(f"· {label} {before:.3f} → {after:.3f}" for label, before, after in words))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.0f} s on {torch.get_num_threads()} threads, peak memory of the process {peak:.2f} GiB")


def fitting(model: LoadedModel, data: ConceptData) -> None:
    """Fitting every layer as here, and by one forward of all texts for each layer."""
    encoded = [encode(model.tokenizer, Case(prompt=example.text)).ids for example in data.of("train")]
    one_forward = sum(map(len, encoded)) * model.info.d_model * model.info.layers
    numbers = [0]

    def count(_module: Any, args: Any) -> None:
        numbers[0] += args[0].numel()

    hooks = [model.mlp(layer).register_forward_pre_hook(count) for layer in range(model.info.layers)]
    times, counts = [], []
    for way in (_here, _plainly):
        began, numbers[0] = time.perf_counter(), 0
        way(model, data, encoded)
        times.append(time.perf_counter() - began)
        counts.append(numbers[0] / one_forward)
    for hook in hooks:
        hook.remove()
    print(f"{len(encoded)} texts, {model.info.layers} layers")
    for name, seconds, count in zip(("here", "one forward a layer"), times, counts, strict=True):
        print(f"{name:>20}: {seconds:7.1f} s, {count:5.1f} forwards of all texts")
    print(f"{times[1] / times[0]:.1f} times the speed, {counts[1] / counts[0]:.1f} times fewer forwards")


def _here(model: LoadedModel, data: ConceptData, texts: Sequence[tuple[int, ...]]) -> None:
    walk = Layerwise(model, texts)
    pooling = Pooling(walk, "last", data.of("train"), data.classes, [0] * len(texts), 0)
    for layer in range(model.info.layers):
        for _ in walk.advance():
            pass
        rows, everywhere = pooling.rows(walk), pooling.every_token(walk)
        walk.map(fit_eraser(layer, rows, pooling.classes, len(data.classes), "leace", everywhere))


def _plainly(model: LoadedModel, data: ConceptData, texts: Sequence[tuple[int, ...]]) -> None:
    """The library's own use: texts of one length together, hooks that erase below, stopped after the layer."""
    by_length: dict[int, list[int]] = {}
    for at, ids in enumerate(texts):
        by_length.setdefault(len(ids), []).append(at)
    classes = torch.tensor([data.classes.index(example.label) for example in data.of("train")])
    one_hot = torch.nn.functional.one_hot(classes, len(data.classes)).double()
    handles: list[Any] = []
    for block in model.block_modules:
        reader = _Reader(torch.zeros(len(texts), model.info.d_model, dtype=torch.float64))
        handle = block.register_forward_hook(reader)
        for length, places in by_length.items():
            rows = max(1, 2048 // length)
            for begin in range(0, len(places), rows):
                reader.places = places[begin : begin + rows]
                ids = torch.tensor([texts[at] for at in reader.places])
                with torch.no_grad(), contextlib.suppress(_Enough):
                    model.hf.base_model(input_ids=ids, use_cache=False)
        handle.remove()
        handles.append(block.register_forward_hook(_erasing(LeaceEraser.fit(reader.states, one_hot, svd_tol=1e-4))))
    for handle in handles:
        handle.remove()


class _Enough(Exception):
    """The layer that was wanted has been read."""


class _Reader:
    """A forward hook that keeps the last token's states of the texts at ``places``, and stops the forward."""

    def __init__(self, states: torch.Tensor) -> None:
        self.places: list[int] = []
        self.states = states

    def __call__(self, _module: Any, _args: Any, output: Any) -> None:
        self.states[self.places] = tensor_of(output)[:, -1].double()
        raise _Enough


def _erasing(eraser: LeaceEraser) -> Any:
    def hook(_module: Any, _args: Any, output: Any) -> Any:
        states = tensor_of(output)
        return with_tensor(output, eraser(states.double()).to(states.dtype))

    return hook


def _pair(found: Accuracy | None) -> str:
    if found is None:
        return "–"
    return f"{found.texts:.3f}" + ("" if found.templates is None else f"/{found.templates:.3f}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--concept", default="pronoun-gender")
    parser.add_argument("--layers", nargs="*", default=["12", "all"], help="each an erasure: 12, 3,5,8, all")
    parser.add_argument("--pool", default="last", choices=("last", "mean", "all"))
    parser.add_argument("--editor", default="leace", choices=("leace", "orth"))
    parser.add_argument("--limit", type=int, help="use only so many texts")
    parser.add_argument("--fitting", type=int, help="time the fitting of all layers on so many texts, and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
