"""The config that a checkpoint holds as text."""

import ast

from mmengine.config import Config


def read_config(text: str) -> Config:
    """The config in a checkpoint, which MMEngine would run as Python whatever it says.

    Raises:
        ValueError: The text is more than assignments of plain values and `dict(...)`.
    """
    plain = (ast.Module, ast.Assign, ast.Name, ast.Load, ast.Store, ast.Constant, ast.keyword, ast.Dict, ast.List)
    plain += (ast.Tuple, ast.Set, ast.UnaryOp, ast.USub)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"its config cannot be read: {error}") from error
    for node in ast.walk(tree):
        is_dict = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("dict", "set")
        if not is_dict and not isinstance(node, plain):
            raise ValueError(f"its config holds code, which is not run: {ast.unparse(node)[:80]!r}")
    return Config.fromstring(text, ".py")
