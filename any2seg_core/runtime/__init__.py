"""From a synchronised set to labels: planes, tensors, the model, and what is known about each sensor."""
