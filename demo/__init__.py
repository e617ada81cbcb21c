"""A demonstration without data, weights or GPU: drawn scenes and a small network trained on them."""
