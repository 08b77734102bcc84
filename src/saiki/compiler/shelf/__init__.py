"""What was compiled or traced, on disk for the next process, safe from who may not write it."""
