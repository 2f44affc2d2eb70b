"""Our `tools/test.py` against MMDetection's, and the cost of importing `pcka_mmdet`: `research/costs/testing.py`.

Both test the demo's student with random weights on digit scenes. MMDetection's tool gets the student's config and
checkpoint, ours the distillation's. Seconds and peak memory are those of the whole process.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

import pcka_mmdet.models  # noqa: F401  (registers MMDetection's models too)
from pcka_mmdet.checkpoints.student import student_checkpoint
from pcka_mmdet.cli.errors import run_tool
from pcka_mmdet.configuration.detector import build_detector
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.demo import build_digit_scenes
from pcka_mmdet.report.theme import console_table

from .measure import save

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = "import torch, mmengine, mmcv"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time, memory and start-up of tools/test.py against MMDetection's.")
    parser.add_argument(
        "--scenes", type=int, nargs=2, default=[4, 250], metavar=("FEW", "MANY"), help="numbers of scenes to test on"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/benchmarks/testing.json"))
    return parser.parse_args()


def commands(folder: Path, scenes: int) -> dict[str, list[str]]:
    """Command of each tool on `scenes` scenes."""
    import mmdet

    data = build_digit_scenes(folder / f"scenes{scenes}", dict(train=1, val=1, test=scenes))
    model = build_detector(load_config(str(ROOT / "configs/demo/student.py")).model)
    whole = {f"architecture.{key}": value for key, value in model.state_dict().items()}
    torch.save(dict(state_dict=whole, meta={}), folder / "distilled.pth")
    torch.save(student_checkpoint(dict(state_dict=whole, meta={})), folder / "student.pth")
    settings = [f"data_root={data}/", f"test_dataloader.dataset.data_root={data}/"]
    settings += [f"test_evaluator.ann_file={data}/annotations/test.json", "test_dataloader.num_workers=0"]
    settings = ["--work-dir", str(folder / "work"), "--cfg-options", *settings]
    theirs = Path(mmdet.__file__).parent / ".mim" / "tools" / "test.py"
    return {
        "mmdet": [str(theirs), "configs/demo/student.py", str(folder / "student.pth"), *settings],
        "ours": ["tools/test.py", "configs/demo/distilled.py", str(folder / "distilled.pth"), *settings],
    }


def measured(words: list[str]) -> tuple[float, int]:
    """Seconds and peak bytes of a Python process."""
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        # not getrusage, whose peak starts at the peak of the parent process
        status = Path("/proc", str(process.pid), "status")
        while process.poll() is None:
            time.sleep(0.01)
            lines = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            peak = max([peak, *(1024 * int(number) for _, number, _ in lines)])
        seconds = time.perf_counter() - start
        if process.returncode:
            errors.seek(0)
            raise ChildProcessError(f"{' '.join(words)} failed:\n{errors.read().decode()[-2000:]}")
    return seconds, peak


def main() -> None:
    args, console = parse_args(), Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        cases = {"imports": ["-c", IMPORTS], "imports, with pcka_mmdet": ["-c", f"{IMPORTS}, pcka_mmdet"]}
        for scenes in args.scenes:
            both = commands(Path(name) / str(scenes), scenes)
            cases |= {f"{tool}, {scenes} scenes": words for tool, words in both.items()}
        runs = {case: [] for case in cases}
        for turn in range(args.rounds + 1):
            for case, words in cases.items():
                result = measured(words)
                if turn:
                    runs[case].append(result)
    medians = {
        case: [statistics.median(column) for column in zip(*values, strict=True)] for case, values in runs.items()
    }
    rows = []
    pairs = list(medians)
    for base, case in zip(pairs[::2], pairs[1::2], strict=True):
        (seconds, memory), (our_seconds, our_memory) = medians[base], medians[case]
        rows.append([base, f"{seconds:.2f}", "", f"{memory / 2**20:.0f}", ""])
        more = f"{our_seconds - seconds:+.2f} s, x {our_seconds / seconds:.3f}"
        rows.append([case, f"{our_seconds:.2f}", more, f"{our_memory / 2**20:.0f}", f"x {our_memory / memory:.3f}"])
    console.print(console_table(["process", "seconds", "more", "MiB", "more"], rows))
    save(args, medians=medians)


if __name__ == "__main__":
    run_tool(main)
