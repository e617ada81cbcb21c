"""Parts of `benchmarks.gpu_check`: what it checks and measures on a GPU, without Ray and without pyarrow."""
