"""Integrated gradients until 5 % of the difference, against plain captum with as many evaluations, default model.

``error`` is a share of the difference: the sum of the pieces' absolute errors, and captum's convergence delta, in
which errors of either sign cancel. So ``token`` is the fairer figure: how far a score is, at most, from a reference
with a fifth of the tolerance, as a share of the difference too. Seconds are the processor's, whatever else runs.
"""

from __future__ import annotations

import time

import torch
from captum.attr import IntegratedGradients

from workbench.case import Case, Prepend
from workbench.loading import LoadedModel, load
from workbench.methods.attribution.attributed import Attributed, ask
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult, run
from workbench.protocol import silent

CASES = {
    "Eiffel": Case(prompt="The Eiffel Tower is located in the city of", target="Paris", foil="Rome"),
    "hero": Case(prompt="The capital of Australia is", target="Canberra", foil="Sydney"),
}
PREPENDS: tuple[Prepend, ...] = ("separator", "as-is")
AT_ONCE = 12


def main() -> None:
    model = load("smollm2-135m")
    print(f"{model.info.device}, {torch.get_num_threads()} threads, baseline mean")
    print(f"{'':43} | {'pieces':^24} | {'plain captum':^24}")
    print(f"{'case':7} {'prepend':9} {'difference':>12} {'evaluations':>12}", end="")
    print(f" | {'CPU s':>8} {'error':>7} {'token':>7}" * 2)
    for name, prompt in CASES.items():
        for prepend in PREPENDS:
            measure(model, name, prompt.model_copy(update={"prepend": prepend}))


def measure(model: LoadedModel, name: str, case: Case) -> None:
    began = time.process_time()
    found = run(model, AttributionRequest(case=case), silent)
    seconds = time.process_time() - began
    reference = run(model, AttributionRequest(case=case, tolerance=0.01, limit=4000), silent)

    _, _, question = ask(model, case)
    began = time.process_time()
    scores, error = _plain(question, found.evaluations)
    plain_seconds = time.process_time() - began

    difference = abs(found.value - found.baseline_value)
    own = list(found.scores[slice(*found.attributed)])
    print(f"{name:7} {case.prepend:9} {difference:12.3f} {found.evaluations:12}", end="")
    print(f" | {seconds:8.1f} {found.completeness_error / difference:7.1%} {_off(own, reference):7.1%}", end="")
    print(f" | {plain_seconds:8.1f} {error / difference:7.1%} {_off(scores, reference):7.1%}", flush=True)


def _plain(question: Attributed, steps: int) -> tuple[list[float], float]:
    """Captum on the whole path: scores a token, and the absolute convergence delta."""
    scores, delta = IntegratedGradients(question.value).attribute(
        question.inputs[None],
        question.baseline[None],
        n_steps=steps,
        internal_batch_size=AT_ONCE,
        return_convergence_delta=True,
    )
    return scores[0].sum(dim=-1).tolist(), abs(float(delta))


def _off(scores: list[float], reference: AttributionResult) -> float:
    expected = reference.scores[slice(*reference.attributed)]
    furthest = max(abs(score - other) for score, other in zip(scores, expected, strict=True))
    return furthest / abs(reference.value - reference.baseline_value)


if __name__ == "__main__":
    main()
