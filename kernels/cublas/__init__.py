"""Matrix products by cuBLAS and cuBLASLt, in calls that a graph can capture."""
