"""What steering along each shipped contrast set does to behaviour in the default model, and what it costs.

python -m benchmarks.steering                                          # every set, at layers and strengths of its own
python -m benchmarks.steering brevity --layers 8,12 --strengths 2,4    # one set
"""

from __future__ import annotations

import argparse
from typing import Any

from workbench.datasets.contrasts import shipped_contrasts
from workbench.editing.steer_sweep import SteerSweepRequest, SteerSweepResult, SweptStrength, run
from workbench.editing.suite.behaviour import effect_text
from workbench.loading import load
from workbench.protocol import silent

STRENGTHS = {"brevity": "2,4", "formality": "0.25,0.5", "refusal": "0.5,1", "sentiment": "0.25,0.5"}
"""What is tried of each set where nothing else is asked for: from what is barely felt to what costs fluency."""

HEAD = "| set | layer | told apart | strength | before | effect | held-out | replies | repeated | usable |"


def main() -> None:
    options = _options()
    model = load(options.model, dtype="float32", progress=silent)
    print(HEAD + "\n|" + "---|" * (HEAD.count("|") - 1), flush=True)
    for name in options.sets:
        asked: dict[str, Any] = {
            "contrast": name,
            "layers": options.layers,
            "strengths": options.strengths or STRENGTHS.get(name, "0.5,1"),
            "tokens": options.tokens,
            "by": options.by,
        }
        shown = 0

        def show(_done: int, _total: int, found: Any = None, **_stage: str) -> None:
            nonlocal shown
            if isinstance(found, SteerSweepResult):
                for one in found.swept[shown:]:
                    print(row(found, one), flush=True)
                shown = len(found.swept)

        result = run(model, SteerSweepRequest.model_validate(asked), show)
        show(1, 1, result)


def row(found: SteerSweepResult, one: SweptStrength) -> str:
    """One strength at one layer, as a row of Markdown."""
    apart = next(each.told_apart for each in found.directions if each.layer == one.layer)
    behaviour = one.behaviour
    growth = "–" if behaviour.replies_growth is None else f"{behaviour.replies_growth:+.0%}"
    cells = (
        found.contrast,
        str(one.layer),
        f"{apart:.2f}",
        f"{one.strength:g}",
        f"{behaviour.before:.2f}",
        effect_text(behaviour.effect),
        f"{behaviour.perplexity_growth:+.1%}",
        growth,
        f"{behaviour.repeated - behaviour.repeated_before:+.2f}",
        "yes" if one.usable else "not fluent" if one.works else "no effect",
    )
    return "| " + " | ".join(cells).replace("%", " %").replace("-", "−") + " |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(shipped_contrasts()))
    parser.add_argument("--layers", default="8,12,16")
    parser.add_argument("--strengths", default="")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--by", default="mean", choices=("mean", "pca"))
    parser.add_argument("--model", default="smollm2-135m")
    return parser.parse_args()


if __name__ == "__main__":
    main()
