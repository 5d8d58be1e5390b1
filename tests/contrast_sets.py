"""Small contrast sets, short enough for tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
