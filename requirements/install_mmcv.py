"""Install mmcv with its compiled operators, from the cache or by building it.

    python requirements/install_mmcv.py mmcv==2.1.0

mmcv has no prebuilt wheel for today's torch, and a wheel that was linked against another torch crashes. So the wheel is
built once for each mmcv, torch and Python, and kept in ``~/.cache/pcka_mmdet`` (``$XDG_CACHE_HOME``) under their
names, where the next clone finds it. ``FORCE_CUDA=1`` builds the CUDA operators, and needs the CUDA toolkit of torch's
own CUDA version. Without it the GPU is hidden from the build.

Each of mmcv's 80 C++ files takes 16 seconds, 14 of them for torch's headers. Without debug symbols it takes 8 seconds,
and 2 with GCC, which precompiles the headers once for all files.
"""

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

CUDA = os.environ.get("FORCE_CUDA") == "1"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def main(requirement: str) -> None:
    """Install the wheel of ``requirement`` (``name==version``), building it first if the cache has none."""
    folder = cache_folder(requirement)
    if not list(folder.glob("*.whl")):
        check_compiler()
        build(requirement, folder)
    (wheel,) = folder.glob("*.whl")
    print(f"installing {wheel}", flush=True)
    # Forced: pip skips an installed version, even if that wheel was linked against another torch.
    subprocess.run([*PIP, "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel)], check=True)


def cache_folder(requirement: str) -> Path:
    """Return the folder of the wheel for this mmcv, this torch and this Python."""
    import torch

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcka_mmdet"
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    parts = [requirement.replace("==", "-"), f"torch-{torch.__version__}", python]
    return cache / "_".join(parts + ["cuda"] * CUDA)


def check_compiler() -> None:
    """Stop with an explanation where C++ cannot be compiled against this Python."""
    compilers = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++", "cl"]
    if not any(map(shutil.which, compilers)):
        sys.exit(
            f"mmcv has to be compiled, and there is no C++ compiler here (looked for {', '.join(compilers)}). Install "
            "one and run the same command again; on Debian and Ubuntu: apt-get install g++"
        )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if platform.system() != "Windows" and not header.exists():
        sys.exit(
            f"mmcv has to be compiled, and the headers of this Python are missing ({header}). Install them and run the "
            "same command again; on Debian and Ubuntu: apt-get install python3-dev"
        )


def build(requirement: str, folder: Path) -> None:
    """Build the wheel elsewhere and move it to ``folder`` when it is complete: a failed build leaves nothing there."""
    operators = "CUDA" if CUDA else "CPU"
    took = "not timed yet" if CUDA else "2 to 3 minutes on two cores with GCC, up to 10 with others"
    print(f"compiling {requirement} with its {operators} operators, once for this torch ({took})", flush=True)
    with tempfile.TemporaryDirectory(prefix="pcka_mmdet-") as scratch:
        wheels, log = Path(scratch) / "wheels", Path(scratch) / "build.log"
        command = [*PIP, "wheel", "-v", "--no-build-isolation", "--no-deps", "--no-cache-dir", "-w", str(wheels)]
        environment = build_environment()
        precompile(Path(scratch), environment)
        with log.open("w") as output:
            process = subprocess.Popen([*command, requirement], env=environment, stdout=output, stderr=output)
            try:
                failed = watch(process, log)
            finally:
                process.terminate()
                process.wait()
        if failed:
            folder.parent.mkdir(parents=True, exist_ok=True)
            kept = shutil.copy(log, folder.parent / f"{folder.name}.log")
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            sys.exit(f"{tail}\n\n{requirement} could not be built; the whole log is in {kept}")
        (wheel,) = wheels.glob("*.whl")
        folder.mkdir(parents=True, exist_ok=True)
        incomplete = shutil.copy(wheel, folder / f"{wheel.name}.{os.getpid()}")
        os.replace(incomplete, folder / wheel.name)


def build_environment() -> dict[str, str]:
    """Return the environment for the build: operators on, as many jobs as cores and memory allow, no debug symbols."""
    import psutil

    environment = {**os.environ, "MMCV_WITH_OPS": "1", "PYTHONUNBUFFERED": "1"}
    if not CUDA:  # otherwise torch's extension builder needs a CUDA toolkit as soon as it sees a GPU
        environment["CUDA_VISIBLE_DEVICES"] = ""
    gigabytes = psutil.virtual_memory().available // 2**30  # a compiler process takes up to one
    environment.setdefault("MAX_JOBS", str(max(1, min(os.cpu_count() or 1, gigabytes))))
    for name in ("CFLAGS", "CXXFLAGS"):
        environment[name] = f"{environment.get(name) or sysconfig.get_config_var('CFLAGS') or ''} -g0"
    return environment


def precompile(scratch: Path, environment: dict[str, str]) -> None:
    """Compile torch's headers for GCC and make the build in ``environment`` include them; elsewhere do nothing.

    If the flags of a precompiled header differ from a file's, GCC ignores it and reads the plain header.
    """
    from torch.utils.cpp_extension import include_paths

    compiler = shlex.split(environment.get("CXX", "c++"))
    if shutil.which(compiler[0]) is None:
        return
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    if "Free Software Foundation" not in version:
        return
    header = scratch / "torch_headers.h"
    header.write_text("#include <torch/types.h>\n")
    # The flags and macros with which mmcv's own files are compiled.
    flags = [*shlex.split(environment["CXXFLAGS"]), "-fPIC", "-std=c++17", "-DTORCH_EXTENSION_NAME=_ext"]
    flags += ["-DTORCH_API_INCLUDE_EXTENSION_H", *(f"-I{path}" for path in include_paths())]
    output = ["-x", "c++-header", str(header), "-o", f"{header}.gch"]
    if subprocess.run([*compiler, *flags, *output], capture_output=True).returncode == 0:
        for name in ("CFLAGS", "CXXFLAGS"):
            environment[name] += f" -include {header}"


def watch(process: subprocess.Popen, log: Path) -> bool:
    """Print the progress of the build until it ends, and return whether it failed."""
    start, shown = time.monotonic(), 0
    while process.poll() is None:
        time.sleep(1)
        minutes = (time.monotonic() - start) / 60
        if minutes * 4 >= shown:  # every 15 seconds
            steps = re.findall(r"^\s*\[(\d+/\d+)\]", log.read_text(errors="replace"), flags=re.MULTILINE)
            print(f"  {minutes:4.1f} min, {'file ' + steps[-1] if steps else 'preparing'}", flush=True)
            shown = int(minutes * 4) + 1
    return process.returncode != 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or "==" not in sys.argv[1]:
        sys.exit(f"expected one pinned requirement, got {sys.argv[1:]}; write: install_mmcv.py mmcv==2.1.0")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends the build and removes its scratch folder
    main(sys.argv[1])
