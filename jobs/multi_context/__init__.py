"""Training of multi-context saliency: masks teach two networks to tell salient windows."""
