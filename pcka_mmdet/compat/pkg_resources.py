"""MMEngine imports `pkg_resources`, which setuptools no longer has.

Trap: setuptools 82 has dropped the module, and pip installs the newest setuptools or none. MMEngine 0.10.7 asks it
where MMDetection is whenever a config has an `mmdet::` base, and fails with "No module named 'pkg_resources'".

Python finds this file under that name where nothing else has it. It serves what `mmengine.utils.package_utils` asks
for: `get_distribution`, its `location`, its metadata, and `DistributionNotFound`.

Delete when: an MMEngine release uses `importlib.metadata`.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution as Metadata
from importlib.metadata import PackageNotFoundError
from importlib.util import spec_from_file_location

_NAME = "pkg_resources"


class DistributionNotFound(Exception):
    """No distribution of that name is installed."""


class Distribution:
    """What is installed under a name."""

    def __init__(self, metadata: Metadata):
        self._metadata = metadata
        self.version = metadata.version
        self.location = str(metadata.locate_file(""))

    def has_metadata(self, name: str) -> bool:
        """Whether there is a file of that name, such as `top_level.txt`, in the metadata."""
        return self._metadata.read_text(name) is not None

    def get_metadata(self, name: str) -> str:
        """The text of that file; empty without one."""
        return self._metadata.read_text(name) or ""


def get_distribution(name: str) -> Distribution:
    """The distribution of that name.

    Raises:
        DistributionNotFound: It is not installed.
    """
    try:
        return Distribution(Metadata.from_name(name))
    except PackageNotFoundError as error:
        raise DistributionNotFound(name) from error


class Finder:
    """Finds this file as `pkg_resources`. MMEngine also reloads the module, so it must be found, not only loaded."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of this file under that name."""
        return spec_from_file_location(_NAME, __file__) if name == _NAME else None


def apply() -> None:
    """Find this file after all else: a real `pkg_resources` goes first."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
