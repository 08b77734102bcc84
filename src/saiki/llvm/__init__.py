"""Numbers as LLVM computes with them: vectors, and the functions of mathematics on them."""
