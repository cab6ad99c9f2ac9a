"""Recordings without ROS: reading, mapping topics to sensors, synchronised sets, looking in, extracting."""
