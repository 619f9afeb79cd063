"""Model of an image and its derivatives by pose and amplitudes, for many hypotheses at once.

The sum over atoms is a matrix product of harmonics of x and of y (`core.imaging.gaussian`). The model takes one such
product, its derivatives 4 + 2 M more, so these decide the cost. They need not be as fine as the model: derivatives only
say which way to go, and where the model is right the minimum is. They are taken from a coarser reference (blobs of
atoms), and where the processor is faster at it, in bfloat16; so are the models of samples, which are only weighed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..imaging.gaussian import form_factor, harmonic_table, interpolated_harmonics, nearest_harmonics
from ..imaging.quadrants import Quadrants
from .observation import Observation
from .reference import Reference


class Forward:
    """Whitened model images of one reference on one block of images, in quadrants.

    Parameters
    ----------
    reference
        Atoms or blobs, of the model.
    observation
        Images: their transfer function and noise.
    slopes
        Reference that the derivatives are taken from; None for the same.
    dtype
        Of the matrix products of the derivatives and of `rough_model`, float32 or bfloat16.
    """

    def __init__(
        self,
        reference: Reference,
        observation: Observation,
        slopes: Reference | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.reference, self.slopes, self.dtype = reference, slopes or reference, dtype
        disc = observation.disc
        self.pixel_size = observation.pixel_size
        self.quadrants = Quadrants(disc.box, disc.radius)
        form = form_factor(disc, reference.sigma, observation.pixel_size)
        self.transfer = self.quadrants.spread(observation.transfer * form, disc)  # (B, 2, K', K')
        coarse = form_factor(disc, self.slopes.sigma, observation.pixel_size)
        self.slope_transfer = (
            self.transfer if self.slopes is reference else self.quadrants.spread(observation.transfer * coarse, disc)
        )
        data = [self.quadrants.spread(part, disc) for part in (observation.data.real, observation.data.imag)]
        self.data = torch.stack(data, 1).flatten(1)  # (B, 4 K' K')
        self.shell = self.quadrants.spread(disc.shell, disc).flatten().repeat(2)  # (4 K' K')

    @property
    def bytes_per_rough_model(self) -> int:
        """Working memory of `rough_model` for one hypothesis: harmonics, one of them weighted, and sums."""
        columns = 2 * (self.quadrants.radius + 1)
        return 3 * self.dtype.itemsize * self.reference.n_atoms * columns + 4 * 4 * columns**2

    @property
    def bytes_per_hypothesis(self) -> int:
        """Working memory of one hypothesis: weighted harmonics, sums, derivatives."""
        columns, modes = 2 * (self.quadrants.radius + 1), self.reference.n_modes
        wide = self.dtype.itemsize
        weighted = self.slopes.n_atoms * columns * (wide * (4 + 2 * modes) + 24) + self.reference.n_atoms * columns * 16
        return weighted + columns**2 * (4 * (6 + modes) + 4 * (4 + 2 * modes))

    def model(self, index: Tensor, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor) -> Tensor:
        """Models (h, 4 K' K') at scale 1: real parts, then imaginary ones, of the two quadrants.

        Parameters
        ----------
        index
            (h,) image of each hypothesis, whose transfer function it passes through.
        rotation, shift_px, amplitudes
            (h, 3, 3), (h, 2), (h, M).
        """
        out = torch.empty(len(index), 2, *self.transfer.shape[1:], device=rotation.device)
        self._write_model(out, index, rotation, shift_px, amplitudes)
        return out.flatten(1)

    def rough_model(self, index: Tensor, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor) -> Tensor:
        """As `model`, in a third of the time, to about half a percent: not smooth enough to take derivatives of."""
        x, y, _ = self._positions(self.reference, rotation, amplitudes).unbind(-1)
        x_waves, y_waves = self._rough_harmonics(x, y, shift_px)
        y_waves *= self.reference.weights.to(self.dtype)[:, None]
        out = torch.empty(len(index), 2, *self.transfer.shape[1:], device=rotation.device)
        self._write_sums(out, (y_waves.transpose(-1, -2) @ x_waves).float(), index)
        return out.flatten(1)

    def correlation(self, index: Tensor, model: Tensor) -> Tensor:
        """Normalised correlation (h,) of models and images, shell by shell, averaged by the amplitude of the model.

        Over all frequencies at once, what is smooth and strong (ice, contamination) would correlate well with anything;
        a particle has to be there at every resolution.

        Parameters
        ----------
        index
            (h,) image of each model.
        model
            (h, 4 K' K') as from `model`.
        """
        data = self.data[index]
        count = int(self.shell.max()) + 1

        def by_shell(values: Tensor) -> Tensor:
            return torch.zeros(len(values), count, device=values.device).index_add_(1, self.shell, values)

        power = by_shell(model**2)
        ring = by_shell(model * data) / torch.sqrt(power * by_shell(data**2)).clamp(min=1e-30)
        weight = torch.sqrt(power)
        return (ring * weight).sum(-1) / weight.sum(-1).clamp(min=1e-30)

    def model_and_slopes(self, index: Tensor, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor) -> Tensor:
        """Derivatives by rotation vector (rad), shift (px), amplitudes (Å); last the model: (h, 6 + M, 4 K' K')."""
        modes = self.reference.n_modes
        out = torch.empty(len(index), 6 + modes, 2, *self.transfer.shape[1:], device=rotation.device)
        self._write_model(out[:, -1], index, rotation, shift_px, amplitudes)
        self._write_shift_slopes(out)
        self._write_slopes(out, index, rotation, shift_px, amplitudes)
        return out.flatten(2)

    def _positions(self, reference: Reference, rotation: Tensor, amplitudes: Tensor) -> Tensor:
        return reference.deformed(amplitudes) @ rotation.transpose(-1, -2) / self.pixel_size  # (h, N, 3) px

    def _harmonics(self, x: Tensor, y: Tensor, shift_px: Tensor) -> tuple[Tensor, Tensor]:
        """Of x and of y (h, N) px: (h, N, 2 K')."""
        radius, box = self.quadrants.radius, self.quadrants.box
        table = harmonic_table(radius, box, torch.float32, x.device)
        x_waves = interpolated_harmonics(x + shift_px[:, 0, None], table, box)
        return x_waves, interpolated_harmonics(y + shift_px[:, 1, None], table, box)

    def _rough_harmonics(self, x: Tensor, y: Tensor, shift_px: Tensor) -> tuple[Tensor, Tensor]:
        """As `_harmonics`, in the format of the products."""
        radius, box = self.quadrants.radius, self.quadrants.box
        table = harmonic_table(radius, box, self.dtype, x.device)
        x_waves = nearest_harmonics(x + shift_px[:, 0, None], table, box)
        return x_waves, nearest_harmonics(y + shift_px[:, 1, None], table, box)

    def _write_model(self, out: Tensor, index: Tensor, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor) -> None:
        x, y, _ = self._positions(self.reference, rotation, amplitudes).unbind(-1)
        x_waves, y_waves = self._harmonics(x, y, shift_px)
        y_waves *= self.reference.weights[:, None]
        self._write_sums(out, y_waves.transpose(-1, -2) @ x_waves, index)

    def _write_sums(self, out: Tensor, sums: Tensor, index: Tensor) -> None:
        cc, cs, sc, ss = self.quadrants.parts(sums)
        self.quadrants.fold(cc, -ss, out[:, 0])
        self.quadrants.fold(-cs, -sc, out[:, 1])
        out *= self.transfer[index, None]

    def _write_shift_slopes(self, out: Tensor) -> None:
        # moving the particle by d multiplies by exp(-i k d): the derivative of (re, im) is k (im, -re)
        kx, ky = self.quadrants.waves(out)
        signed = torch.stack([ky, -ky]).expand(2, -1, len(kx))
        for parameter, wave in ((3, kx), (4, signed)):
            torch.mul(out[:, -1, 1], wave, out=out[:, parameter, 0])
            torch.mul(out[:, -1, 0], -wave, out=out[:, parameter, 1])

    def _write_slopes(self, out: Tensor, index: Tensor, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor) -> None:
        reference, dtype = self.slopes, self.dtype
        x, y, z = self._positions(reference, rotation, amplitudes).unbind(-1)
        motion = torch.einsum("hac,mnc->ahmn", rotation[:, :2], reference.vectors) / self.pixel_size  # (2, h, M, N)
        # displacement of every atom along x and along y: about y and z and by mode; about x and z and by mode
        along_x = torch.cat([torch.stack([z, -y], 1), motion[0]], 1) * reference.weights
        along_y = torch.cat([torch.stack([-z, x], 1), motion[1]], 1) * reference.weights
        waves = self._harmonics if dtype == torch.float32 else self._rough_harmonics
        columns, rows = waves(x, y, shift_px)
        rows = rows.transpose(-1, -2).contiguous()[:, None]  # weighting is bound by memory, and faster so
        kx, ky = self.quadrants.waves(x)
        dx = self._sums(along_x.to(dtype), rows, columns)
        dy = self._sums(along_y.to(dtype), rows, columns)
        dx_cc, dx_cs, dx_sc, dx_ss = (part * kx for part in self.quadrants.parts(dx))
        dy_cc, dy_cs, dy_sc, dy_ss = (part * ky for part in self.quadrants.parts(dy))
        real, imaginary = out[:, :, 0], out[:, :, 1]
        fold = self.quadrants.fold
        # the derivative of (re, im) is k (im, -re); rotation about x moves along y only, about y along x only
        fold(-dy_sc[:, 0], -dy_cs[:, 0], real[:, 0])
        fold(dy_ss[:, 0], -dy_cc[:, 0], imaginary[:, 0])
        fold(-dx_cs[:, 0], -dx_sc[:, 0], real[:, 1])
        fold(-dx_cc[:, 0], dx_ss[:, 0], imaginary[:, 1])
        for rows_of, parameters in ((slice(1, 2), slice(2, 3)), (slice(2, None), slice(5, -1))):  # about z; modes
            fold(-dx_cs[:, rows_of] - dy_sc[:, rows_of], -dx_sc[:, rows_of] - dy_cs[:, rows_of], real[:, parameters])
            fold(dy_ss[:, rows_of] - dx_cc[:, rows_of], dx_ss[:, rows_of] - dy_cc[:, rows_of], imaginary[:, parameters])
        transfer = self.slope_transfer[index, None]
        out[:, :3] *= transfer[:, None]
        out[:, 5:-1] *= transfer[:, None]

    def _sums(self, displacement: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Sums over atoms (h, Q, 2 K', 2 K') of displacement (h, Q, N) times both harmonics."""
        left = (displacement[:, :, None] * rows).flatten(1, 2)
        return (left @ columns).float().unflatten(1, (displacement.shape[1], -1))
