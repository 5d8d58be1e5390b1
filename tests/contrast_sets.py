"""Small contrast sets, short enough for tiny models, and results of steering along them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.editing.editors.steering.steered import ReadDirection, Steered
from workbench.editing.steer_sweep import SteerSweepRequest, SteerSweepResult, SweptStrength
from workbench.editing.suite.behaviour import Behaviour, Reply
from workbench.methods.cot.bootstrap import Estimate

PAIRS: list[dict[str, Any]] = [
    {"prompt": "The capital of France", "positive": " is Paris.", "negative": " is Rome, Rome."},
    {"prompt": "The capital of Italy", "positive": " is the city.", "negative": " apples."},
    {"positive": "Tom has 3 apples", "negative": "Tom has 7 apples"},
    {"positive": "The Eiffel Tower", "negative": "The Colosseum"},
    {"prompt": "What is", "positive": " the answer?", "negative": " the largest?"},
]

HELD_OUT = ["The largest city", "The answer is", "Tom buys", "The Tower", "What is the"]

MEASURES: dict[str, dict[str, Any]] = {
    "words": {"kind": "words", "name": "the less of", "more": ["The", "is"], "less": ["of"]},
    "length": {"kind": "length", "name": "words", "wanted": "lower"},
    "phrases": {"kind": "phrases", "name": "share", "phrases": ["a", "i"]},
    "completions": {"kind": "completions", "name": "nats"},
}


def contrast_dict(kind: str = "words", **changed: Any) -> dict[str, Any]:
    """A set that can be used, as in a file."""
    held: list[Any] = list(HELD_OUT)
    if kind == "completions":
        held = [{"prompt": prompt, "positive": " Paris.", "negative": " Rome, Rome."} for prompt in HELD_OUT]
    return {"measure": MEASURES[kind], "pairs": PAIRS, "held_out": held, **changed}


def write_contrast(folder: Path, kind: str = "words", **changed: Any) -> Path:
    """Such a file."""
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(contrast_dict(kind, **changed)), encoding="utf-8")
    return path


REQUEST = SteerSweepRequest(contrast="sentiment", digest="d", by="pca", tokens=9, seed=3)


def behaviour(value: float, perplexity: float = 20) -> Behaviour:
    """An effect so large, and sure."""
    return Behaviour(
        measure="kind words in 100",
        wanted="higher",
        before=1,
        after=1 + value,
        effect=Estimate(value=value, low=value / 2, high=2 * value, questions=16),
        perplexity_before=20,
        perplexity=perplexity,
        replies_perplexity_before=2,
        replies_perplexity=2,
        repeated_before=0,
        repeated=0,
        replies=(Reply(prompt="How?", before="so", after="kindly so", value_before=0, value=9),),
    )


def sweep(*swept: tuple[float, Behaviour]) -> SteerSweepResult:
    """A sweep at layer 2."""
    return SteerSweepResult(
        contrast="sentiment",
        digest="d",
        towards="positive",
        away="negative",
        by="pca",
        directions=(ReadDirection(layer=2, told_apart=0.9, length=0.2),),
        swept=tuple(
            SweptStrength(layer=2, strength=strength, behaviour=found, works=True) for strength, found in swept
        ),
    )


def steered() -> Steered:
    """An edit that steers at layer 2."""
    return Steered(
        contrast="sentiment",
        digest="d",
        towards="positive",
        by="mean",
        strength=1,
        pairs=24,
        directions=(ReadDirection(layer=2, told_apart=1, length=0.2),),
        behaviour=behaviour(2),
    )
