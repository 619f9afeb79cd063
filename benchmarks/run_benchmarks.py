"""``make bench``: every benchmark in turn, then docs/benchmarks.md from what they wrote.

Each part is a program of its own beside this one, and writes its figures as JSON beside itself. Parts that train
networks take an hour or more and are left out unless they are named; their last figures stay on the page.

    python benchmarks/run_benchmarks.py                      all parts that take minutes
    python benchmarks/run_benchmarks.py hemnma fitting       these
    python benchmarks/run_benchmarks.py page                 only the page, from the figures that are there
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from report import page

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
SHARED = HERE.parent.parent / "shared" / "data"
# name -> arguments, and whether the part needs the real data beside the checkout
PARTS: dict[str, tuple[list[str], bool]] = {
    "hemnma": ([], False),
    "stages": ([], False),
    "normal_modes": ([], True),
    "fitting": ([], True),
    "ribosome": ([], True),
    "reconstruction": (["--images", "1000"], False),
    "memory": (["--sizes", "1000,10000,100000", "--json", str(HERE / "memory.json")], False),
}


def main() -> int:
    """Run the parts, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}, or page; default: all.")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in (*PARTS, "page")]:
        parser.error(f"no part {unknown[0]}; there are {', '.join(PARTS)}, page")
    failed = []
    for name, (arguments, needs_data) in PARTS.items():
        if options.parts and name not in options.parts:
            continue
        if needs_data and not SHARED.is_dir():
            print(f"== {name}: left out, it needs the real data in ../shared/data", flush=True)
            continue
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments], check=False).returncode:
            failed.append(name)
    PAGE.write_text(page(HERE), encoding="utf-8")
    print(f"written: {PAGE.relative_to(HERE.parent)}")
    if failed:
        print(f"failed, or missed a target: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
