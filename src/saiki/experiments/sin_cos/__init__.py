"""From a sine to its cosine, or between two series of your own: an encoder and a decoder."""
