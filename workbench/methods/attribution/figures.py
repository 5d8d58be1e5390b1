"""What there is to draw of an attribution."""

from __future__ import annotations

from workbench.figures import Figure, Scale, TokenScores, line, notes, said
from workbench.methods.attribution.attribution import AttributionResult
from workbench.wording import count


def attribution_figures(result: AttributionResult) -> tuple[Figure, ...]:
    """Each token with its score, positive towards the target; then what the scores share out."""
    unit = "logits" if result.foil_text else "nats"
    against = f" against “{result.foil_text.strip()}”" if result.foil_text else ""
    scores = TokenScores(
        title=f"What pulls towards “{result.target_text.strip()}”{against} · {result.method.replace('-', ' ')}",
        tokens=result.encoded.texts,
        scores=result.scores,
        scale=Scale.signed(result.scores, unit),
        attributed=result.attributed,
        subject=result.encoded.subject or (0, 0),
        target=result.target_text.strip() or result.target_text,
        foil=(result.foil_text or "").strip(),
    )
    summary = (
        f"{result.value:.2f} {unit} as it stands, {result.baseline_value:.2f} at the baseline ({result.baseline}), "
        f"{count(result.evaluations, 'evaluation')}"
    )
    return (scores, *said(line(summary, "muted")), *notes(result.encoded.notes))
