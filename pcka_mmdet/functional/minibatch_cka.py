"""CKA of many layers over many batches, without keeping them."""

import torch
from torch import Tensor

from .cka_forms import MIN_SAMPLES, SampleForm


class MinibatchCKA:
    """Debiased CKA of each pair of representations, from batches of samples.

    The unbiased estimates HSIC_1 of the batches are summed before the quotient is taken (Nguyen, Raghu and Kornblith
    2021, eq. 3), so the result does not depend on the size of the batches, up to noise.

    Args:
        shape: Numbers of representations on either side.
    """

    def __init__(self, shape: tuple[int, int]):
        self.sums = torch.zeros(3, *shape, dtype=torch.float64)
        """Sums of HSIC_1 for each pair: of both, of the first with itself, of the second with itself. Those of several
        processes may be added."""

    def update(self, index: tuple[int, int], x: Tensor, y: Tensor) -> None:
        """Add a batch of one pair; a batch of fewer than 4 samples is left out.

        Args:
            index: The pair.
            x: Samples by features, `(N, D1)`.
            y: The same samples in the other representation, `(N, D2)`.
        """
        n = len(x)
        if n < MIN_SAMPLES["debias"]:
            return
        k, el = (SampleForm.gram((z - z.mean(0)).unsqueeze(0), "debias")[0] for z in (x.float(), y.float()))
        found = torch.stack([(a * b).sum() / (n * (n - 3)) for a, b in ((k, el), (k, k), (el, el))])
        self.sums[(slice(None), *index)] += found.cpu().double()

    def values(self) -> Tensor:
        """CKA of each pair, float64; NaN where a representation was constant, or no batch was large enough."""
        both, first, second = self.sums
        return both / (first * second).sqrt()
