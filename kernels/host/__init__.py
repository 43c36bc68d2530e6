"""Steps compiled for the CPU: the CUDA body as C++."""
