"""The table of gains on the first pages, between two comments."""

# ruff: noqa: RUF001

import re
from pathlib import Path

from research.trainings.intervals import Numbers, written
from research.trials import markdown_table

from .gains import ALONE, DEFAULT, Gains

ROOT = Path(__file__).parents[2]

BLOCK = re.compile(r"(?<=<!-- gains -->\n).*?(?=\n<!-- end of gains -->)", re.DOTALL)
"""What is replaced."""

ENGLISH = {
    "bccd": "BCCD: blood cells",
    "deeppcb": "DeepPCB: circuit boards",
    "deeppcb-imagenet": "DeepPCB, both sides from ImageNet weights",
    "digits": "Digits drawn on photographs",
    "header": "RetinaNet, AP on test|teacher|tuned student|distilled|epochs|difference (95 % interval: seeds, images)",
    "seeds": "{}, {} seeds",
}
CHINESE = {
    "bccd": "BCCD：血细胞",
    "deeppcb": "DeepPCB：电路板",
    "deeppcb-imagenet": "DeepPCB，双方均用 ImageNet 权重",
    "digits": "照片上的数字",
    "header": "RetinaNet，测试集 AP|教师|调优后的学生|蒸馏后|训练轮数|差值（种子和图像的 95 % 区间）",
    "seeds": "{}，{} 个种子",
}
PAGES = {"README.md": ENGLISH, "README_zh-CN.md": CHINESE}
"""Words of the table by page."""


def update(gains: dict[str, Gains], root: Path = ROOT) -> None:
    """Write the table into the pages; without gains nothing changes.

    Raises:
        ValueError: A page has no place for it.
    """
    for name, words in PAGES.items() if gains else ():
        text, places = BLOCK.subn(lambda _, words=words: "\n" + gains_table(gains, words), (root / name).read_text())
        if places != 1:
            raise ValueError(
                f"{name} has {places} places for the gains: it needs <!-- gains --> and <!-- end of gains -->"
            )
        (root / name).write_text(text)


def gains_table(gains: dict[str, Gains], words: dict[str, str]) -> str:
    """The table as Markdown, in the language of the words."""
    return markdown_table(words["header"].split("|"), (_row(pair, of_pair, words) for pair, of_pair in gains.items()))


def _row(pair: str, gains: Gains, words: dict[str, str]) -> list[str]:
    alone, default = gains.methods[ALONE], gains.methods[DEFAULT]
    name = words["seeds"].format(words[pair], default.seeds)
    aps = (f"{value:.3f}" for value in (gains.teacher, alone.ap[0], default.ap[0]))
    return [name, *aps, f"{alone.epochs}, {default.epochs}", bold_if_clear(default.over_student)]


def bold_if_clear(difference: Numbers) -> str:
    """A difference with its interval; bold if the interval is above 0."""
    text = written(difference)
    return re.sub(r"^\S+", r"**\g<0>**", text) if difference[1] > 0 else text
