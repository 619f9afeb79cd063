"""Options of ``cflex simulate``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .base import CommonOptions, ModeList, option
from .shared import STRUCTURE


class SimulateOptions(CommonOptions):
    """Particle images with known conformations, poses, CTF and noise."""

    modes: str = option(help="Normal modes: modes.npz, .nmd, or a ContinuousFlex modes.xmd.", positional=True, metavar="MODES.npz", label="Normal modes")
    structure: str | None = STRUCTURE
    n_particles: int = option(help="Number of particle images.", ge=1, label="Number of particles")
    box: int = option(128, help="Box size at which the images are projected.", ge=16, le=4096, unit="px", label="Box size")
    pixel_size: float = option(1.0, help="Pixel size at which the images are projected.", gt=0, unit="Å", label="Pixel size")
    use: ModeList = option("7,8,9", help="Mode numbers whose amplitudes vary, for example 7,8,9 or 7-9.", label="Modes", validate_default=True)
    law: Literal["helix", "line", "circle", "clusters", "grid", "uniform"] = option(
        "helix", help="How the amplitudes are distributed (A: the amplitude, r uniform in [0, 1]): helix -A r, A sin(pi r), A cos(pi r) on three modes; "
        "line, all modes A (2r - 1); circle of radius A on two modes; three clusters; grid; uniform in [-A, A].", label="Conformational law",
    )
    amplitude: float = option(200.0, help="Amplitude A of the law, in units of the unit-norm modes (RMSD = A / sqrt(number of atoms)).", ge=0, unit="Å", label="Amplitude")
    snr: float = option(0.1, help="Variance of the noise-free, CTF-multiplied image over the whole box / variance of the noise; half of the noise enters before the CTF.", gt=0, label="Signal-to-noise ratio")
    noiseless: bool = option(False, help="No noise.", label="No noise")
    voltage: float = option(200.0, help="Acceleration voltage.", unit="kV", gt=0, label="Voltage")
    cs: float = option(2.0, help="Spherical aberration.", unit="mm", ge=0, label="Spherical aberration")
    amplitude_contrast: float = option(0.1, help="Amplitude contrast.", ge=0, le=1, label="Amplitude contrast")
    defocus: float = option(5000.0, help="Defocus, positive for underfocus.", unit="Å", label="Defocus")
    ctf_table: str | None = option(None, help="Draw the CTF of each particle from the rows of this file (STAR, or npz with a cryoDRGN table) instead.", metavar="FILE", label="CTF table")
    no_ctf: bool = option(False, help="No CTF.", label="No CTF")
    shift_px: float = option(5.0, help="In-plane shifts are uniform in a square of plus and minus this.", ge=0, unit="px", label="Largest shift")
    phase_flip: bool = option(False, help="Flip the phases of the images after simulation.", label="Phase flip")
    downsample: int | None = option(None, help="Fourier-crop the images to this box size at the end.", ge=16, unit="px", label="Final box size")
    ensemble: str | None = option(None, help="Take conformations from a multi-model structure or a DCD/XTC trajectory instead of from the modes.", metavar="FILE", label="Ensemble file")
    topology: str | None = option(None, help="Topology of the trajectory (PSF, PDB, ...).", metavar="FILE", label="Topology")
    sigma: float | None = option(None, help="Gaussian width of an atom in the simulated images; default: that of the modes file.", unit="Å", gt=0, advanced=True, label="Atom width")

    @model_validator(mode="after")
    def _check(self) -> SimulateOptions:
        if self.ensemble is None and self.law == "helix" and len(self.use) != 3:
            raise ValueError(f"--law helix needs exactly three modes in --use (found {len(self.use)}); take line, clusters, grid or uniform for other numbers")
        if self.ensemble is None and self.law == "circle" and len(self.use) != 2:
            raise ValueError(f"--law circle needs exactly two modes in --use (found {len(self.use)})")
        if self.no_ctf and (self.ctf_table or self.phase_flip):
            raise ValueError("--no-ctf contradicts --ctf-table and --phase-flip; leave one of them out")
        if self.downsample is not None and self.downsample > self.box:
            raise ValueError(f"--downsample {self.downsample} is larger than --box {self.box}; give a box of at most {self.box}")
        return self
