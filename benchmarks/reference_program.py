"""The reference program ``xmipp_nma_alignment`` on the same images, where it is installed; and a denser reference."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = "xmipp_nma_alignment"
# CPU seconds an image with wavelets, measured on exactly these images on one core of a machine like that of the table
CPU_S = {"clean64": 16.1, "noisy64": 15.8}


def available() -> bool:
    """Whether the program is on the PATH."""
    return shutil.which(PROGRAM) is not None


def measure(case: Any, folder: Path, errors_of: Callable[[Any, Path, Path], dict[str, Any]]) -> dict[str, Any]:
    """Align the images of a case with the reference program, called as the existing plugin calls it."""
    from continuousflex_dl.core.io.modes import read_modes
    from continuousflex_dl.core.io.particles import read_particles

    work = folder / f"{case.name}-xmipp"
    work.mkdir()
    modes = read_modes(case.modes)
    lines = [
        "# XMIPP_STAR_1 *",
        "data_noname",
        "loop_",
        " _enabled",
        " _nmaModefile",
        " _order_",
        " _nmaCollectivity",
        " _nmaScore",
    ]
    for row, (number, vector) in enumerate(zip(modes.indices, modes.vectors, strict=True)):
        np.savetxt(work / f"vec.{number}", vector, fmt="%.10e")
        lines.append(f" 1 {work / f'vec.{number}'} {number} 1.0 {row}.0")
    (work / "modes.xmd").write_text("\n".join(lines) + "\n")
    table = read_particles(case.particles, pixel_size=case.pixel_size)
    names = [
        f" {name.split('@')[0]}@{case.particles.parent / name.split('@')[1]} 1" for name in map(str, table.image_name)
    ]
    (work / "images.xmd").write_text(
        "\n".join(["# XMIPP_STAR_1 *", "data_noname", "loop_", " _image", " _enabled", *names]) + "\n"
    )
    structure = next(case.modes.parent.glob("*.pdb"), None) or case.modes.parent / "reference.pdb"
    command = [PROGRAM, "-i", "images.xmd", "--pdb", str(structure), "--modes", "modes.xmd"]
    command += ["--sampling_rate", str(case.pixel_size), "--discrAngStep", "10", "--odir", ".", "--centerPDB"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*command, "--trustradius_scale", "1", "-o", "out.xmd"], cwd=work, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s_per_image": round(seconds / len(table), 2), **errors_of(case, work / "out.xmd", work / "errors")}


def dense_case(case: Any, folder: Path, nodes: int) -> Any:
    """The same images with a reference of many more nodes: every atom as a cluster of them, same motion."""
    source = dict(np.load(case.modes))
    atoms = len(source["coordinates"])
    copies = -(-nodes // atoms)
    generator = np.random.default_rng(0)
    index = np.repeat(np.arange(atoms), copies)[:nodes]
    size = np.bincount(index, minlength=atoms)[index]
    source["coordinates"] = source["coordinates"][index] + generator.normal(0, 0.6, size=(len(index), 3))
    vectors = source["vectors"][:, index] / np.sqrt(size)[None, :, None]
    source["vectors"] = vectors / np.linalg.norm(vectors.reshape(len(vectors), -1), axis=1)[:, None, None]
    source["weights"] = source["weights"][index] / size
    path = folder / f"{nodes}-nodes.npz"
    np.savez(path, **source)
    return replace(case, name=f"{case.name}-{nodes}", modes=path, truth=case.truth)
