"""The environment of a training on the CPU. It changes the time, not the result."""

from collections.abc import Mapping

MEMORY = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=17179869184"
"""Memory of freed maps is kept for the next step, in large pages: else the system clears all of it in each step, which
takes a fifth to a half of the time. An older glibc ignores what it does not know."""


def with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """An environment for a child process that trains; what it has already goes before, but for the threads."""
    # If OpenMP threads spin for long, a training is ten times slower as soon as another process needs a core. If they
    # do not spin at all, it is twice as slow on its own.
    return {"GOMP_SPINCOUNT": "20000", "GLIBC_TUNABLES": MEMORY, **environment, "OMP_NUM_THREADS": str(threads)}
