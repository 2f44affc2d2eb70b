"""The rows of all processes, for losses that compare the samples of a batch."""

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor


def gathered(rows: Tensor) -> Tensor:
    """Rows of all processes, in the order of their ranks; gradients reach those of this process.

    Every process must call it. The gradient of the own rows is multiplied by the number of processes, because DDP takes
    the mean of all gradients: so that mean is the gradient of one process with the whole batch.

    Args:
        rows: Rows of this process `(N, ...)`; N may differ between processes.

    Returns:
        Rows `(sum of N, ...)`.

    Raises:
        ValueError: The shape of a row differs between processes; every process raises it.
    """
    processes = get_world_size()
    if processes == 1:
        return rows
    shapes = [shape.tolist() for shape in all_gather(torch.tensor(rows.shape, device=rows.device))]
    counts, sizes = [shape[0] for shape in shapes], [shape[1:] for shape in shapes]
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"gather=True: the samples of the processes have the shapes {sizes}, since their images are padded to "
            "different sizes: use grid=8, images of one size, source='logits', or gather=False"
        )
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [part[:count] for part, count in zip(all_gather(padded), counts, strict=True)]
    own = rows.view_as(rows)
    if own.requires_grad:
        own.register_hook(lambda gradient: gradient * processes)
    parts[get_rank()] = own
    return torch.cat(parts)
