"""What is asked of a model on another device than one CPU, whose answers are to be that CPU's."""

from __future__ import annotations

from typing import Any

from workbench.case import Case

CASE = Case(prompt="The largest island of all is Australia", subject="Australia", target=",", foil=".")

METHODS: dict[str, dict[str, Any]] = {
    "lens": {},
    "trace": {"samples": 2, "kinds": ("states", "attention", "mlp")},
    "attribution": {},
    "dla": {},
    "heads": {},
    "attention": {"head": "L1H2"},
    "knockout": {},
    "patch": {"source": "The largest island of all is France", "kinds": ("states", "mlp", "heads")},
    "continue": {"tokens": 4},
    "watch": {"tokens": 3},
    "patchscope": {},
    "counterfactual": {},
}

EDITORS: dict[str, dict[str, Any]] = {
    "rome": {"layer": 1, "prefixes": 2, "prefix_tokens": 3, "steps": 3},
    "memit": {"layers": "1", "prefixes": 2, "prefix_tokens": 3, "steps": 3},
    "alphaedit": {"layers": "1", "prefixes": 2, "prefix_tokens": 3, "steps": 3, "energy": 0.5},
    "ft-m": {"layer": 1, "steps": 2},
    "ft-batch": {"layer": 1, "epochs": 1},
    "grace": {"layer": 1, "steps": 2},
}
