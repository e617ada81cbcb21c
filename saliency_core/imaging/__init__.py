"""Image and mask files in, arrays out; sizes; map files."""
