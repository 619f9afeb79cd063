"""Peak memory of ``cflex hemnma`` for more and more particles, and of the table and block files alone for a million.

Every figure is the highest resident memory of a process of its own. The images are 500 simulated ones of 32 px over and
over; the stack is written image by image. The setting is a fast one, but all of it is the code that every run goes
through: adenylate kinase as C-alpha atoms, one mode, a 60 degree step, one hypothesis, nothing measured beforehand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STRUCTURE = ROOT / "examples" / "adk_4ake_A.pdb"
BOX, PIXEL, DIFFERENT = 32, 4.4, 500
FAST = [
    "--use",
    "7",
    "--angular-step",
    "60",
    "--hypotheses",
    "1",
    "--search-rmsd",
    "0",
    "--no-calibrate",
    "--batch-size",
    "64",
]
# what a RELION 3.1 particle file carries beside the columns that are read
CARRIED = {
    "rlnMicrographName": lambda i: f"MotionCorr/job002/Movies/FoilHole_{i // 300:08d}_Data_20230101_fractions.mrc",
    "rlnCoordinateX": lambda i: f"{(i * 7919) % 4096:.6f}",
    "rlnCoordinateY": lambda i: f"{(i * 104729) % 4096:.6f}",
    "rlnClassNumber": lambda i: "1",
    "rlnRandomSubset": lambda i: f"{i % 2 + 1}",
    "rlnLogLikeliContribution": lambda i: f"{(i * 611953) % 999983 / 7:.6f}",
    "rlnMaxValueProbDistribution": lambda i: f"{(i * 15485863) % 999983 / 1e6:.6f}",
}


def cflex(*arguments: str | Path) -> None:
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "continuousflex_dl", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}\n{ended.stderr}")


def simulated(folder: Path) -> tuple[Path, Path]:
    """Modes and a small particle set."""
    network = ["--representation", "ca-p", "--block-size", "0", "--cutoff", "15", "--n-modes", "8"]
    cflex("nma", STRUCTURE, "-o", folder / "modes", *network)
    size = ["--n-particles", str(DIFFERENT), "--box", str(BOX), "--pixel-size", str(PIXEL)]
    law = ["--use", "7", "--law", "line", "--amplitude", "100"]
    cflex("simulate", folder / "modes" / "modes.npz", "-o", folder / "few", *size, *law)
    return folder / "modes" / "modes.npz", folder / "few" / "particles.star"


def enlarge(few: Path, folder: Path, count: int, *, images: bool = True) -> Path:
    """A particle set of `count` images out of a small one, written without holding it."""
    from continuousflex_dl.core.io.mrc import read_header, write_stack
    from continuousflex_dl.core.io.open_files import OpenFile

    folder.mkdir()
    stack = few.with_suffix(".mrcs")
    if images:
        block = read_header(stack).read(range(DIFFERENT), OpenFile(stack))
        with write_stack(folder / "particles.mrcs", count, BOX, PIXEL) as writer:
            for first in range(0, count, DIFFERENT):
                writer.append(block[: count - first])
    lines = few.read_text(encoding="utf-8").split("\n")
    rows = [line.split(" ", 1)[1] for line in lines if "@" in line]
    head = "\n".join(line for line in lines if "@" not in line).rstrip("\n")
    known = sum(line.startswith("_") for line in head.split("data_particles")[1].split("\n"))
    head += "".join(f"\n_{label} #{known + 1 + i}" for i, label in enumerate(CARRIED))
    with open(folder / "particles.star", "w", encoding="utf-8") as star:
        star.write(head + "\n")
        for i in range(count):
            carried = " ".join(value(i) for value in CARRIED.values())
            star.write(f"{i + 1:07d}@particles.mrcs {rows[i % DIFFERENT]} {carried}\n")
    return folder / "particles.star"


def hemnma(particles: Path, modes: Path, output: Path, threads: int) -> dict[str, Any]:
    """Figures of one run."""
    cflex("hemnma", particles, "--modes", modes, *FAST, "--threads", str(threads), "--device", "cpu", "-o", output)
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    stages = {stage["stage"]: stage["wall_s"] for stage in record["stages"]}
    return {
        "particles": record["results"]["particles"],
        "peak_memory_mb": record["peak_memory_mb"],
        "cpu_s": record["cpu_s"],
        "read_s": stages["read"],
        "write_s": stages["write"],
    }


TABLE = """
import re, sys, time
import numpy as np
from pathlib import Path
from continuousflex_dl.core.io.blocks import BlockStore
from continuousflex_dl.core.io.particles import read_particles, write_star, write_star_parts

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

