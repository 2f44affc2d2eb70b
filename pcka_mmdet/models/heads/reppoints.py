"""RepPoints, whose boxes are those of a set of points."""

from torch import Tensor, nn
from torch.func import functional_call

from .reader import HeadReader, reads


@reads("RepPointsHead")
class RepPointsReader(HeadReader):
    """Corners in units of the stride; in training the refined points, which are the last output, as their box."""

    box_output = -1

    def relative_boxes(self, codes: Tensor, stride: int) -> Tensor:
        """Corners `(B, A, 4, H, W)`; see `HeadReader.relative_boxes`.

        `moment_transfer`, a parameter that is a part of this decoding, gets no gradient: it would pass by the balance.
        """
        if not self.head.training:
            return codes
        parameters = {f"head.{name}": value.detach() for name, value in self.head.named_parameters(recurse=False)}
        return functional_call(_PointBoxes(self.head), parameters, codes.flatten(1, 2)).unsqueeze(1)


class _PointBoxes(nn.Module):
    """The boxes of a head's points."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, points: Tensor) -> Tensor:
        return self.head.points2bbox(points)
