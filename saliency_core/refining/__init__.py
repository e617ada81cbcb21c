"""What follows the network: superpixels, smoothing, refinement."""
