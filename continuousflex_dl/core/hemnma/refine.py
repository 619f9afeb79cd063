"""Joint refinement of pose, shift, scale and mode amplitudes by Levenberg-Marquardt with exact derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..imaging.rotations import turn
from .forward import Forward
from .observation import Observation
from .prior import AmplitudePrior
from .reference import Reference
from .secant import Secant

_ROTATION, _SHIFT = slice(0, 3), slice(3, 5)  # then the amplitudes; the scale is the last parameter
_FIRST_AMPLITUDE = 5
_STRONG = 0.1  # damping from which on a step is much shorter than that of Newton
_ROUNDING = 2.5e-7  # of a sum of squares in float32, relative


@dataclass(frozen=True)
class Hypotheses:
    """h possible explanations of images.

    Attributes
    ----------
    image
        (h,) index of the image in its block.
    rotation
        (h, 3, 3), x_image = R x_reference.
    shift_px
        (h, 2) x, y by which the particle is off the centre, in px (minus the RELION origin).
    amplitudes
        (h, M).
    scale
        (h,) factor from model to image.
    cost
        (h,) half the sum of squared whitened residuals plus the prior; comparable among hypotheses of one image.
    damping
        (h,) state of the optimiser.
    change
        (h,) predicted gain of the last step, in units of log-likelihood; small at convergence.
    evidence
        (h,) logarithm of the probability of the image under this hypothesis and those about it (Laplace), up to a
        constant of the image.
    """

    image: Tensor
    rotation: Tensor
    shift_px: Tensor
    amplitudes: Tensor
    scale: Tensor
    cost: Tensor
    damping: Tensor
    change: Tensor
    evidence: Tensor

    @classmethod
    def start(cls, image: Tensor, rotation: Tensor, shift_px: Tensor, amplitudes: Tensor) -> Hypotheses:
        """Hypotheses before any refinement."""
        zero = torch.zeros(len(image), device=rotation.device)
        infinite = zero + math.inf
        return cls(image, rotation, shift_px, amplitudes, zero + 1, infinite, zero + 1e-2, infinite, -infinite)

    def __len__(self) -> int:
        return len(self.image)

    def moved(self, move: Tensor) -> Hypotheses:
        """After moves (h, 5 + M) by rotation vector (rad, in the frame of the image), shift (px) and amplitudes."""
        move = move.to(self.rotation)
        return replace(
            self,
            rotation=turn(self.rotation, move[:, _ROTATION]),
            shift_px=self.shift_px + move[:, _SHIFT],
            amplitudes=self.amplitudes + move[:, _FIRST_AMPLITUDE:],
        )

    def take(self, index: Tensor) -> Hypotheses:
        """Some of them."""
        return Hypotheses(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @classmethod
    def join(cls, parts: list[Hypotheses]) -> Hypotheses:
        """Several sets as one."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class Linearisation:
    """Model and derivatives at some hypotheses: cost (h,), scale (h,), gradient (h, P), curvature (h, P, P)."""

    cost: Tensor
    scale: Tensor
    gradient: Tensor
    curvature: Tensor

    def take(self, index: Tensor) -> Linearisation:
        """Those at `index`."""
        return Linearisation(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


class Refiner:
    """Refines hypotheses of one reference on one block of images.

    Parameters
    ----------
    reference
        Atoms or blobs.
    observation
        Images at the resolution wanted.
    prior
        Distribution of the amplitudes.
    slopes
        Coarser reference that the derivatives are taken from, for the way down only; None for exact ones.
    dtype
        Of the matrix products of the derivatives.
    """

    def __init__(
        self,
        reference: Reference,
        observation: Observation,
        prior: AmplitudePrior,
        slopes: Reference | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.reference = reference
        self.observation = observation
        self.prior_mean = torch.as_tensor(prior.mean).to(reference.coordinates)
        self.prior_precision = prior.precision(reference.coordinates)
        self.forward = Forward(reference, observation, slopes, dtype)
        self.power = (observation.data.real**2 + observation.data.imag**2).sum(-1)
        # amplitudes are refined in units of 1 Å RMSD and angles and shifts in units of similar effect, so that one
        # damping suits all parameters
        modes = reference.n_modes
        radius = max(reference.radius, 1.0)
        self._units = torch.cat(
            [
                torch.full((3,), 1.0 / radius),
                torch.full((2,), 1.0 / observation.pixel_size),
                torch.full((modes,), reference.amplitude_unit),
                torch.ones(1),
            ]
        ).to(reference.coordinates)

    @property
    def bytes_per_hypothesis(self) -> int:
        """Working memory of one hypothesis."""
        return self.forward.bytes_per_hypothesis

    @property
    def bytes_per_sample(self) -> int:
        """Working memory of `log_posterior` for one hypothesis."""
        return self.forward.bytes_per_rough_model

    def linearise(self, h: Hypotheses) -> Linearisation:
        """Cost, gradient and Gauss-Newton curvature, all in scaled units (see `_units`)."""
        return self._linearised(h, *self._scaled(h))

    def _linearised(self, h: Hypotheses, full: Tensor, scale: Tensor) -> Linearisation:
        model, data = full[:, -1], self.forward.data[h.image]
        residual = torch.addcmul(data, model, -scale[:, None])
        pull = (h.amplitudes - self.prior_mean) @ self.prior_precision
        cost = 0.5 * (residual**2).sum(-1) + self._prior_cost(h)
        gradient = -(full @ residual[..., None]).squeeze(-1) * (scale[:, None] * self._units)
        gradient[:, _FIRST_AMPLITUDE:-1] += pull * self._units[_FIRST_AMPLITUDE:-1]
        curvature = self._curvature(full, scale)
        return Linearisation(cost, scale, gradient, curvature)

    def _scaled(self, h: Hypotheses) -> tuple[Tensor, Tensor]:
        """Slopes and, last, the model (h, 6 + M, 4 K' K'), and the best scale (h,) of the model."""
        full = self.forward.model_and_slopes(h.image, h.rotation, h.shift_px, h.amplitudes)
        norm, overlap = self._overlap(full[:, -1], h.image)
        return full, (overlap / norm).clamp(min=1e-6 * torch.sqrt(self.power[h.image] / norm))

    def _overlap(self, model: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (h,) of squares of models (h, 4 K' K'), and of their products with the images."""
        return (model**2).sum(-1).clamp(min=1e-30), (model * self.forward.data[image]).sum(-1)

    def _curvature(self, full: Tensor, scale: Tensor) -> Tensor:
        units = scale[:, None] * self._units  # the scale enters as its logarithm
        curvature = full @ full.transpose(-1, -2) * units[:, :, None] * units[:, None, :]
        unit = self._units[_FIRST_AMPLITUDE:-1]
        curvature[:, _FIRST_AMPLITUDE:-1, _FIRST_AMPLITUDE:-1] += self.prior_precision * unit[:, None] * unit
        return curvature

    def _prior_cost(self, h: Hypotheses) -> Tensor:
        offset = h.amplitudes - self.prior_mean
        return 0.5 * ((offset @ self.prior_precision) * offset).sum(-1)

    def log_posterior(self, h: Hypotheses, variance: Tensor) -> Tensor:
        """Logarithm of the posterior (h,) at the best scale of each, up to a constant of the image, from rough models.

        It is right to 0.03 for a particle at SNR 0.03, which is enough to weigh samples of faint particles.

        Parameters
        ----------
        h
            Hypotheses.
        variance
            (h,) of the whitened noise of their images.
        """
        model = self.forward.rough_model(h.image, h.rotation, h.shift_px, h.amplitudes)
        norm, overlap = self._overlap(model, h.image)
        return 0.5 * overlap.clamp(min=0) ** 2 / norm / variance.to(norm) - self._prior_cost(h)

    def gain(self, h: Hypotheses, variance: Tensor) -> Tensor:
        """Logarithm (h,) of how much more probable the image is with the particle than with noise alone.

        Parameters
        ----------
        h
            Refined hypotheses.
        variance
            (h,) of the whitened noise of their images.
        """
        return (0.5 * self.power[h.image] - (h.cost - self._prior_cost(h))) / variance

    def step(
        self, h: Hypotheses, here: Linearisation, secant: Secant | None = None
    ) -> tuple[Hypotheses, Tensor, Tensor]:
        """Proposed hypotheses, the predicted decrease of the cost (h,), and the step (h, P) in scaled units.

        Parameters
        ----------
        h, here
            Hypotheses, and what is known there.
        secant
            Of the step before.
        """
        curvature = here.curvature.double()
        if secant is not None:
            curvature = secant.corrected(curvature)
        diagonal = torch.diagonal(curvature, dim1=-2, dim2=-1)
        # the damping acts on the curvature's own diagonal, with a floor for directions that the image does not show
        floor = diagonal.amax(-1, keepdim=True) * 1e-9 + 1e-12
        damped = curvature + torch.diag_embed(h.damping.double()[:, None] * diagonal + floor)
        delta = -torch.linalg.solve(damped, here.gradient.double())
        limit = torch.ones_like(delta)
        limit[:, _ROTATION] = 0.3 / self._units[0]
        limit[:, _SHIFT] = 3.0 / self._units[3]
        limit[:, _FIRST_AMPLITUDE:-1] = 3.0  # Å RMSD
        delta = delta * (limit / delta.abs().clamp(min=1e-12)).amin(-1, keepdim=True).clamp(max=1.0)
        predicted = (
            -(here.gradient.double() * delta).sum(-1) - 0.5 * (delta[:, None] @ curvature @ delta[..., None]).flatten()
        )
        return h.moved(delta[:, :-1] * self._units[:-1]), predicted.to(h.cost), delta

    def refine(self, h: Hypotheses, iterations: int, tolerance: float = 1e-2) -> Hypotheses:
        """Run at most so many iterations; hypotheses whose predicted gain is below `tolerance` (log-likelihood) rest.

        Memory is the caller's business: see `bytes_per_hypothesis`.
        """
        return self.refine_to(h, iterations, tolerance)[0]

    def refine_to(self, h: Hypotheses, iterations: int, tolerance: float = 1e-2) -> tuple[Hypotheses, Linearisation]:
        """As `refine`; also what is known of the places where it ends."""
        here = self.linearise(h)
        h = replace(
            h,
            cost=here.cost,
            scale=here.scale,
            damping=torch.full_like(h.cost, 1e-2),
            change=torch.full_like(h.cost, math.inf),
        )
        active = torch.arange(len(h), device=h.cost.device)
        enough = self._visible(tolerance)
        secant: Secant | None = None
        for _ in range(iterations):
            now, at = h.take(active), here.take(active)
            proposed, predicted, delta = self.step(now, at, secant)
            # with strong damping a step promises little because it is short, not because there is little to gain
            idle = (predicted < enough[now.image]) & (now.damping < _STRONG)
            if bool(idle.any()):
                h = replace(h, change=h.change.index_copy(0, active[idle], predicted[idle]))
                going = torch.nonzero(~idle).flatten()
                active, now, at = active[going], now.take(going), at.take(going)
                proposed, predicted, delta = proposed.take(going), predicted[going], delta[going]
            if not len(active):
                break
            there = self.linearise(proposed)
            accepted = there.cost < now.cost
            gained = torch.where(accepted, now.cost - there.cost, predicted)
            # a step that gained less than predicted was too long already; with less damping the next one would fail
            kept = (gained / predicted.clamp(min=1e-30)).clamp(0.0, 1.0)
            eased = (1.0 - (2.0 * kept - 1.0) ** 3).clamp(min=0.2)
            damping = torch.where(accepted, now.damping * eased, now.damping * 8).clamp(1e-6, 1e6)
            proposed = replace(proposed, cost=there.cost, scale=there.scale)
            chosen = Hypotheses(
                *(_where(accepted, getattr(proposed, name), getattr(now, name)) for name in h.__dataclass_fields__)
            )
            chosen = replace(chosen, damping=damping, change=torch.maximum(gained, predicted).clamp(min=0))
            h = Hypotheses(
                *(getattr(h, name).index_copy(0, active, getattr(chosen, name)) for name in h.__dataclass_fields__)
            )
            here = Linearisation(
                *(
                    getattr(here, name).index_copy(0, active, _where(accepted, getattr(there, name), getattr(at, name)))
                    for name in here.__dataclass_fields__
                )
            )
            delta[:, -1] = torch.log(there.scale / at.scale)  # the best scale went along
            going = torch.nonzero(chosen.change > enough[chosen.image]).flatten()
            secant = Secant(delta, there.gradient.double() - at.gradient.double()).take(going)
            active = active[going]
        # the volume of a Gaussian goes as the determinant of its curvature to the power of -1/2
        volume = 0.5 * torch.linalg.slogdet(_lifted(here.curvature)).logabsdet.to(h.cost)
        return replace(h, evidence=-h.cost - volume), here

    def settled(self, h: Hypotheses, tolerance: float) -> Tensor:
        """Whether the last step promised a gain in log-likelihood below the tolerance, (h,)."""
        return h.change < self._visible(tolerance)[h.image]

    def _visible(self, tolerance: float) -> Tensor:
        # of images without noise a sum of squares is so large that float32 does not show small gains
        return (_ROUNDING * self.power).clamp(min=tolerance)

    def covariance(self, h: Hypotheses, here: Linearisation | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Covariance of the parameters from the Fisher information, and how well the model explains the image.

        Parameters
        ----------
        h
            Hypotheses.
        here
            What `refine_to` said of them; otherwise it is computed.

        Returns
        -------
        (h, 5 + M, 5 + M) covariance of rotation vector (rad), shift (px) and amplitudes (Å), the scale integrated out;
        (h,) normalised correlation between model and image, the mean over resolution shells, 1 = perfect;
        (h,) estimated variance of the whitened noise, 1 where the noise model fits.
        """
        if here is None:
            full, scale = self._scaled(h)
            model, here = full[:, -1], self._linearised(h, full, scale)
        else:
            model = self.forward.model(h.image, h.rotation, h.shift_px, h.amplitudes)
        variance = self._variance(h, here)
        inverse = torch.linalg.inv(_lifted(here.curvature))
        units = self._units[:-1].double()
        covariance = inverse[:, :-1, :-1] * units[:, None] * units * variance.double()[:, None, None]
        return covariance, self.forward.correlation(h.image, model), variance

    def pull(self, h: Hypotheses, count: int) -> Tensor:
        """How far the last amplitudes would go in one step of Gauss-Newton, in units of their errors.

        A score test: where the hypotheses are the best answers without these amplitudes, and the model is right, the
        result is independent standard normal numbers. One step does not follow the noise along a flat likelihood.

        Returns
        -------
        (h, count) of the last `count` amplitudes, decorrelated.
        """
        here = self.linearise(h)
        covariance = torch.linalg.inv(_lifted(here.curvature))
        last = slice(-1 - count, -1)  # the scale is the last parameter
        move = -(covariance[:, last] @ here.gradient.double()[..., None])
        variance = self._variance(h, here).double().clamp(min=1e-30)
        error = torch.linalg.cholesky(_lifted(covariance[:, last, last]) * variance[:, None, None])
        return torch.linalg.solve_triangular(error, move, upper=False).squeeze(-1)

    def _variance(self, h: Hypotheses, here: Linearisation) -> Tensor:
        """Estimated variance (h,) of the whitened noise, 1 where the noise model fits."""
        freedom = 2 * len(self.observation.disc) - here.gradient.shape[-1]
        return 2 * (here.cost - self._prior_cost(h)) / max(freedom, 1) * self.observation.inflation**2

    def leverage(self, h: Hypotheses) -> tuple[Tensor, Tensor]:
        """How much of the noise of each resolution shell the parameters, the scale among them, follow.

        At the best fit the model has moved along with the noise by J F^-1 J^T of it, with slopes J and curvature F. The
        trace of that, shell by shell; all shells together give the number of parameters that the image determines.

        Returns
        -------
        (h, shells) leverage, and (h,) scale.
        """
        full, scale = self._scaled(h)
        slopes = full.double() * (scale[:, None] * self._units)[..., None].double()
        root = torch.linalg.cholesky(_lifted(self._curvature(full, scale)))
        whitened = torch.linalg.solve_triangular(root, slopes, upper=False)
        count = int(self.observation.disc.shell.max()) + 1
        shells = torch.zeros(len(h), count, dtype=torch.float64, device=full.device)
        return shells.index_add_(1, self.forward.shell, (whitened**2).sum(1)), scale


def _lifted(curvature: Tensor) -> Tensor:
    """Curvature in double precision that can be inverted also where the image does not show a direction."""
    curvature = curvature.double()
    floor = torch.diagonal(curvature, dim1=-2, dim2=-1).amax(-1, keepdim=True) * 1e-12 + 1e-30
    return curvature + torch.diag_embed(floor.expand(-1, curvature.shape[-1]))


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(condition.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)
