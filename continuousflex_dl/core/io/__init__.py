"""Files in and out. Torch-free: the Scipion conversion imports from here."""
