"""Scipion objects to plain files and back. Knows pwem and the file formats; never torch."""

from .alignment import matrix_from_pose, pose_from_matrix
from .conformations import latent_of, read_latents, read_scores, write_latents
from .images import ConversionError
from .modes import ModesInput, describe_numbers, mode_numbers, prepare_modes, read_modes, write_modes_folder
from .particles import (
    amplitudes_of,
    mode_numbers_of,
    new_particles,
    padded,
    particle_updates,
    set_amplitudes,
    set_properties,
    write_particles,
)
from .results import Space, read_modes_file, read_space
from .spaces import read_groups, space_folder_of, write_space_folder
from .volumes import new_volume, prepare_volume, volume_path

__all__ = [
    "ConversionError",
    "ModesInput",
    "Space",
    "amplitudes_of",
    "describe_numbers",
    "latent_of",
    "matrix_from_pose",
    "mode_numbers",
    "mode_numbers_of",
    "new_particles",
    "new_volume",
    "padded",
    "particle_updates",
    "pose_from_matrix",
    "prepare_modes",
    "prepare_volume",
    "read_groups",
    "read_latents",
    "read_modes",
    "read_modes_file",
    "read_scores",
    "read_space",
    "set_amplitudes",
    "set_properties",
    "space_folder_of",
    "volume_path",
    "write_latents",
    "write_modes_folder",
    "write_particles",
    "write_space_folder",
]
