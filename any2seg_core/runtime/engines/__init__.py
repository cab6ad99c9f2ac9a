"""What runs a trained model: chosen once, and proved against plain PyTorch on the machine that it runs on."""
