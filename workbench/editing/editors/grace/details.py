"""What GRACE finds on the way to a codebook, and what there is to draw of it."""

from __future__ import annotations

from workbench.editing.layers import LayerDetails
from workbench.figures import Curve, Curves, Figure, said
from workbench.wording import count


class GraceDetails(LayerDetails):
    """``losses`` are those of the last fact's value, before each step and after the last, in nats a token.

    ``keys`` is how many the codebook holds, ``radius`` the median of their radii and ``norm`` of their lengths.
    Probabilities are those of the whole target, the least over all prompts.
    """

    key: str
    facts: int
    keys: int
    radius: float
    norm: float
    losses: tuple[float, ...]
    probability_before: float
    probability: float


def figures(details: GraceDetails) -> tuple[Figure, ...]:
    """Where the keys are and how far they reach in words, and the descent as a curve."""
    token = "subject's last token" if details.key == "subject" else "prompt's last token"
    where = f"layer {details.layer} ({details.layer_from}), {token}; {count(details.keys, 'key')}"
    reach = f"radius {details.radius:.3g} of keys as long as {details.norm:.3g}"
    steps = len(details.losses) - 1
    lines = said(f"{where}, {reach}; p {details.probability_before:.2f} → {details.probability:.2f}")
    if steps < 1:
        return lines
    curve = Curve(label="loss", points=tuple((float(step), value) for step, value in enumerate(details.losses)))
    return (*lines, Curves(title="Descent to the value", x="step", y="nats a token of the target", curves=(curve,)))
