"""From the equations of a cell to a kernel: watch, trace, plan, check, run, and prove."""
