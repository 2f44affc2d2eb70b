"""What the pages of the documentation show: blocks, and the commands in them."""

import itertools
import re
import shlex

from tests.processes import ROOT


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page, such as `README.md`, in a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def split(text: str) -> list[list[str]]:
    """The commands of a text, without comments, loops around them, and settings of the environment before them."""
    lines = [shlex.split(line, comments=True) for line in text.replace("\\\n", " ").splitlines()]
    words = [word for line in lines for word in [*line, "&&"]]
    each = [list(group) for end, group in itertools.groupby(words, "&&".__eq__) if not end]
    commands = [list(itertools.dropwhile(re.compile("[A-Z_]+=").match, command)) for command in each]
    return [command for command in commands if command and command[0] not in ("for", "done")]
