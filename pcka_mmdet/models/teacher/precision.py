"""The precision that a teacher computes in."""

import torch

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: str) -> None:
    """Refuse what `dtype_on` does not know.

    Raises:
        ValueError: `precision` is unknown.
    """
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"teacher_precision must be one of {['auto', *PRECISIONS]}, got {precision!r}")


def dtype_on(device: torch.device, precision: str) -> torch.dtype | None:
    """The type that a teacher computes in; `None` leaves it to autocast, without which it is float32.

    Args:
        device: Where the teacher computes.
        precision: `'fp32'`, `'bf16'` or `'fp16'`, or `'auto'`: bfloat16 where the processor computes in it, else as
            `'fp32'`. A processor that has to emulate bfloat16 is slower with it.
    """
    if precision == "auto":
        precision = "bf16" if has_bfloat16(device) else "fp32"
    return PRECISIONS[precision]


def has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU (from Ampere on) or an x86 CPU computes in bfloat16; `False` where torch does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # older torch has none
    return device.type == "cpu" and bool(capabilities().get("avx512_bf16"))
