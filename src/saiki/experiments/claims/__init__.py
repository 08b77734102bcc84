"""What is said of the exercises: statements, each with the measurement that decides it."""
