"""Fitting scikit-learn's classifiers on states."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def fitted(classifier: Any, states: NDArray[Any], classes: ArrayLike) -> Any:
    """The classifier after a `StandardScaler`, both fitted on states ``(rows, d_model)`` and their classes ``(rows,)``.

    On one thread: the products are so small that more would wait for each other, for half of the processors' time.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what stopped early is a weaker probe, not an error
        return make_pipeline(StandardScaler(), classifier).fit(states, classes)
