"""ROS 2 node, parameters and replay."""
