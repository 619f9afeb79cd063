"""Installation. Needs nothing but setuptools: the version is read as text, the package is not imported."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "continuousflex_dl" / "_version.py").read_text(), re.M).group(1)

setup(
    name="scipion-em-continuousflex-dl",
    version=VERSION,
    description="Continuous conformational heterogeneity from cryo-EM particle images, for Scipion and the shell",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    license="GPL-3.0-or-later",
    python_requires=">=3.10",
    packages=find_packages(include=["continuousflex_dl", "continuousflex_dl.*"]),
    package_data={"continuousflex_dl": ["protocols.conf", "logo.png", "templates/*.json.template", "app/static/*"]},
    install_requires=[
        "numpy>=1.24",  # arrays; Scipion pins 1.26
        "scipy>=1.10",  # neighbour search, linear algebra of elastic networks
        "threadpoolctl>=3.1",  # one thread in linear algebra where the bits of a result must not depend on their number
        "torch>=2.4,<3",  # projection, derivatives, networks, GPUs
        "gemmi>=0.6.5",  # PDB and mmCIF
        "mrcfile>=1.4",  # MRC maps and stacks, memory-mapped
        "starfile>=0.5",  # RELION STAR
        "roma>=1.5",  # rotation representations and SO(3) distances
        "torch-ctf>=0.3",  # contrast transfer function
        "scikit-learn>=1.3",  # dimension reduction
        "Pillow>=9.1",  # GIF movies
        "matplotlib>=3.7",  # pictures of the report, classical viewers
        "h5py>=3.9",  # conformations per particle
        "pydantic>=2.5",  # options: declared once, validated
        "tqdm>=4.60",  # progress bars
        "safetensors>=0.4",  # weights of networks: no pickle, nothing in the file can run
        "tensorboardX>=2.6",  # loss curves for TensorBoard, without TensorBoard itself
    ],
    extras_require={
        "scipion": ["scipion-pyworkflow>=3.11.7,<3.12", "scipion-em>=3.11.1,<3.12"],
        "trajectories": ["MDAnalysis>=2.6"],  # DCD, XTC, PSF
        "movies": ["av>=12"],  # MP4: FFmpeg's libraries in a wheel, no other program; GIF needs nothing more
        "umap": ["umap-learn>=0.5.5"],  # a conformational space by UMAP
        "viewer": [
            "flask>=3",  # server of `cflex view`
            "plotly>=6",  # its charts (WebGL): the wheel ships plotly.min.js; the package itself is not imported
            "dash-molstar>=1.4",  # its molecules: the wheel ships Mol* in one file; the package itself is not imported
        ],
        # the last two are independent oracles of the tests: projections, normal modes
        "dev": [
            "pytest",
            "hypothesis",
            "ruff",
            "mypy",
            "pre-commit",
            "torch-fourier-slice",
            "ProDy>=2.4",
            "av",
            "playwright",
        ],
    },
    entry_points={
        "console_scripts": ["cflex = continuousflex_dl.cli.main:main"],
        "pyworkflow.plugin": ["continuousflex_dl = continuousflex_dl"],
    },
    classifiers=[
        "License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
    ],
)
