"""Teachers of LSCD: frozen models that embed class names, scene descriptions and the images of each modality."""
