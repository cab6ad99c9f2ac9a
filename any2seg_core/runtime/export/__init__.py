"""A trained model as a folder that runs without PyTorch: writing it needs PyTorch, reading it does not."""
