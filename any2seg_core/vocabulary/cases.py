"""Names of DELIVER's splits, weathers and sensor failures, as they stand in its folder names."""

SPLITS = ("train", "val", "test")

CONDITIONS = ("cloud", "fog", "night", "rain", "sun")
"""Folder names of the five weathers."""

FAILURES = ("motionblur", "overexposure", "underexposure", "lidarjitter", "eventlowres")
"""Suffixes of sequence folders with a sensor failure, ``MAP_<x>_point<y>_<failure>``."""
