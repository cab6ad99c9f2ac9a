"""The simulated drive: a procedural town, seen by a camera, a depth camera, an event camera and a LiDAR."""
