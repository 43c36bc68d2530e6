"""Matrix products by cuBLAS and cuBLASLt, in calls that a CUDA graph can capture."""
