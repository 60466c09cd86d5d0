"""Export a finished run's best model as an ONNX bundle, proved against the model it comes from.

    python tools/export_onnx.py RUN_DIR [--out DIR] [--opset N]

The same as a run does at its end; for another operator set, another place, or a run that was configured not to export.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from automm.errors import AutommError


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status (2 for an error the user can mend)."""
    parser = argparse.ArgumentParser(description="Export a finished run's best model as an ONNX bundle.")
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="the run.dir of a finished run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the bundle's folder (default: RUN_DIR/bundle)")
    parser.add_argument("--opset", type=int, metavar="N", help="ONNX operator set (default: the run's export.opset)")
    asked = parser.parse_args(argv)
    try:
        from automm.export.run import export_run  # torch comes with it; --help does without

        manifest = export_run(asked.run_dir, out=asked.out, opset=asked.opset)
    except AutommError as error:
        print(f"export_onnx: {error}", file=sys.stderr)
        return 2
    (variant,) = manifest["graphs"][0]["variants"]
    apart = max(proof["max_abs"] for proof in variant["parity"].values())
    latency = variant["latency"]
    one = latency["batches"][0]["total_ms"]["median"]
    where = asked.out or asked.run_dir / "bundle"
    print(f"{where}: parity {apart:.2g}, {one:.2f} ms a row on {latency['threads']} threads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
