"""Names of the data sets. Light to import: settings and command lines take them from here."""

from __future__ import annotations

from typing import Literal

Kind = Literal["auto", "deliver", "muses", "mcubes", "bag"]
"""auto: look into the folder."""
