"""What is said of sounds as codes, and what decides it."""

CLAIMS = ()
