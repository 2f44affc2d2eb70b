"""The options that commands share, and the config that they make."""

import argparse
import contextlib
import os
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from pcka_mmdet.configuration.distillation import is_fpn_distill
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.engine.cfg_options import apply_common
from pcka_mmdet.engine.recipe import distillation_config
from pcka_mmdet.engine.work_dir import RANKS
from pcka_mmdet.models.recipes import RECIPES

CALL = re.compile(r"""^[^=]+=(?!').*\w\([^)]*,""")
"""An unquoted value like `dict(a=1,b=2)`, on which MMEngine's parser hangs."""


class ConfigOptions(DictAction):
    """MMEngine's `--cfg-options`, but a single value, such as a path, keeps its spaces, and in quotes its commas."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list, *rest) -> None:
        """Refuse what is no KEY=VALUE."""
        unreadable = ""
        for word in values:
            key, equals, _ = word.partition("=")
            if not (key and equals):
                parser.error(f"--cfg-options takes KEY=VALUE, such as train_cfg.max_epochs=2; got {word!r}")
            if CALL.search(word):
                unreadable = word
        try:
            if not unreadable:
                super().__call__(parser, namespace, values, *rest)
        except AssertionError:  # brackets without a partner
            unreadable = " ".join(values)
        if unreadable:
            parser.error(
                f"--cfg-options takes words, numbers and lists of them, such as key=[1,2]; got {unreadable!r}. Write "
                "dicts in a config file"
            )

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        value = val.strip("'\" ")
        is_list = value.startswith(("(", "["))
        if val == f"'{value}'" and "'" not in value and not is_list and "," in value:
            return value
        if is_list or "," in value:
            return DictAction._parse_iterable(val)
        return DictAction._parse_int_float_bool(value)


def positive(word: str) -> int:
    """A number of 1 or more, for `type` of an argument."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"a number of 1 or more is expected, got {word!r}")
    return int(word)


def share(word: str) -> float:
    """A number from 0 to 1, for `type` of an argument."""
    with contextlib.suppress(ValueError):
        if 0 <= float(word) <= 1:
            return float(word)
    raise argparse.ArgumentTypeError(f"a number from 0 to 1 is expected, got {word!r}")


SIZE = dict(type=positive, nargs=2, metavar=("HEIGHT", "WIDTH"))  # of an option for an image's size


def add_cfg_options(parser: argparse.ArgumentParser, what: str, option: str = "--cfg-options") -> None:
    """Add an option for settings of a config, by dotted key; `what` is its help. Its default is `{}`."""
    parser.add_argument(option, nargs="+", action=ConfigOptions, default={}, metavar="KEY=VALUE", help=what)


