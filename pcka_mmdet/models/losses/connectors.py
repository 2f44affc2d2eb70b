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
        for pair in pairs:
            if pair.student.channels != pair.teacher.channels:
                self[pair.name] = nn.Conv2d(pair.student.channels, pair.teacher.channels, kernel_size=1)

    def placed(self, maps: Sequence[Tensor], num_levels: int) -> list[Tensor | None]:
        """The student's maps after the convolutions, each at the index of the teacher's level; `None` elsewhere.

        Args:
            maps: The student's maps `(B, C, H, W)`, one for each pair.
            num_levels: Levels of the teacher's neck.
        """
        placed: list[Tensor | None] = [None] * num_levels
        for pair, student_map in zip(self.pairs, maps, strict=True):
            placed[pair.teacher.index] = self[pair.name](student_map) if pair.name in self else student_map
        return placed

    def details(self) -> list[str]:
        """The levels that have a convolution, for the table of levels."""
        return [f"connectors at {', '.join(self)}"] if len(self) else []
