"""What runs on Ray: the steps, and the operators made of them."""
