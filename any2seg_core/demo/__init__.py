"""ROS-free parts of the demonstration: schedule of outages, scoring, what the report needs."""
