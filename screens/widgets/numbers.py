"""How numbers are written in panes: short, aligned, and never a bare minus sign that looks like a dash."""

from __future__ import annotations

import math


def probability(value: float) -> str:
    """At most four cells: ``.36``, ``1.0``, and ``3e-4`` where two decimals would say nothing."""
    if not math.isfinite(value):
        return "?"
    if value >= 0.995:
        return "1.0"
    if value >= 0.005:
        return f"{value:.2f}"[1:]
    if value <= 0:
        return "0"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e-{-int(exponent)}" if value >= 1e-9 else "~0"


def signed(value: float) -> str:
    """With its sign and one decimal: ``+1.4``, ``−0.1``; no decimals from ten on, no sign on 0.0."""
    if not math.isfinite(value):
        return "?"
    text = f"{abs(value):.1f}" if abs(value) < 9.95 else f"{abs(value):.0f}"
    return text if float(text) == 0 else ("−" if value < 0 else "+") + text


def amount(value: float) -> str:
    """Bits or nats: one decimal, none from ten on."""
    if not math.isfinite(value):
        return "?"
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
