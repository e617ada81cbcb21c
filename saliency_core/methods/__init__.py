"""The saliency methods: from an image, or a batch of network inputs, to a map. `registry` has them by name."""
