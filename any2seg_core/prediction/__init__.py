"""Labels for many frames: files, folders, videos and recordings in, label images, overlays, legend and video out."""
