"""Image and mask files to arrays, in a process of their own."""
