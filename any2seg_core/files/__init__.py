"""Files that people have of one moment: pictures, depth, clouds, events and calibrations of many formats."""
