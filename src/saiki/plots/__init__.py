"""Pictures, one kind a file. They are given what they draw, and open no folder of a run."""
