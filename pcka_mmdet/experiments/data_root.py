"""Move a config to another data folder."""

from typing import Any

from mmengine.config import Config


def move_data_root(config: Config, root: str) -> None:
    """Replace a config's `data_root` by `root`, in every path of the config that begins with it.

    A config derives paths from its `data_root` (`data_root + 'annotations/val.json'`) when it is read; setting the
    variable later changes none of them.

    Raises:
        ValueError: The config has no `data_root`.
    """
    old = str(config.get("data_root") or "").rstrip("/")
    if not old:
        raise ValueError(
            f"{config.filename or 'the config'} has no data_root to replace: begin it with "
            "data_root = 'data/NAME/' and derive its paths from that"
        )
    new = root.rstrip("/")

    def moved(node: Any) -> Any:
        if isinstance(node, str) and (node == old or node.startswith(f"{old}/")):
            return new + node[len(old) :]
        if isinstance(node, dict):
            for key in node:
                node[key] = moved(node[key])
        elif isinstance(node, list | tuple):
            return type(node)(map(moved, node))
        return node

    moved(config._cfg_dict)
