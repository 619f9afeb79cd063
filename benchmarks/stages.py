"""Where the time of ``cflex hemnma`` goes, and how far it is from what the matrix products alone would take.

Images are simulated from the example structure, calibrated on, and aligned block by block in this process on one core:
once for the time, once more to note every matrix product, whose shapes and number formats are then multiplied again
alone. Start-up, templates and calibration are left out; every image is searched. Writes ``benchmarks/stages.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from hemnma import simulated_case
from report import computer
from torch.utils._python_dispatch import TorchDispatchMode

from continuousflex_dl.core.devices import keep_freed_memory, one_core_each
from continuousflex_dl.core.hemnma import align
from continuousflex_dl.core.hemnma.align import Aligner, Settings
from continuousflex_dl.core.hemnma.pipeline import PROBES, Hemnma
from continuousflex_dl.core.io.modes import read_modes
from continuousflex_dl.core.io.particles import read_particles
from continuousflex_dl.core.particles.stack import ImageStack
from continuousflex_dl.core.precision import product_dtype

HERE = Path(__file__).resolve().parent
CASES = ((64, 2.2, 0.1), (64, 2.2, 0.03), (128, 1.1, 0.1))  # box, pixel size in Å, SNR
BLOCK = 16  # as --batch-size
_PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.baddbmm)


class Stages:
    """CPU time, hypotheses and matrix products of each stage; what a stage calls is counted there, not here."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = defaultdict(float)
        self.hypotheses: Counter[str] = Counter()
        self.products: dict[str, Counter[tuple[Any, ...]]] = defaultdict(Counter)
        self._open = ["everything else"]
        self._since = time.process_time()

    @property
    def now(self) -> str:
        """The stage that is going on."""
        return self._open[-1]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Whatever happens inside belongs to it."""
        self._turn(lambda: self._open.append(name))
        try:
            yield
        finally:
            self._turn(lambda: self._open.pop())

    def close(self) -> None:
        """Count what went on since the last stage."""
        self._turn(lambda: None)

    def _turn(self, change: Callable[[], object]) -> None:
        now = time.process_time()
        self.cpu_s[self.now] += now - self._since
        change()
        self._since = now


class NoteProducts(TorchDispatchMode):
    """Notes shapes and formats of the matrix products of every stage."""

    def __init__(self, stages: Stages) -> None:
        super().__init__()
        self.stages = stages

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in _PRODUCTS:
            left, right = args[-2:]
            self.stages.products[self.stages.now][(tuple(left.shape), tuple(right.shape), left.dtype)] += 1
        return func(*args, **(kwargs or {}))


def watched(stages: Stages) -> ExitStack:
    """While open, the parts of the alignment report to `stages`."""

    def wrap(function: Any, name: Callable[..., str], count: Callable[..., int] | None = None) -> Any:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            what = name(*arguments)
            stages.hypotheses[what] += 0 if count is None else count(*arguments)
            with stages.stage(what):
                return function(*arguments, **named)

        return wrapped

    def refinement(aligner: Aligner, refiner: Any, *_: Any) -> str:
        stage = next(s for s in aligner.stages if s.reference is refiner.reference and s.radius == radius(refiner))
        fine = "atoms" if stage.reference is aligner.reference else f"{len(stage.reference.coordinates)} blobs"
        return f"{fine}, {aligner.box * aligner.pixel_size / stage.radius:.1f} Å"

    def radius(refiner: Any) -> int:
        return int(refiner.observation.disc.radius)

    opened = ExitStack()
    for owner, name, replacement in (
        (Hemnma, "observe", wrap(Hemnma.observe, lambda *_: "images")),
        (align, "search", wrap(align.search, lambda *_: "search")),
        (Aligner, "_in_chunks", wrap(Aligner._in_chunks, refinement, lambda _, __, h, ___: len(h))),
        (Aligner, "_finish", wrap(Aligner._finish, lambda *_: "atoms, exact, and errors", lambda *a: len(a[2].best))),
        (
            align,
            "sample_posterior",
            wrap(align.sample_posterior, lambda *_: "samples of faint particles", lambda _, answer, *__: len(answer)),
        ),
    ):
        opened.enter_context(patch.object(owner, name, replacement))
    return opened


def seconds_alone(products: Counter[tuple[Any, ...]]) -> float:
    """CPU seconds that these matrix products take, one shape after the other."""
    total = 0.0
    for (left, right, dtype), count in products.items():
        a, b = torch.randn(left).to(dtype), torch.randn(right).to(dtype)
        tries = min(count, 20)
        torch.matmul(a, b)
        began = time.process_time()
        for _ in range(tries):
            torch.matmul(a, b)
        total += (time.process_time() - began) / tries * count
    return total


def gflop(products: Counter[tuple[Any, ...]], dtype: torch.dtype) -> float:
    """Billions of operations, multiplications and additions counted each."""
    return sum(
        2e-9 * count * float(np.prod(left)) * right[-1] for (left, right, of), count in products.items() if of == dtype
    )


def measure(folder: Path, box: int, pixel: float, snr: float, count: int) -> dict[str, Any]:
    """Stages of one simulated set: figures per image."""
    case = simulated_case(folder, box, pixel, count, snr, name=f"stages{box}-{snr:g}")
    table = read_particles(case.particles, pixel_size=pixel)
    modes = read_modes(case.modes)
    used = modes.select([7, 8, 9])
    others = [int(number) for number in modes.indices if number not in used.indices]
    settings = Settings(max_shift_px=box / 8, dtype=product_dtype(torch.device("cpu")))
    hemnma = Hemnma(table, ImageStack(table), used, settings, probes=modes.select(others[-PROBES:]))
    hemnma.use(replace(hemnma.calibrate(), aligned={}))  # nothing is known of any image
    blocks = np.arange(count).reshape(-1, BLOCK)
    hemnma.align(blocks[0])  # the templates
    timed, noted = Stages(), Stages()
    with watched(timed):
        for block in blocks:
            hemnma.align(block)
    timed.close()
    with watched(noted), NoteProducts(noted):
        for block in blocks:
            hemnma.align(block)
    rows = {}
    for name, seconds in timed.cpu_s.items():
        products = noted.products[name]
        rows[name] = {
            "hypotheses": round(timed.hypotheses[name] / count, 2) or "-",
            "gflop_float32": round(gflop(products, torch.float32) / count, 2),
            "gflop_bfloat16": round(gflop(products, torch.bfloat16) / count, 2),
            "products_alone_ms": round(1e3 * seconds_alone(products) / count, 1),
            "cpu_ms": round(1e3 * seconds / count, 1),
        }
    columns = ("gflop_float32", "gflop_bfloat16", "products_alone_ms", "cpu_ms")
    rows["together"] = {
        "hypotheses": "-",
        **{name: round(sum(row[name] for row in rows.values()), 2) for name in columns},
    }
    return {"images": count, **rows}


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96, help="Of each set, a multiple of 16.")
    options = parser.parse_args()
    if options.images < BLOCK or options.images % BLOCK:
        parser.error(f"--images {options.images}: not a multiple of {BLOCK}")
    keep_freed_memory()
    report: dict[str, Any] = {"computer": computer()}
    with tempfile.TemporaryDirectory(prefix="cflex-bench-") as temporary, one_core_each():
        for box, pixel, snr in CASES:
            name = f"{box} px, {pixel:g} Å, SNR {snr:g}"
            report[name] = measure(Path(temporary), box, pixel, snr, options.images)
            print(f"{name}: {json.dumps(report[name], indent=1, ensure_ascii=False)}", flush=True)
    (HERE / "stages.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
