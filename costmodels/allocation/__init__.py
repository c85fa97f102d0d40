"""Static memory allocation: buffers with fixed lifetimes placed into one address space."""
