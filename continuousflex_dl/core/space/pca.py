"""Principal component analysis with a fixed sign and no more components than the data have."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, NonFiniteError

# an axis along which the data spread less than 1/10,000 of their total spread is rounding, not motion
_NEGLIGIBLE_VARIANCE = 1e-8

Floats = NDArray[np.float64]


class PrincipalAxes:
    """Orthogonal axes of largest variance.

    Parameters
    ----------
    n_components
        Axes to keep, at most; fewer where the data have fewer.

    Attributes
    ----------
    mean_
        (M,) centre of the data.
    components_
        (d, M) unit vectors, largest variance first. The entry of largest magnitude of each is positive, so the same
        data give the same axes on every machine.
    explained_variance_
        (d,) variance along each axis.
    explained_variance_ratio_
        (d,) the same as a fraction of the total variance.
    n_components_
        d.
    """

    def __init__(self, n_components: int = 2) -> None:
        self.n_components = n_components

    def fit(self, values: ArrayLike) -> PrincipalAxes:
        """Find the axes of values (n, M).

        Raises
        ------
        InputError
            If there are fewer than 2 rows, or all rows are equal.
        NonFiniteError
            If a value is NaN or infinite.
        """
        from sklearn.decomposition import PCA

        data = np.asarray(values, dtype=np.float64)
        if not np.isfinite(data).all():
            row = int(np.argwhere(~np.isfinite(data))[0, 0])
            raise NonFiniteError(
                f"conformations: row {row + 1} is not finite; remove this particle or estimate it again"
            )
        if len(data) < 2:
            raise InputError(f"conformations: found {len(data)} usable particles, expected at least 2")
        if (np.ptp(data, axis=0) == 0).all():
            raise InputError(
                f"conformations: all {len(data)} particles have the same one, so there is no space to show; "
                "check that the amplitudes were estimated"
            )
        found = PCA(n_components=min(self.n_components, *data.shape), svd_solver="full").fit(data)
        kept = found.explained_variance_ratio_ > _NEGLIGIBLE_VARIANCE
        components = found.components_[kept]
        largest = np.abs(components).argmax(axis=1)
        sign = np.sign(components[np.arange(len(components)), largest])
        self.mean_: Floats = found.mean_
        self.components_: Floats = components * sign[:, None]
        self.explained_variance_: Floats = found.explained_variance_[kept]
        self.explained_variance_ratio_: Floats = found.explained_variance_ratio_[kept]
        self.n_components_ = len(components)
        return self

    def transform(self, values: ArrayLike) -> Floats:
        """Coordinates (n, d) of values (n, M) along the axes."""
        return (np.asarray(values, dtype=np.float64) - self.mean_) @ self.components_.T

    def inverse_transform(self, coordinates: ArrayLike) -> Floats:
        """Values (n, M) at coordinates (n, d)."""
        return np.asarray(coordinates, dtype=np.float64) @ self.components_ + self.mean_

    def fit_transform(self, values: ArrayLike) -> Floats:
        """Fit, and give the coordinates (n, d) of the same values."""
        return self.fit(values).transform(values)
