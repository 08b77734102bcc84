"""Word vectors: what a word means follows from the words around it."""
