"""Makes the MM packages importable for every test, as the tools do."""

import pcka_mmdet  # noqa: F401
