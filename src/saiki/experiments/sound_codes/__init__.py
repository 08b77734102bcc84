"""Sounds as codes: a recurrent autoencoder with a codebook, and new sounds from a prior over it."""
