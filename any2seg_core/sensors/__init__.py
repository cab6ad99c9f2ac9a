"""Sensors: from arrays in SI units to uint8 (H, W, 3) planes on the camera grid."""