def add_common_arguments(parser: argparse.ArgumentParser, config_is_optional: bool = False) -> None:
    """Add the options of both `tools/train.py` and `tools/test.py`, named as in MMDetection."""
    parser.add_argument("config", nargs="?" if config_is_optional else None, help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints (default: work_dirs/CONFIG'S NAME)")
    what = (
        'override settings of the config, such as train_cfg.max_epochs=2 or key="[a,b]"; quote values with spaces or '
        "brackets, and write lists without spaces. In a distillation, settings of a detector's model are the student's"
    )
    add_cfg_options(parser, what)
    add_launcher(parser)


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that several processes may run together."""
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help="set by the launcher")


def add_training_arguments(parser: argparse.ArgumentParser, config_is_optional: bool = False) -> None:
    """Add the options of both `train` and `doctor`; with `--teacher` a detector's config becomes a distillation's."""
    add_common_arguments(parser, config_is_optional)
    parser.add_argument("--amp", action="store_true", help="train in mixed precision")
    parser.add_argument("--teacher", metavar="CONFIG", help="config of a teacher, to distil the detector of CONFIG")
    parser.add_argument("--teacher-ckpt", metavar="FILE", help="weights of --teacher: file or URL")
    what = "losses with --teacher (default: as suits the pair, see docs/recipes.md)"
    parser.add_argument("--recipe", choices=RECIPES, help=what)
    what = "the teacher sees images of N times the student's width and height"
    parser.add_argument("--teacher-scale", type=positive, metavar="N", help=what)
    what = "extra images: with boxes as FILE.json:FOLDER, or a folder or list without labels, for the teacher alone"
    parser.add_argument("--extra", metavar="IMAGES", action=Once, help=what)
    what = "share of the extra images in each batch (default: %(default)s)"
    parser.add_argument("--extra-share", type=share, default=0.5, metavar="SHARE", help=what)
    what = "first evaluate the teacher on N validation images (default: 500; in doctor with --baseline: all)"
    parser.add_argument("--check-teacher", nargs="?", type=positive, const=500, metavar="N", help=what)
    parser.add_argument("--baseline", type=Path, metavar="WORK_DIR", help="the student's training, to compare with")


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, for checkpoints whose config needs files or modules of the user."""
    what = "config file of the training, where it uses modules or files that you wrote"
    parser.add_argument("--config", type=_config_file, metavar="FILE", help=what)


def _config_file(path: str) -> Config:
    try:
        return load_config(path)
    except (FileNotFoundError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def training_config(args: argparse.Namespace) -> tuple[Config, str]:
    """The config of `train` and `doctor`, and a sentence on the recipe where `--teacher` makes it a distillation's.

    Raises:
        ValueError: The options do not go together; see also `runner_config` and `distillation_config`.
    """
    if bool(args.teacher) != bool(args.teacher_ckpt):
        raise ValueError("give --teacher CONFIG and --teacher-ckpt FILE together")
    if args.recipe and not args.teacher:
        raise ValueError("--recipe needs --teacher; a distillation's config already holds its losses")
    if args.teacher_scale:
        args.cfg_options["model.teacher_scale"] = args.teacher_scale
    if not args.teacher:
        config = load_config(args.config)
        if args.teacher_scale and not is_fpn_distill(config):
            raise ValueError("--teacher-scale is of a distillation's teacher: give --teacher and --teacher-ckpt too")
        return runner_config(args, config), ""
    config, recipe = distillation_config(args.config, args.teacher, args.teacher_ckpt, args.recipe, args.cfg_options)
    return runner_config(args, config), recipe


def runner_config(args: argparse.Namespace, config: Config | None = None) -> Config:
    """`config`, or else the config named on the command line, with the common options applied.

    Raises:
        FileNotFoundError: The config, or the config of a detector that it names, does not exist.
        ValueError: One of them is invalid, a setting is refused (see `check_names`), or no launcher started this.
    """
    check_launcher(args)
    config = config or load_config(args.config)
    config.launcher = args.launcher
    apply_common(config, args.cfg_options, args.work_dir)
    return config


def check_launcher(args: argparse.Namespace) -> None:
    """Refuse a launcher that did not start this process, and note the rank that an older one gives as an option."""
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    rank = RANKS.get(args.launcher)
    if rank and rank not in os.environ:
        raise ValueError(
            f"--launcher {args.launcher} is for processes that it has started, and {rank} is not set: use "
            "tools/dist_train.sh, tools/slurm_train.sh or mpirun, or leave --launcher out"
        )


class Once(argparse.Action):
    """An option that is refused the second time."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice: join the images in one file or folder")
        setattr(namespace, self.dest, values)


class NamedFolders(argparse.Action):
    """Arguments NAME=DIR: work directories by their name in a table or a picture."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list, *rest) -> None:
        """Refuse what is no NAME=DIR, and two of one name."""
        folders: dict[str, Path] = {}
        for word in values:
            name, _, folder = word.partition("=")
            if not (name and folder):
                parser.error(f"write NAME=DIR, such as heads=work_dirs/distilled; got {word!r}")
            if name in folders:
                parser.error(f"two trainings are called {name!r}")
            folders[name] = Path(folder)
        setattr(namespace, self.dest, folders)


def add_runs_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument `runs` of the commands that compare trainings."""
    what = "work directories of trainings, with their names"
    parser.add_argument("runs", nargs="+", action=NamedFolders, metavar="NAME=DIR", help=what)


def add_picture_argument(parser: argparse.ArgumentParser, default: str | None, shown: str = "%(default)s") -> None:
    """Add `--out`, the file of a picture. Its folder is made at once, so that no work is lost."""
    parser.add_argument("--out", type=_in_a_folder, default=default, help=f"default: {shown}")


def _in_a_folder(file: str) -> Path:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
