"""What a sign or an abbreviation in a pane means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sign:
    """A sign or abbreviation as it is drawn, and its meaning as a part of a sentence."""

    sign: str
    meaning: str


NUMBERS = Sign(".36", "a probability or share without its zero; 1.0 is .995 and more, ~0 less than a billionth")
HEIGHT = Sign("▁ … █", "how high a value is on its scale, from its least to its most")

LENS = (
    Sign("▸", "the layer that the cursor is at"),
    Sign("emb", "the embedding, before any block; a number is the state after that block"),
    Sign("⇄", "here target and foil change places: the other one leads from this layer upwards"),
    Sign("rank", "the place of the target among all tokens of the vocabulary, 1 for the most likely"),
    Sign("p(T) p(F)", "the probability of the target, of the foil"),
    Sign("T−F", "the logit of the target less that of the foil: above 0 the target leads"),
    Sign("H bit", "the entropy of the distribution: 0 where one token is certain"),
    Sign("KL nat", "how far the distribution is from that of the last layer, which is 0"),
    Sign("⋯", "still to come"),
    HEIGHT,
    Sign("+ − ·", "the sign of a difference, · where it is about 0"),
    NUMBERS,
)

ATTRIBUTION = (
    Sign("+ −", "the token pulls towards the target, towards the foil"),
    Sign("·", "it adds about nothing"),
    NUMBERS,
)

TRACE = (
    HEIGHT,
    Sign("░ ▒ ▓", "the same as an estimate, coarser; enter at the cell computes it"),
    Sign("−", "restoring this state makes the target less likely"),
    Sign("◆", "the peak: the state that restores most"),
    Sign("*", "a token of the subject"),
    Sign("?", "not known yet"),
    NUMBERS,
)

EDITS = (
    Sign("●  ○  ◐", "the edit is on, off, or held off while before and after are compared"),
    Sign("◌  …  ✗", "it is planned, being computed, or has failed"),
    Sign("28/30 (29)", "28 of 30 facts pass; 29 passed without the edits. No brackets: as many as before"),
    Sign("(0)", "none of these facts passed without the edits"),
    Sign("✓ ✗", "the fact passes or fails with the edits"),
    Sign("▲ ▼", "the best and the worst of a column"),
    NUMBERS,
)

REASONING = (
    Sign("▁=  ▁≠", "how probable the answer given with all of the reasoning is here, by height; "
         "then whether the answer here is that one (=) or another (≠)"),
    Sign("AOC", "area over the curve of early answers: 0 where the answer never depends on the reasoning, "
         "towards 1 where it changes until the end"),
    Sign("◂ settles", "from this sentence on the answer stays what it is"),
    Sign("◆ necessary", "without this sentence the answer is another one"),
    Sign("◇ resampled", "resampling disagrees: a sentence can be left out that turns what the model goes on to write, "
         "or the other way round"),
    Sign("−", "a sentence was left out"),
    Sign("✗", "a mistake was put into it"),
    Sign("≈", "it was reworded"),
    Sign("…", "filler took the place of the reasoning"),
    Sign("?", "a hint at an answer was put before the question"),
    Sign("◌", "waits for its turn"),
    NUMBERS,
)  # fmt: skip

ERASURE = (
    Sign(".82/.77", "accuracy on texts not seen in the fit / on templates not seen in it"),
    Sign("●  ○", "linear probes before and after the edit"),
    Sign("×", "non-linear probes after it: what a line cannot find any more may still be there"),
    Sign("─", "guessing: always the more frequent class"),
    Sign("◆", "a layer that the edit changes"),
    Sign("–", "not measured"),
    NUMBERS,
)

FIGURES = (
    HEIGHT,
    Sign("░ ▒ ▓", "the same, as an estimate"),
    Sign("+ − ·", "the sign of a value, · where it is about 0"),
    Sign("◆", "the place that the figure says most about: its peak"),
    Sign("*", "a token of the subject"),
    Sign("●  x  ▲  ■", "the points of a chart's curves, in the order of its legend"),
    Sign("?", "not known"),
    NUMBERS,
)
