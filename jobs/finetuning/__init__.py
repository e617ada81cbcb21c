"""Fine-tuning a classifier: labels, images, training, evaluation, and what a run leaves."""
