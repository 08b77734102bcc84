"""Images as codes: an autoencoder with a codebook, and new images from a prior over its codes."""
