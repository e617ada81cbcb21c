"""What every job that trains shares: settings, plan, workers, checkpoints, images, and what a run leaves."""
