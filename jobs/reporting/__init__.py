"""What the commands that look at finished runs share: reading, scores, sample rows, pictures, plots, the page."""
