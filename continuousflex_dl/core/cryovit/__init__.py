"""Cryo-ViT: one structure per particle image, learned by comparing its projection with the image.

A latent of a few numbers per particle is decoded to displacements of the nodes of a reference (one per residue); the
atoms follow their nodes, are projected through the CTF and compared with the image. Latents, poses and decoder are
learned together. Labels are used by the supervised variant only.
"""
