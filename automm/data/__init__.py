"""Tables of mixed data: sources, splits, and the batches made of them."""
