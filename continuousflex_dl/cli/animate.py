"""``cflex animate``: a multi-model structure along a mode or along an axis of a conformational space."""

from __future__ import annotations

from pathlib import Path

from ..core.dynamics.animation import along_mode, read_linear_space
from ..core.errors import InputError
from ..core.io.modes import MODES_NAME, read_modes, read_reference
from ..core.structure.writer import write_structure
from ..options.animate import AnimateOptions
from .run import Run

_SPACE_NAME = "space.npz"


def run(options: AnimateOptions, run: Run) -> None:
    """Write DIR/mode_<m>.cif for a modes file, DIR/axis_<k>.cif for a directory of `cflex space`."""
    source = Path(options.input)
    if not source.exists():
        raise InputError(f"{source}: no such file or directory; expected modes (.npz, .nmd, .xmd) or a space directory")
    is_space = source.is_dir() and ((source / _SPACE_NAME).exists() or not (source / MODES_NAME).exists())
    modes_path = source / MODES_NAME if source.is_dir() else source
    with run.stage("read"):
        space = read_linear_space(source / _SPACE_NAME) if is_space else None
        modes = read_modes(modes_path)
        structure = read_reference(modes_path, modes)
        run.add_input(modes_path)
    with run.stage("write"):
        if space is None:
            name = f"mode_{options.mode}"
            frames = along_mode(modes, options.mode, options.amplitude, options.n_frames)
        else:
            run.add_input(source / _SPACE_NAME)
            name = f"axis_{options.axis}"
            amplitudes = space.along_axis(options.axis, options.n_frames)
            frames = modes.select([int(number) for number in space.modes]).displace(amplitudes)
        output = run.path(name + (".pdb" if options.pdb else ".cif"))
        write_structure(output, structure, frames)
    step = float(((frames[-1] - frames[0]) ** 2).sum(axis=1).mean() ** 0.5)
    print(f"{output}: {len(frames)} structures, RMSD {step:.2f} Å from the first to the last")
    run.result(file=output.name, n_frames=len(frames), rmsd_ends_angst=round(step, 4))
