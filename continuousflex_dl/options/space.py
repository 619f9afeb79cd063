"""Options of ``cflex space``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, option
from .shared import STRUCTURE_BESIDE


class SpaceOptions(CommonOptions):
    """Conformational space of one or several particle sets: reduction, free energy, clusters, and an HTML report."""

    input: str = option(help="Particle file, or the result directory of another command.", positional=True, metavar="PARTICLES.star|RESULT_DIR", label="Input particles")
    also: tuple[str, ...] = option((), help="Another particle file or result directory, reduced together with the first; may be repeated.", metavar="PARTICLES.star|RESULT_DIR", label="Other particles")
    on: Literal["amplitudes", "coordinates", "latent"] = option("amplitudes", help="What is reduced: the mode amplitudes, or the coordinates or latents in conformations.h5 beside the particles.", label="Reduce")
    conformations: str | None = option(None, help="File with the coordinates or latents of the particles (HDF5, .npy or .npz), where it is not conformations.h5 beside them. Of the first set only.", metavar="FILE", label="Conformations", advanced=True)
    method: Literal["pca", "umap", "diffusion"] = option("pca", help="Principal components, UMAP (needs the package umap-learn), or a diffusion map.", label="Method")
    n_components: int = option(2, help="Dimensions to keep; fewer where the data have fewer.", ge=1, le=50, label="Dimensions")
    neighbours: int = option(30, help="Size of a neighbourhood, for UMAP and the diffusion map.", unit="particles", ge=2, le=1000, label="Neighbours", advanced=True)
    outlier_distance: float | None = option(None, help="Particles farther than this from all others (Mahalanobis distance) get a place, but no say in the axes; 3.2 is usual. Default: all have a say.", unit="standard deviations", gt=0, label="Outlier distance")
    clusters: Literal["none", "kmeans", "gmm", "hdbscan"] = option("none", help="Group the particles: k-means, mixture of Gaussians, or regions of high density (HDBSCAN).", label="Clusters")
    n_clusters: int | None = option(None, help="Number of groups, for k-means and the mixture; default: the one that fits best.", unit="groups", ge=1, le=1000, label="Number of clusters")
    bootstrap: int = option(100, help="Resamplings of the particles for the errors of the free energy; 0: no errors.", unit="samples", ge=0, le=10000, label="Bootstrap samples", advanced=True)
    modes: str | None = option(None, help="Normal modes of the amplitudes, for structures along the axes (found by itself in a result directory).", metavar="MODES.npz", label="Normal modes")
    structure: str | None = STRUCTURE_BESIDE
    truth: str | None = option(None, help="truth.star of a simulation: the report then shows the errors.", metavar="TRUTH.star", label="Truth")
    n_frames: int = option(10, help="Structures along the first axis.", ge=2, le=1000, label="Frames", advanced=True)
    keep_unconverged: bool = option(False, help="Let particles whose alignment did not converge take part in the fit of the axes.", label="Keep unconverged", advanced=True)

    @model_validator(mode="after")
    def _check(self) -> SpaceOptions:
        if self.n_clusters is not None and self.clusters in ("none", "hdbscan"):
            raise ValueError(f"--n-clusters has no meaning with --clusters {self.clusters}; take kmeans or gmm, or leave it out")
        if self.truth and self.also:
            raise ValueError("--truth is for one particle set; leave --also out")
        return self
