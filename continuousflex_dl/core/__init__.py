"""The science. Knows nothing of Scipion, of the command line or of plotting. This module stays torch-free."""
