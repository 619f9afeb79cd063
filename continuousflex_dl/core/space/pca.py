"""Principal component analysis with a fixed sign and no more components than the data have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, NonFiniteError

# an axis along which the data spread less than 1/10,000 of their total spread is rounding, not motion
_NEGLIGIBLE_VARIANCE = 1e-8
_EXACT_WIDTH = 1024  # wider data are reduced through a random subspace
_PASSES, _OVERSAMPLING = 5, 10

Floats = NDArray[np.float64]
Blocks = Callable[[], Iterable[Floats]]


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
        """Find the axes of values (n, M); raises like `fit_blocks`."""
        data = np.asarray(values, dtype=np.float64)
        if not np.isfinite(data).all():
            row = int(np.argwhere(~np.isfinite(data))[0, 0])
            raise NonFiniteError(
                f"conformations: row {row + 1} is not finite; remove this particle or estimate it again"
            )
        return self.fit_blocks(lambda: [data])

    def fit_blocks(self, blocks: Blocks) -> PrincipalAxes:
        """Find the axes of data that are passed several times, block by block.

        Up to 1,024 columns the covariance is diagonalised; wider data by subspace iteration on it from a fixed random
        start (Halko, Martinsson & Tropp, SIAM Review 53, 217, 2011), which never holds more than a few vectors.

        Parameters
        ----------
        blocks
            Gives the rows (k, M) of finite values, the same ones at every call.

        Raises
        ------
        InputError
            If there are fewer than 2 rows, or all rows are equal.
        """
        count, total, equal, first = 0, np.zeros(0), True, np.zeros(0)
        for block in blocks():
            if not count:
                total, first = np.zeros(block.shape[1]), block[0].copy()
            total += block.sum(axis=0)
            equal = equal and bool((block == first).all())
            count += len(block)
        if count < 2:
            raise InputError(f"conformations: found {count} usable particles, expected at least 2")
        if equal:
            raise InputError(
                f"conformations: all {count} particles have the same one, so there is no space to show; "
                "check that the amplitudes were estimated"
            )
        self.mean_: Floats = total / count
        width = len(total)
        wanted = min(self.n_components, width, count)
        variances, vectors, whole = (_exact if width <= _EXACT_WIDTH else _iterated)(blocks, self.mean_, count, wanted)
        kept = variances > _NEGLIGIBLE_VARIANCE * whole
        components = vectors[kept]
        largest = np.abs(components).argmax(axis=1)
        sign = np.sign(components[np.arange(len(components)), largest])
        self.components_: Floats = components * sign[:, None]
        self.explained_variance_: Floats = variances[kept]
        self.explained_variance_ratio_: Floats = variances[kept] / whole
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


def _exact(blocks: Blocks, mean: Floats, count: int, wanted: int) -> tuple[Floats, Floats, float]:
    covariance = np.zeros((len(mean), len(mean)))
    for block in blocks():
        centred = block - mean
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance / (count - 1))
    values = np.clip(values[::-1], 0, None)
    return values[:wanted], vectors[:, ::-1].T[:wanted], float(values.sum())


def _iterated(blocks: Blocks, mean: Floats, count: int, wanted: int) -> tuple[Floats, Floats, float]:
    size = min(len(mean), count, wanted + _OVERSAMPLING)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(len(mean), size)))[0]
    whole, values, vectors = 0.0, np.zeros(0), basis.T
    for _ in range(_PASSES):
        product, whole = np.zeros_like(basis), 0.0
        for block in blocks():
            centred = block - mean
            product += centred.T @ (centred @ basis)
            whole += float((centred**2).sum())
        product /= count - 1
        whole /= count - 1
        # Rayleigh-Ritz within the subspace, then one more multiplication as the next start
        values, turn = np.linalg.eigh(basis.T @ product)
        vectors = (basis @ turn)[:, ::-1].T
        basis = np.linalg.qr(product @ turn[:, ::-1])[0]
    return np.clip(values[::-1], 0, None)[:wanted], vectors[:wanted], whole
