"""What is drawn of a direct logit attribution says the same as its numbers."""

from __future__ import annotations

import pytest

from tests.methods.dla.test_dla import CASE, run
from tests.test_edits import state_edit
from tests.tiny import tiny_loaded
from workbench.methods.dla.figures import LARGEST, figures


def test_the_lines_say_the_sums_and_the_bars_add_up_to_the_total():
    loaded = tiny_loaded("gpt2")
    for number in range(2):
        result = run(loaded)
        lines, heatmap, bars = figures(result)
        last, total = result.encoded.texts[-1].strip(), f"{result.total:+.2f}".replace("-", "−")
        assert lines.lines[0].text.startswith(f"the logit difference “,” − “.” after “{last}” is {total}: embedding ")
        assert ("edits of states" in lines.lines[0].text) == bool(number)
        assert heatmap.rows.labels == ("attention", "MLP", "edits")[: 2 + number]
        assert heatmap.values[1] == result.mlp
        assert heatmap.columns.index == "layer"
        assert sum(bar.value for bar in bars.bars) == pytest.approx(result.total, abs=1e-5)
        assert bars.bars[0].value == max((bar.value for bar in bars.bars[:LARGEST]), key=abs)
        assert all((bar.value > 0) == (bar.meaning == "target") for bar in bars.bars if bar.meaning != "muted")
        loaded.edits.add(state_edit(loaded, "s"))


def test_without_a_foil_it_is_the_logit_that_is_spoken_of_and_many_parts_share_a_bar():
    result = run(tiny_loaded("llama"), CASE.model_copy(update={"foil": None}))
    many = result.model_copy(update={"layers": 12, "mlp": tuple(range(12)), "attention": (0.5,) * 12})
    lines, _, bars = figures(many)
    assert lines.lines[0].text.startswith("the logit of “,” after “")
    assert "bias" not in lines.lines[0].text
    assert bars.bars[-1].label == f"{1 + 11 + 12 - LARGEST} others"
    assert bars.bars[0].label == "L11 MLP"
