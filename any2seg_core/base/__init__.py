"""What everything else leans on: errors, units, files, limits, text for a terminal."""