begin, start = peak(), time.perf_counter()
table = read_particles(sys.argv[1], check_images=False)
read, read_s = peak(), time.perf_counter() - start
n, start = len(table), time.perf_counter()
if sys.argv[2] == "table":
    ones = np.ones(n)
    write_star(sys.argv[3], table.with_results(score=np.linspace(0, 1, n), converged=ones, angle_std_deg=ones))
else:
    blocks = BlockStore(Path(sys.argv[4]), n, 16, {})
    row = np.ones((16, 3))
    for block in range(len(blocks)):
        first, last = blocks.range(block)
        blocks.save(block, {"euler_deg": row, "shift_angst": row[:, :2], "amplitudes": row, "covariance": np.ones((16, 3, 3))})
    blocks = BlockStore(Path(sys.argv[4]), n, 16, {})
    parts = (
        table.rows(first, last)
        .with_poses(found["euler_deg"][: last - first], found["shift_angst"][: last - first])
        .with_amplitudes({7 + i: found["amplitudes"][: last - first, i] for i in range(3)})
        for first, last, found in blocks.portions(1 << 13)
    )
    write_star_parts(sys.argv[3], parts)
print(begin, read, peak(), read_s, time.perf_counter() - start)
"""


def table_alone(star: Path, what: str, folder: Path) -> dict[str, Any]:
    """Figures of reading a particle file, giving it results, and writing it again."""
    command = [sys.executable, "-c", TABLE, str(star), what, str(folder / f"{what}.star"), str(folder / "blocks")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    values = [round(float(value), 1) for value in printed]
    return dict(zip(("begin_mb", "after_reading_mb", "peak_memory_mb", "read_s", "write_s"), values, strict=True))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000", help="Numbers of particles to align.")
    parser.add_argument("--table", type=int, default=1_000_000, help="Rows of the table alone; 0 for none.")
    parser.add_argument("--threads", type=int, default=1, help="Threads of cflex.")
    parser.add_argument("--json", type=Path, help="Write the figures there as well.")
    options = parser.parse_args()
    figures: dict[str, Any] = {"hemnma": [], "table": {}}
    with tempfile.TemporaryDirectory(prefix="cflex-memory-") as temporary:
        folder = Path(temporary)
        modes, few = simulated(folder)
        for size in map(int, options.sizes.split(",")):
            star = enlarge(few, folder / f"set{size}", size)
            found = hemnma(star, modes, folder / f"out{size}", options.threads)
            figures["hemnma"].append(found)
            print(
                f"hemnma, {size:>9,} particles: peak {found['peak_memory_mb']:7.1f} MB, {found['cpu_s']:.0f} CPU-s "
                f"(reading {found['read_s']:.1f} s, writing {found['write_s']:.1f} s)",
                flush=True,
            )
        if options.table:
            star = enlarge(few, folder / "table", options.table, images=False)
            megabytes = star.stat().st_size / 1e6
            for what, name in (
                ("table", "table read, given results, written"),
                ("blocks", "the same from blocks of 16"),
            ):
                figures["table"][what] = found = {"rows": options.table, **table_alone(star, what, folder)}
                print(
                    f"{name}, {options.table:,} rows ({megabytes:.0f} MB): peak {found['peak_memory_mb']:.1f} MB "
                    f"({found['begin_mb']:.0f} MB at the begin, {found['after_reading_mb']:.0f} after reading in "
                    f"{found['read_s']:.1f} s, {found['write_s']:.1f} s for the rest)",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
