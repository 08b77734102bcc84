"""The CPU backend: programs as LLVM IR, compiled for the processor that is there."""
