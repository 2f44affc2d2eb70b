"""1x1 convolutions that bring the student's neck maps to the teacher's channels, for losses that read all levels."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..levels import LevelPair


class Connectors(nn.ModuleDict):
    """A 1x1 convolution for each pair of levels whose channels differ, by the name of the level.

    Args:
        pairs: Levels of student and teacher, of equal strides.
    """

    def __init__(self, pairs: Sequence[LevelPair]):
        super().__init__()
        self.pairs = pairs
        for own, other in pairs:
            if own.channels != other.channels:
                self[own.name] = nn.Conv2d(own.channels, other.channels, kernel_size=1)

    def placed(self, maps: Sequence[Tensor], num_levels: int) -> list[Tensor | None]:
        """The student's maps after the convolutions, each at the index of the teacher's level; `None` elsewhere.

        Args:
            maps: The student's maps `(B, C, H, W)`, one for each pair.
            num_levels: Levels of the teacher's neck.
        """
        placed: list[Tensor | None] = [None] * num_levels
        for (own, other), own_map in zip(self.pairs, maps, strict=True):
            placed[other.index] = self[own.name](own_map) if own.name in self else own_map
        return placed

    def details(self) -> list[str]:
        """The levels that have a convolution, for the table of levels."""
        return [f"connectors at {', '.join(self)}"] if len(self) else []
