"""Autoencoders of images: few numbers that an image becomes, and new images from such numbers."""
