"""Models, losses, tasks, the data set and the training loop."""
