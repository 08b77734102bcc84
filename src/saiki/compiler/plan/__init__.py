"""From the graph of a step to programs: what a loop does at each step, and what is done outside."""
