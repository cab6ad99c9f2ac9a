"""Any2Seg: semantic segmentation from whichever of camera, depth, event camera and LiDAR are alive.

Shape alphabet of comments and docstrings: B batch, M modality, C channel, H height, W width, K class, N points.
"""
