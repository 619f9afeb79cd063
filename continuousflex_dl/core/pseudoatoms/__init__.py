"""Maps as sums of Gaussians of one width: which voxels count, how the Gaussians are placed, how well they fit."""
