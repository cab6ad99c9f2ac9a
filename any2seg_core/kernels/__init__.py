"""Whole-array kernels for inference on the CPU: each fuses several tensor operations, so that nothing large is written.

PyTorch stays the only road for training, export and other devices; tests hold the two together.
"""
