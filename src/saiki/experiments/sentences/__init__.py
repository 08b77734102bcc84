"""Sentences of a few kinds: word vectors that exist already, and recurrent layers over them."""
