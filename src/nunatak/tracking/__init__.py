"""What makes a job's result what it is, what it left behind, and whether both still agree."""
