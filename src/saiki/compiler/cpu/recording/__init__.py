"""What a function does with small tensors, recorded once and done again as one native call."""
