"""Move a config to another data folder."""

from mmengine.config import Config

from pcka_mmdet.configuration.nested import replaced


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

    def moved(text: str) -> str:
        return new + text[len(old) :] if text == old or text.startswith(f"{old}/") else text

    config._cfg_dict.update(replaced(config._cfg_dict, moved))
