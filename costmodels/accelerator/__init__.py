"""The accelerator family: a systolic array with three buffers and a DRAM port, running whole networks."""
