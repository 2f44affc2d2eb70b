"""The fixtures of the product's tests."""

from tests.conftest import *  # noqa: F403
from tests.programs import command  # noqa: F401
from tests.report.conftest import figures  # noqa: F401
