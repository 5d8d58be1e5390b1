"""Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) along a path cut into pieces where it is rough.

On real language models the gradient along the straight path spikes in narrow places, and evenly spread steps miss
them. The integral is the sum over any pieces of the path, and captum tells each piece's own completeness error: so
the pieces with the largest errors are cut, until the errors sum to little enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.lazy import torch
from workbench.memory import in_batches

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 6
"""Gauss–Legendre points on a piece. With 8 first pieces it took the fewest evaluations of 2 to 8 points and 1 to 12
pieces on the default model (benchmarks/attribution_convergence.py has the cases)."""

FIRST_PIECES = 8
"""Pieces that the path is cut into to begin with."""

STEEP = 2**-9
"""Pieces narrower than this are computed in higher precision. Where they are needed the function all but jumps, and
float32 rounds by thousandths of a logit: in one case errors stopped shrinking at 9 % of the difference."""

NARROWEST = 2**-20
"""Pieces this narrow are not cut: what is left is a jump, as where a mixture of experts changes its routing."""


@dataclass(frozen=True, eq=False)
class Path:
    """A function from ``(batch, tokens, width)`` to ``(batch,)`` and both ends ``(tokens, width)`` of a line."""

    function: Callable[[Tensor], Tensor]
    baseline: Tensor
    inputs: Tensor


@dataclass(frozen=True, eq=False)
class PathIntegral:
    """Integrated gradients so far.

    ``scores`` ``(tokens,)`` are summed over the embedding dimension. ``error`` is the sum of the pieces' absolute
    completeness errors, in the function's unit: the scores' sum is off by no more. ``evaluations`` counts
    gradients, also those of pieces that were cut later. ``steep`` pieces were computed in higher precision.
    """

    scores: Tensor
    error: float
    evaluations: int
    pieces: int
    steep: int


@dataclass(frozen=True, eq=False)
class _Piece:
    """The path between two fractions of it, its scores ``(tokens,)`` and its completeness error."""

    start: float
    stop: float
    scores: Tensor
    error: float
    steep: bool


def integrate(
    path: Path,
    precise: Callable[[], Path | None],
    difference: float,
    tolerance: float,
    limit: int,
    bytes_each: int,
    budget: int,
) -> Iterator[PathIntegral]:
    """Integrate along ``path``; yield after every round of cutting.

    ``difference`` is the function's between the two ends. Ends when the error is at most ``tolerance`` of it, or no
    further cut makes sense or fits into ``limit`` gradients. ``precise`` gives the path in higher precision, if
    there is one, and is called where it is needed. A gradient takes about ``bytes_each`` bytes and about ``budget``
    are held at once; where less is free batches shrink. Raises `OutOfMemory` where a single piece does not fit.
    """
    first = max(1, min(FIRST_PIECES, limit // STEPS))
    spans = [(i / first, (i + 1) / first) for i in range(first)]
    pieces: list[_Piece] = []
    evaluations = 0

    def work(batch: list[tuple[float, float]]) -> None:
        steep = precise() if _is_narrow(batch[0]) else None
        pieces.extend(_integrate_pieces(steep or path, batch, steep=steep is not None))

    while spans:
        for group in ([s for s in spans if not _is_narrow(s)], [s for s in spans if _is_narrow(s)]):
            for _ in in_batches(group, max(1, budget // (STEPS * bytes_each)), work, STEPS * bytes_each):
                pass
        evaluations += STEPS * len(spans)
        yield _sum(pieces, difference, evaluations)
        cut = _to_cut(pieces, tolerance * abs(difference), (limit - evaluations) // (2 * STEPS))
        pieces = [piece for piece in pieces if piece not in cut]
        spans = [half for piece in cut for half in _halves(piece)]


def _is_narrow(span: tuple[float, float]) -> bool:
    return span[1] - span[0] < STEEP


def _integrate_pieces(path: Path, spans: list[tuple[float, float]], *, steep: bool) -> list[_Piece]:
    """Each piece is an example of its own to captum: from its start to its stop."""
    from captum.attr import IntegratedGradients

    starts, stops = path.inputs.new_tensor(spans).T[:, :, None, None]  # each (pieces, 1, 1)
    scores, errors = IntegratedGradients(path.function).attribute(
        torch.lerp(path.baseline, path.inputs, stops),
        baselines=torch.lerp(path.baseline, path.inputs, starts),
        n_steps=STEPS,
        return_convergence_delta=True,
    )
    rows = zip(spans, scores.sum(dim=-1).cpu().double(), errors.tolist(), strict=True)
    return [_Piece(start, stop, score, error, steep) for (start, stop), score, error in rows]


def _sum(pieces: list[_Piece], difference: float, evaluations: int) -> PathIntegral:
    scores = torch.stack([piece.scores for piece in pieces]).sum(dim=0)
    error = sum(abs(piece.error) for piece in pieces)
    # Where precisions meet, two pieces round the function at their common end differently.
    error = max(error, abs(float(scores.sum()) - difference))
    return PathIntegral(scores, error, evaluations, len(pieces), steep=sum(piece.steep for piece in pieces))


def _to_cut(pieces: list[_Piece], enough: float, most: int) -> list[_Piece]:
    """The fewest pieces whose errors make up the excess over ``enough``: were they perfect, it would be gone."""
    divisible = [piece for piece in pieces if piece.stop - piece.start > NARROWEST]
    excess = sum(abs(piece.error) for piece in divisible) - enough
    cut: list[_Piece] = []
    for piece in sorted(divisible, key=lambda piece: -abs(piece.error)):
        if excess <= 0 or len(cut) == most:
            break
        cut.append(piece)
        excess -= abs(piece.error)
    return cut


def _halves(piece: _Piece) -> tuple[tuple[float, float], tuple[float, float]]:
    middle = (piece.start + piece.stop) / 2
    return (piece.start, middle), (middle, piece.stop)
